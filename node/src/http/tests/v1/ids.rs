//! Request ids and what goes with every request.

use axum::body::Body;
use dsync_core::machine::RequestId;
use http::Request;
use serde_json::json;

use super::super::fake_node::json_request;
use super::{FakeNode, node, ok, problem};

fn with(header: &str, value: &str, path: &str, body: &str) -> Request<Body> {
    let mut request = json_request(path, body.to_owned());
    let name = http::HeaderName::from_bytes(header.as_bytes()).unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

#[tokio::test]
async fn the_requests_id_reaches_the_machine_on_every_changing_route() {
    let numbered = RequestId::Numbered { client: 0xab, sequence: 3, low_water: 2 };
    for (header, value, id) in [
        ("idempotency-key", "order-7", RequestId::Key("order-7".to_owned())),
        ("dsync-request", "ab-3-2", numbered),
    ] {
        let node = FakeNode::granting();
        let routes = [
            ("/v1/locks/x/acquire", r#"{"owner":"a"}"#),
            ("/v1/locks/acquire", r#"{"owner":"a","locks":[{"name":"x"}]}"#),
            ("/v1/locks/x/release", r#"{"hold":"7-0"}"#),
            ("/v1/locks/release", r#"{"hold":"7-0"}"#),
            ("/v1/locks/x/renew", r#"{"hold":"7-0"}"#),
            ("/v1/locks/renew", r#"{"hold":"7-0"}"#),
            ("/v1/locks/x/upgrade", r#"{"hold":"7-0"}"#),
            ("/v1/locks/x/downgrade", r#"{"hold":"7-0"}"#),
            ("/v1/locks/renew-all", r#"{"owner":"a"}"#),
            ("/v1/locks/x/force", r#"{"reason":"r"}"#),
        ];
        for (path, body) in routes {
            node.send(with(header, value, path, body)).await;
        }
        assert_eq!(*node.ids.lock().unwrap(), vec![Some(id); routes.len()]);
    }
}

#[tokio::test]
async fn the_same_request_again_has_one_effect_and_another_body_is_422() {
    let node = node();
    let release = |hold: &str| {
        let body = json!({ "hold": hold }).to_string();
        with("idempotency-key", "k", "/v1/locks/x/release", &body)
    };
    let hold = ok(&node, "/v1/locks/x/acquire", json!({"owner": "a"})).await["hold"].clone();
    let hold = hold.as_str().unwrap();
    assert_eq!(node.send(release(hold)).await.status, 200);
    assert_eq!(node.send(release(hold)).await.status, 200);
    problem(&node.send(release("9-9")).await, 422, "request_id_reused");
}

#[tokio::test]
async fn a_wrong_id_is_400_naming_the_header_and_nothing_is_applied() {
    let node = FakeNode::granting();
    let ask = |header, value| with(header, value, "/v1/locks/x/acquire", r#"{"owner":"a"}"#);
    for (header, value) in
        [("idempotency-key", ""), ("dsync-request", "1-2-3"), ("dsync-request", "zz-1-1")]
    {
        let refused = problem(&node.send(ask(header, value)).await, 400, "invalid_field");
        assert_eq!(refused["field"], header);
    }
    assert!(node.operations.lock().unwrap().is_empty());
}

#[tokio::test]
async fn every_answer_names_the_request_the_trace_and_the_leader() {
    let node = FakeNode::granting();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for body in [r#"{"owner":"a"}"#, "{}"] {
        let mut request = with("x-request-id", "mine", "/v1/locks/x/acquire", body);
        request.headers_mut().insert("traceparent", trace.parse().unwrap());
        let reply = node.send(request).await;
        assert_eq!(reply.header("x-request-id"), "mine");
        assert_eq!(reply.header("traceparent"), trace);
        assert_eq!(reply.header("dsync-leader"), "n1");
        assert_eq!(reply.header("cache-control"), "no-store");
    }
}
