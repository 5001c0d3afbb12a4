//! Bad input of every field of the queue routes: a problem that names it, and nothing reaches the machine.

use dsync_core::machine::Operation;
use serde_json::{Value, json};

use super::super::fake_node::{FakeNode, json_request};
use super::{node, problem};

const RECEIPT: &str = "8.0-9.1-000000000000b007";

/// The bodies of a route, each with the field that is wrong in it.
fn wrong() -> Vec<(&'static str, Value, &'static str)> {
    let push = |message: Value| json!({ "messages": [{ "body": 1 }, message] });
    let settle = |item: Value| json!({ "items": [item] });
    let long = "n".repeat(257);
    let mut all = Vec::new();
    for (message, field) in [
        (json!({}), "messages[1].body"),
        (json!({ "body": 1, "base64": "" }), "messages[1].base64"),
        (json!({ "base64": "?" }), "messages[1].base64"),
        (json!({ "base64": "YQ" }), "messages[1].base64"),
        (json!({ "base64": 7 }), "messages[1].base64"),
        (json!({ "body": 1, "delay": -1 }), "messages[1].delay"),
        (json!({ "body": 1, "delay": "367d" }), "messages[1].delay"),
        (json!({ "body": 1, "ttl": "soon" }), "messages[1].ttl"),
        (json!({ "body": 1, "priority": 10 }), "messages[1].priority"),
        (json!({ "body": 1, "group": "" }), "messages[1].group"),
        (json!({ "body": 1, "group": long }), "messages[1].group"),
        (json!({ "body": 1, "dedupe_key": "a\nb" }), "messages[1].dedupe_key"),
        (json!({ "body": 1, "headers": [] }), "messages[1].headers"),
        (json!({ "body": 1, "headers": { "h": 1 } }), "messages[1].headers.h"),
        (json!({ "body": 1, "delya": 1 }), "messages[1].delya"),
        (json!({ "body": "m".repeat(256 * 1024) }), "messages[1]"),
        (json!("text"), "messages[1]"),
    ] {
        all.push(("push", push(message), field));
    }
    all.push(("push", json!({}), "messages"));
    all.push(("push", json!({ "messages": [] }), "messages"));
    all.push(("push", json!({ "messages": vec![json!({ "body": 1 }); 1001] }), "messages"));
    all.push(("push", json!({ "messages": [{ "body": 1 }], "wait": 1 }), "wait"));
    for (body, field) in [
        (json!({ "max": 0 }), "max"),
        (json!({ "max": 1001 }), "max"),
        (json!({ "max_bytes": 0 }), "max_bytes"),
        (json!({ "max_bytes": 8_388_609 }), "max_bytes"),
        (json!({ "wait": "61s" }), "wait"),
        (json!({ "visibility": 0 }), "visibility"),
        (json!({ "visibility": "13h" }), "visibility"),
        (json!({ "sub_queue": "alive" }), "sub_queue"),
        (json!({ "count": 1 }), "count"),
    ] {
        all.push(("receive", body, field));
    }
    for (item, field) in [
        (json!({ "action": "ack" }), "items[0].receipt"),
        (json!({ "receipt": "8.0", "action": "ack" }), "items[0].receipt"),
        (json!({ "receipt": RECEIPT.to_uppercase(), "action": "ack" }), "items[0].receipt"),
        (json!({ "receipt": RECEIPT }), "items[0].action"),
        (json!({ "receipt": RECEIPT, "action": "done" }), "items[0].action"),
        (json!({ "receipt": RECEIPT, "action": "ack", "delay": 1 }), "items[0].delay"),
        (json!({ "receipt": RECEIPT, "action": "nack", "visibility": 1 }), "items[0].visibility"),
        (json!({ "receipt": RECEIPT, "action": "extend", "visibility": 0 }), "items[0].visibility"),
        (
            json!({ "receipt": RECEIPT, "action": "reject", "reason": "r".repeat(1025) }),
            "items[0].reason",
        ),
    ] {
        all.push(("settle", settle(item), field));
    }
    all.push(("settle", json!({ "items": [] }), "items"));
    all.push(("purge", json!({ "sub_queue": "all" }), "sub_queue"));
    all.push(("redrive", json!({ "messages": [] }), "messages"));
    all.push(("redrive", json!({ "messages": ["8.0", "8"] }), "messages[1]"));
    all
}

