//! The original cache routes, as old clients send them.

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::fake_node::{FakeNode, Reply};
use super::real_locks::node;

async fn set(node: &FakeNode, key: &str, value: &Value) -> Reply {
    let body = json!({ "key": key, "value": value, "unknown": 1 });
    node.post("/cache/set", &body.to_string()).await
}

#[tokio::test]
async fn what_is_set_is_got_and_falsy_values_are_values() {
    let node = node();
    for value in [json!({ "a": [1, null] }), json!(0), json!(false), json!(""), json!([])] {
        let done = set(&node, "k", &value).await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(done.json()["success"], true);
        assert!(done.json()["message"].is_string());
        let got = node.get("/cache/k").await;
        assert_eq!(got.status, 200);
        assert_eq!(got.json(), json!({ "success": true, "key": "k", "value": value }));
    }
}

#[tokio::test]
async fn a_number_comes_back_as_it_was_written() {
    let node = node();
    node.post("/cache/set", r#"{"key":"k","value":1.50}"#).await;
    assert!(node.get("/cache/k").await.text().contains("1.50"));
}

#[tokio::test]
async fn a_miss_is_404_in_the_old_form() {
    let reply = node().get("/cache/none").await;
    assert_eq!(reply.status, 404);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.json()["success"], false);
    assert!(reply.json()["message"].is_string());
}

#[tokio::test]
async fn a_key_may_be_named_set_and_have_slashes() {
    let node = node();
    set(&node, "set", &json!(1)).await;
    set(&node, "a/b", &json!(2)).await;
    assert_eq!(node.get("/cache/set").await.json()["value"], 1);
    assert_eq!(node.get("/cache/a%2Fb").await.json()["value"], 2);
}

#[tokio::test]
async fn a_value_of_another_type_is_shown_in_base64() {
    let node = node();
    node.put("/v1/cache/k", &[("content-type", "text/plain")], "hello").await;
    assert_eq!(node.get("/cache/k").await.json()["value"], "aGVsbG8=");
}

#[tokio::test]
async fn what_is_wrong_is_named_in_the_old_form() {
    let node = node();
    let long = "n".repeat(257);
    for (body, field) in [
        ("", "body"),
        ("[]", "body"),
        (r#"{"value":1}"#, "key"),
        (r#"{"key":"","value":1}"#, "key"),
        (r#"{"key":7,"value":1}"#, "key"),
        (&format!(r#"{{"key":"{long}","value":1}}"#), "key"),
        (r#"{"key":"k"}"#, "value"),
        (r#"{"key":"k","value":null}"#, "value"),
    ] {
        let reply = node.post("/cache/set", body).await;
        let said = reply.json();
        assert_eq!((reply.status.as_u16(), said["field"].as_str()), (400, Some(field)), "{body}");
        assert_eq!(said["success"], false);
    }
    for (path, field) in [("/cache/a%0Ab", "key"), ("/cache/k?x=1", "x")] {
        let reply = node.get(path).await;
        assert_eq!((reply.status.as_u16(), reply.json()["field"].as_str()), (400, Some(field)));
    }
    assert_eq!(set(&node, "k", &json!("x".repeat(128 << 10))).await.status, 413);
    assert_eq!(node.get("/cache/k").await.status, 404);
}

#[tokio::test]
async fn a_web_page_needs_a_json_type_to_set() {
    let request = Request::post("/cache/set").header("origin", "http://localhost");
    let request = request.header("content-type", "text/plain");
    let body = Body::from(r#"{"key":"k","value":1}"#);
    assert_eq!(node().send(request.body(body).unwrap()).await.status, 415);
}
