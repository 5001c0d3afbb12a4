//! `GET /v1/locks/{name}`.

use serde_json::json;

use super::fake_node::FakeNode;
use crate::handle::SubmitError;

#[tokio::test]
async fn a_free_lock_is_200_with_nobody_in_it() {
    let reply = FakeNode::granting().get("/v1/locks/a%2Fb%20%C3%BC").await;
    assert_eq!(reply.status, 200);
    let lock = reply.json();
    assert_eq!(lock["name"], "a/b ü");
    assert_eq!(lock["holders"], json!([]));
    assert_eq!(lock["waiters"], json!([]));
    assert!(lock["index"].is_u64() && lock["time_ms"].is_u64());
}

#[tokio::test]
async fn without_a_barrier_there_is_no_answer_rather_than_an_old_one() {
    let node = FakeNode::granting();
    for (error, status) in [
        (SubmitError::NoLeader { sent: false }, 503),
        (SubmitError::NotMember, 503),
        (SubmitError::Unknown, 504),
    ] {
        *node.barrier.lock().unwrap() = Err(error);
        let reply = node.get("/v1/locks/x").await;
        assert_eq!(reply.status, status, "{error:?}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_is_400() {
    let long = format!("/v1/locks/{}", "n".repeat(257));
    for path in ["/v1/locks/%ff", "/v1/locks/a%00", "/v1/locks/a%0Ab", long.as_str()] {
        let reply = FakeNode::granting().get(path).await;
        assert_eq!(reply.status, 400, "{path}");
        assert_eq!(reply.json()["field"], "name", "{path}");
        assert_eq!(reply.json()["code"], "invalid_field", "{path}");
    }
}