fn wrong_settings() -> Vec<(Value, &'static str)> {
    vec![
        (json!({ "visibility": 0 }), "visibility"),
        (json!({ "visibility": "13h" }), "visibility"),
        (json!({ "deliveries_max": -1 }), "deliveries_max"),
        (json!({ "nack_backoff": 5 }), "nack_backoff"),
        (json!({ "nack_backoff": {} }), "nack_backoff.base"),
        (json!({ "nack_backoff": { "base": 5, "max": 4 } }), "nack_backoff.max"),
        (json!({ "timeout_backoff": { "base": 5, "growth": "slow" } }), "timeout_backoff.growth"),
        (
            json!({ "timeout_backoff": { "base": 5, "jitter_percent": 101 } }),
            "timeout_backoff.jitter_percent",
        ),
        (json!({ "timeout_backoff": { "base": 5, "jitter": 1 } }), "timeout_backoff.jitter"),
        (json!({ "paused": "yes" }), "paused"),
        (json!({ "messages_max": 1.5 }), "messages_max"),
        (json!({ "ttl": "367d" }), "ttl"),
        (json!({ "expired": "keep" }), "expired"),
        (json!({ "dedupe_window": "25h" }), "dedupe_window"),
        (json!({ "priority": 1 }), "priority"),
    ]
}

fn nothing_was_sent(node: &FakeNode) {
    let operations = node.operations.lock().unwrap();
    assert!(!operations.iter().any(|it| matches!(it, Operation::Queue { .. })));
}

#[tokio::test]
async fn each_field_that_is_wrong_is_400_naming_it_and_nothing_is_done() {
    for (route, body, field) in wrong() {
        let node = node();
        let reply = node.post_json(&format!("/v1/queues/t/{route}"), &body).await;
        let said = problem(&reply, 400, "invalid_field");
        assert_eq!(said["field"], field, "{route} {said}");
        nothing_was_sent(&node);
    }
    for (body, field) in wrong_settings() {
        let node = node();
        let reply = node.patch_json("/v1/queues/t/settings", &body).await;
        assert_eq!(problem(&reply, 400, "invalid_field")["field"], field, "{body}");
        nothing_was_sent(&node);
    }
}

#[tokio::test]
async fn a_path_or_a_parameter_that_is_wrong_is_named() {
    let long = "n".repeat(257);
    for (path, field) in [
        (format!("/v1/queues/{long}"), "topic"),
        ("/v1/queues/a%0Ab/peek".to_owned(), "topic"),
        ("/v1/queues/t/messages/8".to_owned(), "id"),
        ("/v1/queues/t/messages/08.0".to_owned(), "id"),
        ("/v1/queues/t/messages?state=done".to_owned(), "state"),
        ("/v1/queues/t/messages?continue=x".to_owned(), "continue"),
        ("/v1/queues/t/messages?limit=1001".to_owned(), "limit"),
        ("/v1/queues/t/peek?state=ready".to_owned(), "state"),
        ("/v1/queues/t?verbose=1".to_owned(), "verbose"),
        ("/v1/queues?continue=zz".to_owned(), "continue"),
    ] {
        let reply = node().get(&path).await;
        assert_eq!(problem(&reply, 400, "invalid_field")["field"], field, "{path}");
    }
    let reply = node().delete("/v1/queues/t?force=1").await;
    assert_eq!(problem(&reply, 400, "invalid_field")["field"], "force");
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_named_and_a_huge_body_is_413() {
    let text = r#"{"messages":[{"body":1,"body":2}]}"#;
    let reply = node().send(json_request("/v1/queues/t/push", text)).await;
    assert_eq!(problem(&reply, 400, "invalid_field")["field"], "messages[0].body");
    let body = json!({ "messages": [{ "body": "m".repeat(9 << 20) }] }).to_string();
    let reply = node().send(json_request("/v1/queues/t/push", body)).await;
    problem(&reply, 413, "payload_too_large");
}

#[tokio::test]
async fn other_types_than_json_are_415() {
    let reply = node().post("/v1/queues/t/push", "{}").await;
    problem(&reply, 415, "unsupported_media_type");
}
