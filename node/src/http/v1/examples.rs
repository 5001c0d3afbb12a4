//! What the OpenAPI description shows as examples: for each route a request that a node takes, and an
//! answer as it gives one. Tests send the requests and hold the answers against their schemas.

use dsync_core::machine::Settings;
use serde_json::{Value, json};

/// The example of an operation: what is sent, if it has a body, and what is answered.
pub(super) fn of(operation_id: &str) -> Option<(Option<Value>, Value)> {
    let hold = json!({ "hold": "812-0" });
    let renewed = json!({ "hold": "812-0", "remaining_ms": 30_000, "index": 815 });
    let released = json!({ "hold": "812-0", "released": true, "index": 821 });
    Some(match operation_id {
        "acquire_lock" => (
            Some(json!({ "owner": "worker-1", "ttl": "30s", "wait": "1m" })),
            grant("exclusive", &["printer"]),
        ),
        "acquire_locks" => (
            Some(json!({
                "owner": "worker-1",
                "locks": [{ "name": "from" }, { "name": "to" }],
                "ttl": "30s",
                "wait": "1m",
            })),
            grant("exclusive", &["from", "to"]),
        ),
        "upgrade_lock" => {
            (Some(json!({ "hold": "812-0", "wait": "1m" })), grant("exclusive", &["printer"]))
        }
        "downgrade_lock" => {
            let answer =
                json!({ "hold": "812-0", "token": 41, "remaining_ms": 30_000, "index": 815 });
            (Some(hold), answer)
        }
        "release_lock" | "release_hold" => (Some(hold), released),
        "renew_lock" | "renew_hold" => (Some(json!({ "hold": "812-0", "ttl": "30s" })), renewed),
        "renew_all" => (
            Some(json!({ "owner": "worker-1", "ttl": "30s", "holds": ["812-0", "640-0"] })),
            json!({
                "kept": [{ "hold": "812-0", "remaining_ms": 30_000 }],
                "lost": ["640-0"],
                "revoked": [],
                "index": 815,
            }),
        ),
        "force_lock" => (
            Some(json!({ "reason": "the machine is gone", "now": true })),
            json!({ "count": 1, "holds": ["812-0"], "index": 821 }),
        ),
        "check_lock" => (
            Some(json!({ "token": 41 })),
            json!({
                "name": "printer",
                "valid": true,
                "holder": holder(),
                "token_max": 41,
                "index": 815,
                "time_ms": 90_000,
            }),
        ),
        "get_lock" => (None, lock()),
        "list_locks" => (
            None,
            json!({ "locks": [without_moment(lock())], "continue": null, "index": 815,
                "time_ms": 90_000 }),
        ),
        "get_lock_graph" => (
            None,
            json!({
                "edges": [{
                    "owner": "worker-2", "waits_for": "printer", "blocker": "worker-1", "holds": true,
                }],
                "truncated": false,
                "index": 815,
                "time_ms": 90_000,
            }),
        ),
        "watch_events" => (None, event()),
        "get_cluster" => (None, cluster()),
        "search_audit" => (None, audit()),
        _ => return None,
    })
}

fn grant(mode: &str, names: &[&str]) -> Value {
    let lock = |(at, name): (usize, &&str)| json!({ "name": name, "mode": mode, "permits": 1, "token": 41 + at });
    let locks: Vec<Value> = names.iter().enumerate().map(lock).collect();
    json!({
        "hold": "812-0",
        "token": 41,
        "locks": locks,
        "ttl_ms": 30_000,
        "remaining_ms": 30_000,
        "waited_ms": 4,
        "index": 812,
    })
}

fn holder() -> Value {
    json!({
        "owner": "worker-1",
        "mode": "exclusive",
        "permits": 1,
        "hold": "812-0",
        "token": 41,
        "claim": false,
        "since_ms": 85_000,
        "held_ms": 5_000,
        "remaining_ms": 25_000,
        "revoked": null,
    })
}

fn lock() -> Value {
    json!({
        "name": "printer",
        "permits_max": null,
        "permits_free": null,
        "holders": [holder()],
        "holders_count": 1,
        "waiters": [],
        "waiters_count": 0,
        "truncated": false,
        "index": 815,
        "time_ms": 90_000,
    })
}

fn without_moment(mut lock: Value) -> Value {
    if let Some(members) = lock.as_object_mut() {
        members.remove("index");
        members.remove("time_ms");
    }
    lock
}

fn event() -> Value {
    json!({
        "number": 42,
        "index": 812,
        "stamp_ms": 85_000,
        "what": "granted",
        "owner": "worker-1",
        "locks": [{ "name": "printer", "mode": "exclusive", "permits": 1, "token": 41 }],
        "hold": "812-0",
        "wait": null,
        "elapsed_ms": 4,
        "detail": "",
    })
}

fn cluster() -> Value {
    json!({
        "cluster_id": "5d0a8e9c1f27b364",
        "leader": "n1",
        "term": 3,
        "members": [{
            "name": "n1",
            "id": "9b1f00c2d4e6a870",
            "part": "voter",
            "leader": true,
            "boot_id": "1c9e4f7a2b3d5068",
            "boot_count": 2,
        }],
        "node": {
            "name": "n1",
            "id": "9b1f00c2d4e6a870",
            "boot_id": "1c9e4f7a2b3d5068",
            "version": "0.1.0",
            "role": "leader",
            "registered": true,
            "outside": null,
            "log_start": 1,
            "log_end": 815,
            "durable_index": 815,
            "commit_index": 815,
            "applied_index": 815,
        },
        "settings": Settings::default(),
        "locks": { "names": 1, "holds": 1, "waits": 0 },
        "events": 42,
        "index": 815,
        "time_ms": 90_000,
    })
}

fn audit() -> Value {
    let hash = "0".repeat(64);
    json!({
        "records": [],
        "gaps": [],
        "oldest": { "count": 0, "hash": hash },
        "head": { "count": 0, "hash": hash },
        "next": null,
    })
}
