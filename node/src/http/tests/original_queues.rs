//! The original queue routes, as old clients send them.

use http::Request;
use serde_json::{Value, json};

use super::fake_node::FakeNode;
use super::real_locks::node;

async fn push(node: &FakeNode, topic: &str, message: &Value) -> Value {
    let body = json!({ "topic": topic, "message": message, "unknown": 1 });
    let reply = node.post("/queue/push", &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn pop(node: &FakeNode, topic: &str, consumer: &str) -> Value {
    let reply = node.get(&format!("/queue/pop/{topic}/{consumer}")).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

async fn ack(node: &FakeNode, topic: &str, consumer: &str, id: &Value) -> Value {
    let body = json!({ "consumer_id": consumer, "message_id": id });
    let reply = node.post(&format!("/queue/ack/{topic}"), &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    reply.json()
}

#[tokio::test]
async fn a_message_is_pushed_popped_and_acknowledged() {
    let node = node();
    let pushed = push(&node, "t", &json!({ "job": 1 })).await;
    assert_eq!(pushed["success"], true);
    assert!(pushed["message"].is_string());
    let popped = pop(&node, "t", "me").await;
    assert_eq!(popped["success"], true);
    assert_eq!(popped["message_id"], pushed["message_id"]);
    assert_eq!(popped["message"], json!({ "job": 1 }));
    let done = ack(&node, "t", "me", &popped["message_id"]).await;
    assert_eq!(done["success"], true);
    assert!(done["message"].is_string());
    let empty = pop(&node, "t", "me").await;
    assert_eq!(empty["success"], false);
    assert!(empty["message"].is_string() && empty.get("message_id").is_none());
}

#[tokio::test]
async fn a_topic_that_nobody_made_is_empty() {
    assert_eq!(pop(&node(), "none", "me").await["success"], false);
    assert_eq!(ack(&node(), "none", "me", &json!("8.0")).await["success"], false);
}

#[tokio::test]
async fn falsy_messages_are_messages_equal_ones_are_two_and_null_is_missing() {
    let node = node();
    for message in [json!(0), json!(false), json!(""), json!(0)] {
        push(&node, "t", &message).await;
    }
    for message in [json!(0), json!(false), json!(""), json!(0)] {
        assert_eq!(pop(&node, "t", "me").await["message"], message);
    }
    for body in [r#"{"topic":"t","message":null}"#, r#"{"topic":"t"}"#] {
        let reply = node.post("/queue/push", body).await;
        assert_eq!(reply.status, 400);
        let said = reply.json();
        assert_eq!((&said["success"], &said["field"]), (&json!(false), &json!("message")));
    }
    let reply = node.post("/queue/push", r#"{"message":1}"#).await;
    assert_eq!(reply.json()["field"], "topic");
}

#[tokio::test]
async fn an_ack_by_anybody_but_the_latest_consumer_changes_nothing() {
    let node = node();
    let id = push(&node, "t", &json!(1)).await["message_id"].clone();
    assert_eq!(ack(&node, "t", "me", &id).await["success"], false, "nobody has it");
    pop(&node, "t", "me").await;
    assert_eq!(ack(&node, "t", "you", &id).await["success"], false);
    assert_eq!(ack(&node, "t", "me", &json!("none")).await["success"], false);
    assert_eq!(node.machine.load().queues().topic("t").unwrap().main.in_flight, 1);
    assert_eq!(ack(&node, "t", "me", &id).await["success"], true);
    assert_eq!(ack(&node, "t", "me", &id).await["success"], false, "it is gone");
}

#[tokio::test]
async fn a_topic_that_is_made_here_has_no_last_delivery() {
    let node = node();
    push(&node, "t", &json!(1)).await;
    assert_eq!(node.machine.load().queues().topic("t").unwrap().settings.deliveries_max, 0);
}

#[tokio::test]
async fn a_page_of_a_web_site_cannot_take_messages_away() {
    let node = node();
    push(&node, "t", &json!(1)).await;
    let request = Request::get("/queue/pop/t/me").header("sec-fetch-site", "cross-site");
    let reply = node.send(request.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(reply.status, 415, "{}", reply.text());
    assert_eq!(pop(&node, "t", "me").await["success"], true);
}
