//! What the OpenAPI description shows as examples of these routes.

use serde_json::{Value, json};

const RECEIPT: &str = "812.1-815.0-1c9e4f7a2b3d5068";

/// The example of an operation: what is sent, if it has a body, and what is answered.
pub(in crate::http::v1) fn of(operation_id: &str) -> Option<(Option<Value>, Value)> {
    Some(match operation_id {
        "push_messages" => (
            Some(json!({ "messages": [
                { "body": { "to": "ann" }, "headers": { "trace": "7" }, "delay": "5s" },
                { "base64": "3q2+7w==", "dedupe_key": "invoice-17" },
            ] })),
            json!({
                "results": [
                    { "id": "812.0", "duplicate": false },
                    { "id": "812.1", "duplicate": false },
                ],
                "durability": "quorum",
                "index": 812,
            }),
        ),
        "receive_messages" => (
            Some(json!({ "max": 10, "visibility": "30s" })),
            json!({ "messages": [delivery()], "index": 815 }),
        ),
        "settle_deliveries" => (
            Some(json!({ "items": [
                { "receipt": RECEIPT, "action": "nack", "delay": "10s", "reason": "no route" },
            ] })),
            json!({
                "results": [{ "receipt": RECEIPT, "outcome": "nacked", "delay_ms": 10_000 }],
                "index": 818,
            }),
        ),
        "get_message" => (None, json!({ "message": message(), "index": 818, "time_ms": 90_500 })),
        "remove_message" => (None, json!({ "id": "812.0", "removed": true, "index": 821 })),
        "list_messages" => (
            None,
            json!({ "messages": [message()], "continue": null, "index": 818, "time_ms": 90_500 }),
        ),
        "peek_messages" => {
            (None, json!({ "messages": [message()], "index": 818, "time_ms": 90_500 }))
        }
        "get_topic_settings" => (
            None,
            json!({ "topic": "mails", "settings": settings(), "index": 818, "time_ms": 90_500 }),
        ),
        "change_topic_settings" => (
            Some(json!({
                "visibility": "1m",
                "deliveries_max": 5,
                "nack_backoff": { "growth": "linear", "base": "1s", "max": "30s" },
            })),
            json!({ "topic": "mails", "created": false, "settings": settings(), "index": 821 }),
        ),
        "get_topic" => (None, with_moment(topic())),
        "delete_topic" => (None, json!({ "topic": "mails", "deleted": true, "index": 821 })),
        "list_topics" => (
            None,
            json!({ "topics": [topic()], "continue": null, "index": 818, "time_ms": 90_500 }),
        ),
        "purge_topic" => (
            Some(json!({ "sub_queue": "dead" })),
            json!({ "messages": 3, "more": false, "index": 821 }),
        ),
        "redrive_topic" => (
            Some(json!({ "messages": ["812.0"] })),
            json!({
                "messages": 1,
                "more": false,
                "full": false,
                "results": [{ "id": "812.0", "moved": true }],
                "index": 821,
            }),
        ),
        "check_conservation" => (
            None,
            json!({
                "topic": "mails", "holds": true, "pushed": 7, "acked": 3, "ready": 1, "delayed": 1,
                "in_flight": 1, "dead": 1, "expired": 0, "purged": 0, "index": 818,
                "time_ms": 90_500,
            }),
        ),
        _ => return None,
    })
}

fn delivery() -> Value {
    json!({
        "id": "812.1",
        "receipt": RECEIPT,
        "base64": "3q2+7w==",
        "headers": {},
        "deliveries": 1,
        "remaining_ms": 30_000,
        "pushed_ms": 90_000,
        "age_ms": 120,
        "priority": 0,
        "group": null,
        "failures": null,
        "death": null,
    })
}

fn message() -> Value {
    json!({
        "id": "812.0",
        "sub_queue": "main",
        "state": "delayed",
        "remaining_ms": 4_500,
        "consumer": null,
        "body": { "to": "ann" },
        "headers": { "trace": "7" },
        "deliveries": 0,
        "pushed_ms": 90_000,
        "age_ms": 500,
        "expires_in_ms": null,
        "bytes": 31,
        "priority": 0,
        "group": null,
        "failures": null,
        "death": null,
    })
}

fn settings() -> Value {
    let none = json!({ "growth": "fixed", "base_ms": 0, "max_ms": 0, "jitter_percent": 0 });
    json!({
        "visibility_ms": 30_000,
        "deliveries_max": 20,
        "nack_backoff": {
            "growth": "exponential", "base_ms": 1_000, "max_ms": 60_000, "jitter_percent": 10,
        },
        "timeout_backoff": none,
        "paused": false,
        "messages_max": 0,
        "ttl_ms": 0,
        "expired": "drop",
        "dedupe_window_ms": 300_000,
    })
}

fn topic() -> Value {
    let counts = |ready: u64| json!({ "ready": ready, "delayed": 1, "in_flight": 0 });
    json!({
        "topic": "mails",
        "settings": settings(),
        "main": counts(2),
        "dead": counts(0),
        "totals": {
            "pushed": 7, "duplicates": 0, "delivered": 5, "given_back": 0, "acked": 3, "nacked": 1,
            "timed_out": 0, "died": 1, "redriven": 0, "expired": 0, "purged": 0,
        },
        "bytes": 124,
        "oldest_age_ms": 500,
    })
}

fn with_moment(mut topic: Value) -> Value {
    topic["index"] = json!(818);
    topic["time_ms"] = json!(90_500);
    topic
}
