//! `/v1`.

mod bad_input;
mod caches;
mod conflicts;
mod events;
mod holds;
mod ids;
mod openapi;
mod queue_bad_input;
mod queue_waits;
mod queues;
mod reads;
mod sockets;
mod waits;

use serde_json::{Value, json};

use super::fake_node::{FakeNode, Reply};
use super::real_locks::node;

async fn ok(node: &FakeNode, path: &str, body: Value) -> Value {
    let reply = node.post_json(path, &body).await;
    assert_eq!(reply.status, 200, "{path} {body}: {}", reply.text());
    assert_eq!(reply.header("content-type"), "application/json");
    reply.json()
}

async fn acquire(node: &FakeNode, lock: &str, owner: &str, mode: &str) -> Value {
    ok(node, &format!("/v1/locks/{lock}/acquire"), json!({"owner": owner, "mode": mode})).await
}

/// What a refused request answers: a problem with this status and code.
async fn refused(node: &FakeNode, path: &str, body: Value, status: u16, code: &str) -> Value {
    problem(&node.post_json(path, &body).await, status, code)
}

fn problem(reply: &Reply, status: u16, code: &str) -> Value {
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert_eq!(reply.header("content-type"), "application/problem+json", "{text}");
    let problem = reply.json();
    assert_eq!(problem["code"], code, "{text}");
    assert_eq!(problem["status"], status, "{text}");
    assert_eq!(problem["request_id"], reply.header("x-request-id"), "{text}");
    assert!(problem["title"] != "The server failed" || code == "internal", "{text}");
    problem
}
