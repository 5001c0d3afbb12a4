//! Reads: one lock, pages of locks, the graph, the cluster; linearizable and stale.

use std::collections::BTreeSet;

use dsync_core::types::ClusterTime;
use serde_json::{Value, json};

use super::{FakeNode, acquire, node, ok, problem};
use crate::handle::SubmitError;

const READS: [&str; 5] =
    ["/v1/locks/x", "/v1/locks", "/v1/graph/locks", "/v1/cluster", "/v1/locks/acquire"];

#[tokio::test]
async fn a_lock_shows_who_has_it_who_waits_and_for_how_long() {
    let node = node();
    let grant = acquire(&node, "x", "a", "exclusive").await;
    let body = r#"{"resource_id":"x","client_id":"b","lock_type":"shared"}"#;
    node.post("/lock/acquire", body).await;
    acquire(&node, "other", "c", "exclusive").await;
    let lock = node.get("/v1/locks/x").await.json();
    let holder = &lock["holders"][0];
    assert_eq!(holder["owner"], "a");
    assert_eq!(holder["hold"], grant["hold"]);
    assert_eq!(holder["token"], grant["token"]);
    // An entry is a millisecond.
    assert_eq!(holder["held_ms"], 2);
    assert_eq!(holder["remaining_ms"], 59_998);
    assert_eq!(holder["revoked"], json!(null));
    let waiter = &lock["waiters"][0];
    assert_eq!((&waiter["owner"], &waiter["mode"]), (&json!("b"), &json!("shared")));
    assert_eq!(waiter["waited_ms"], 1);
    assert_eq!(waiter["attached"], false);
    assert_eq!(waiter["place_remaining_ms"], 9_999);
    assert_eq!((&lock["holders_count"], &lock["waiters_count"]), (&json!(1), &json!(1)));
    assert_eq!(lock["truncated"], false);
}

#[tokio::test]
async fn long_lists_are_cut_and_counted() {
    let node = node();
    for owner in ["a", "b", "c"] {
        acquire(&node, "x", owner, "shared").await;
    }
    let lock = node.get("/v1/locks/x?limit=2").await.json();
    assert_eq!(lock["holders"].as_array().unwrap().len(), 2);
    assert_eq!(lock["holders_count"], 3);
    assert_eq!(lock["truncated"], true);
}

#[tokio::test]
async fn a_lock_may_be_called_like_a_route() {
    let node = node();
    for name in ["acquire", "release", "renew", "renew-all"] {
        acquire(&node, name, "a", "exclusive").await;
        let lock = node.get(&format!("/v1/locks/{name}")).await.json();
        assert_eq!(lock["name"], name);
        assert_eq!(lock["holders"][0]["owner"], "a");
    }
}

/// All pages of a list; each has at most `limit` locks.
async fn pages(node: &FakeNode, query: &str, limit: usize) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = String::new();
    loop {
        let path = format!("/v1/locks?{query}&limit={limit}&continue={next}");
        let page = node.get(&path).await.json();
        let names = page["locks"].as_array().unwrap().iter();
        pages.push(names.map(|lock| lock["name"].as_str().unwrap().to_owned()).collect());
        match &page["continue"] {
            Value::Null => return pages,
            token => next = token.as_str().unwrap().to_owned(),
        }
    }
}

#[tokio::test]
async fn pages_have_every_lock_of_the_prefix_once_in_order() {
    let node = node();
    for name in ["a", "jobs%2F1", "jobs%2F2", "jobs%2F3", "jobs%2F4", "jobs0", "z"] {
        acquire(&node, name, "o", "exclusive").await;
    }
    let jobs = ["jobs/1", "jobs/2", "jobs/3", "jobs/4"];
    assert_eq!(pages(&node, "prefix=jobs%2F", 3).await, [&jobs[..3], &jobs[3..]]);
    // A full last page is known to be the last one.
    assert_eq!(pages(&node, "prefix=jobs%2F", 4).await, [jobs]);
    let all: Vec<String> = pages(&node, "", 2).await.concat();
    assert_eq!(all, ["a", "jobs/1", "jobs/2", "jobs/3", "jobs/4", "jobs0", "z"]);
}

#[tokio::test]
async fn locks_that_come_and_go_between_pages_neither_repeat_nor_hide_others() {
    let node = node();
    let mut holds = Vec::new();
    for name in ["b", "d", "f"] {
        holds.push(acquire(&node, name, "o", "exclusive").await["hold"].clone());
    }
    let first = node.get("/v1/locks?limit=2").await.json();
    ok(&node, "/v1/locks/release", json!({"hold": holds[1]})).await;
    acquire(&node, "a", "o", "exclusive").await;
    acquire(&node, "e", "o", "exclusive").await;
    let token = first["continue"].as_str().unwrap();
    let second = node.get(&format!("/v1/locks?limit=2&continue={token}")).await.json();
    let names: Vec<_> = second["locks"].as_array().unwrap().iter().map(|l| &l["name"]).collect();
    assert_eq!(names, ["e", "f"]);
    let other = node.get(&format!("/v1/locks?prefix=d&continue={token}")).await;
    assert_eq!(problem(&other, 400, "invalid_field")["field"], "continue");
}

#[tokio::test]
async fn the_graph_names_every_reason_for_waiting() {
    let node = node();
    acquire(&node, "x", "a", "exclusive").await;
    for client in ["b", "c"] {
        let body = json!({"resource_id": "x", "client_id": client, "lock_type": "exclusive"});
        node.post("/lock/acquire", &body.to_string()).await;
    }
    let graph = node.get("/v1/graph/locks").await.json();
    let edge = |owner: &str, blocker: &str, holds: bool| {
        json!({"owner": owner, "waits_for": "x", "blocker": blocker, "holds": holds}).to_string()
    };
    let edges: BTreeSet<String> =
        graph["edges"].as_array().unwrap().iter().map(ToString::to_string).collect();
    let expected = [edge("b", "a", true), edge("c", "a", true), edge("c", "b", false)];
    assert_eq!(edges, expected.into());
    assert_eq!(graph["truncated"], false);
    let cut = node.get("/v1/graph/locks?limit=2").await.json();
    assert_eq!(cut["edges"].as_array().unwrap().len(), 2);
    assert_eq!(cut["truncated"], true);
}

#[tokio::test]
async fn the_cluster_names_members_leader_settings_and_this_node() {
    let node = node();
    acquire(&node, "x", "a", "exclusive").await;
    let cluster = node.get("/v1/cluster").await.json();
    assert_eq!(cluster["leader"], "n1");
    assert_eq!(cluster["term"], 5);
    assert_eq!(cluster["members"].as_array().unwrap().len(), 3);
    assert_eq!(cluster["members"][0]["leader"], true);
    let member = &cluster["members"][1];
    assert_eq!((&member["name"], &member["part"]), (&json!("n2"), &json!("voter")));
    assert_eq!(member["boot_id"], "000000000000b007");
    assert_eq!(cluster["node"]["name"], "n2");
    assert_eq!(cluster["node"]["role"], "FOLLOWER");
    assert_eq!(cluster["settings"]["locks"]["default_lease_ms"], 60_000);
    assert_eq!(cluster["locks"], json!({"names": 1, "holds": 1, "waits": 0}));
    assert_eq!(cluster["events"], 1);
}

#[tokio::test]
async fn without_a_leader_there_is_no_answer_unless_a_stale_one_is_asked_for() {
    for path in READS {
        let node = FakeNode::granting();
        for (error, status, code) in [
            (SubmitError::NoLeader { sent: false }, 503, "no_leader"),
            (SubmitError::NotMember, 503, "not_member"),
            (SubmitError::Unknown, 504, "outcome_unknown"),
        ] {
            *node.barrier.lock().unwrap() = Err(error);
            problem(&node.get(path).await, status, code);
        }
        let stale = node.get(&format!("{path}?consistency=stale")).await;
        assert_eq!(stale.status, 200, "{path}");
        assert_eq!(stale.header("dsync-applied"), "0", "{path}");
        // No barrier was ever passed, so nothing is known.
        assert_eq!(stale.header("dsync-staleness-ms"), "", "{path}");
    }
}

#[tokio::test]
async fn a_stale_answer_is_as_old_as_the_last_barrier_at_most() {
    let node = node();
    for path in READS {
        let fresh = node.get(path).await;
        assert_eq!(fresh.header("dsync-staleness-ms"), "", "{path}");
        assert!(!fresh.header("dsync-applied").is_empty(), "{path}");
        let stale = node.get(&format!("{path}?consistency=stale")).await;
        assert!(stale.header("dsync-staleness-ms").parse::<u64>().is_ok(), "{path}");
    }
}

#[tokio::test]
async fn a_probe_of_readiness_is_a_barrier_too() {
    let node = node();
    assert_eq!(node.admin("/readyz").await.status, 200);
    let stale = node.get("/v1/cluster?consistency=stale").await;
    assert!(stale.header("dsync-staleness-ms").parse::<u64>().is_ok());
}

/// The last entry of a quiet cluster may be hours old; what is read of it is not.
#[tokio::test]
async fn a_read_is_as_of_the_leaders_time_and_what_has_ended_by_that_is_not_free() {
    let node = node();
    let lock = acquire(&node, "x", "a", "exclusive").await;
    assert_eq!(lock["remaining_ms"], 60_000);
    *node.barrier.lock().unwrap() = Ok(ClusterTime(40_003));
    let lock = node.get("/v1/locks/x").await.json();
    let holder = &lock["holders"][0];
    assert_eq!((&holder["held_ms"], &holder["remaining_ms"]), (&json!(40_000), &json!(20_000)));
    assert_eq!(lock["time_ms"], 40_003);
    *node.barrier.lock().unwrap() = Ok(ClusterTime(3_600_003));
    let lock = node.get("/v1/locks/x").await.json();
    let holder = &lock["holders"][0];
    assert_eq!((&holder["held_ms"], &holder["remaining_ms"]), (&json!(3_600_000), &json!(0)));
}
