//! Bad requests: what is wrong is named, and nothing reaches the machine.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use hyper::body::Frame;

use super::fake_node::FakeNode;

async fn refused(path: &str, body: impl Into<Body>, status: u16, field: &str) {
    let node = FakeNode::granting();
    let reply = node.send(Request::post(path).body(body.into()).unwrap()).await;
    let text = reply.text();
    assert_eq!(reply.status, status, "{text}");
    assert_eq!(reply.header("content-type"), "application/json", "{text}");
    let body = reply.json();
    assert_eq!(body["success"], false, "{text}");
    assert_eq!(body["field"], field, "{text}");
    assert!(body["message"].as_str().unwrap().contains(field), "{text}");
    assert_eq!(body["retryable"], false, "{text}");
    assert!(node.operations.lock().unwrap().is_empty(), "{text}");
}

#[tokio::test]
async fn an_acquire_with_a_bad_field_is_400_naming_it() {
    let long = "n".repeat(257);
    let over_long = format!(r#"{{"resource_id":"{long}","client_id":"c","lock_type":"shared"}}"#);
    let cases = [
        ("", "body"),
        ("{", "body"),
        ("[]", "body"),
        ("null", "body"),
        (r#""text""#, "body"),
        (r#"{"resource_id":"x"} {}"#, "body"),
        (r#"{"resource_id":"\ud800","client_id":"c","lock_type":"shared"}"#, "body"),
        ("resource_id=x&client_id=c&lock_type=shared", "body"),
        ("{}", "resource_id"),
        (r#"{"client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (r#"{"resource_id":null,"client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (r#"{"resource_id":7,"client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (r#"{"resource_id":["x"],"client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (r#"{"resource_id":"","client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (r#"{"resource_id":"a\nb","client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (r#"{"resource_id":"a\u0000","client_id":"c","lock_type":"shared"}"#, "resource_id"),
        (&over_long, "resource_id"),
        (r#"{"resource_id":"x","lock_type":"shared"}"#, "client_id"),
        (r#"{"resource_id":"x","client_id":"","lock_type":"shared"}"#, "client_id"),
        (r#"{"resource_id":"x","client_id":true,"lock_type":"shared"}"#, "client_id"),
        (r#"{"resource_id":"x","client_id":{"a":1},"lock_type":"shared"}"#, "client_id"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"write"}"#, "lock_type"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"Shared"}"#, "lock_type"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":1}"#, "lock_type"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"shared","ttl":"30"}"#, "ttl"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"shared","ttl":-1}"#, "ttl"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"shared","ttl":1.5}"#, "ttl"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"shared","ttl":true}"#, "ttl"),
        (r#"{"resource_id":"x","client_id":"c","lock_type":"shared","ttl":[]}"#, "ttl"),
        (
            r#"{"resource_id":"x","client_id":"c","lock_type":"shared","ttl":9007199254740992}"#,
            "ttl",
        ),
    ];
    for (body, field) in cases {
        refused("/lock/acquire", body.to_owned(), 400, field).await;
    }
}

#[tokio::test]
async fn a_release_with_a_bad_field_is_400_naming_it() {
    for (body, field) in [
        ("", "body"),
        (r#"{"client_id":"c"}"#, "resource_id"),
        (r#"{"resource_id":"x"}"#, "client_id"),
        (r#"{"resource_id":"x","client_id":"\t"}"#, "client_id"),
    ] {
        refused("/lock/release", body, 400, field).await;
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf_8_is_400_and_says_where() {
    let body = b"{\"resource_id\":\"\xff\",\"client_id\":\"c\",\"lock_type\":\"shared\"}".to_vec();
    refused("/lock/acquire", body, 400, "body").await;
}

#[tokio::test]
async fn deep_nesting_is_refused_and_does_not_exhaust_the_stack() {
    refused("/lock/acquire", format!("{{\"a\":{}", "[".repeat(500_000)), 400, "body").await;
}

#[tokio::test]
async fn a_web_page_may_only_send_json_types() {
    let body = r#"{"resource_id":"x","client_id":"c","lock_type":"shared"}"#;
    for (header, value, media_type, status) in [
        ("origin", "http://localhost", "text/plain", 415),
        ("origin", "http://localhost", "application/x-www-form-urlencoded", 415),
        ("origin", "http://localhost", "", 415),
        ("origin", "http://localhost", "application/json", 200),
        ("origin", "null", "application/json", 403),
        ("origin", "http://page.example", "application/json", 403),
        ("sec-fetch-site", "cross-site", "text/plain", 415),
        ("sec-fetch-site", "same-origin", "text/plain", 415),
        ("sec-fetch-site", "none", "text/plain", 200),
        ("sec-fetch-site", "cross-site", "application/json; charset=utf-8", 200),
        ("user-agent", "curl", "application/x-www-form-urlencoded", 200),
        ("user-agent", "anything", "", 200),
    ] {
        let node = FakeNode::granting();
        let request = Request::post("/lock/acquire").header(header, value);
        let request = if media_type.is_empty() {
            request
        } else {
            request.header("content-type", media_type)
        };
        let reply = node.send(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(reply.status, status, "{header}: {value}, {media_type}");
        let reached = node.operations.lock().unwrap().len();
        assert_eq!(reached, usize::from(status == 200), "{header}: {value}, {media_type}");
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_a_413_problem_declared_or_not() {
    let long = vec![b' '; (1 << 20) + 1];
    let pieces = long.chunks(1 << 16).map(<[u8]>::to_vec).collect();
    let declared = Request::post("/lock/acquire").header("content-length", long.len());
    for request in [
        declared.body(Body::from(long)).unwrap(),
        Request::post("/lock/acquire").body(Body::new(Pieces(pieces))).unwrap(),
    ] {
        let reply = FakeNode::granting().send(request).await;
        assert_eq!(reply.status, 413);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["code"], "payload_too_large");
    }
}

#[tokio::test]
async fn a_body_in_pieces_below_the_limit_is_read() {
    let body = br#"{"resource_id":"x","client_id":"c","lock_type":"shared"}"#;
    let pieces = body.chunks(7).map(<[u8]>::to_vec).collect();
    let request = Request::post("/lock/acquire").body(Body::new(Pieces(pieces))).unwrap();
    assert_eq!(FakeNode::granting().send(request).await.status, 200);
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_problem() {
    let request = Request::post("/lock/acquire").body(Body::new(Never)).unwrap();
    let reply = FakeNode::granting().hasty().send(request).await;
    assert_eq!(reply.status, 408);
    assert_eq!(reply.json()["code"], "request_timeout");
}

#[tokio::test]
async fn bodies_that_wait_for_ever_for_a_seat_do_not_hold_up_small_ones() {
    let node = FakeNode::granting().hasty();
    let _seats = node.site.large_bodies.acquire_many(64).await.unwrap();
    let large = Request::post("/lock/acquire").body(Body::new(Never)).unwrap();
    assert_eq!(node.send(large).await.status, 408);
    let small = r#"{"resource_id":"x","client_id":"c","lock_type":"shared"}"#;
    let small = Request::post("/lock/acquire")
        .header("content-length", small.len())
        .body(Body::from(small));
    assert_eq!(node.send(small.unwrap()).await.status, 200);
}

/// A body in pieces, without a declared length.
struct Pieces(VecDeque<Vec<u8>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece.into()))))
    }
}

/// A body that never comes.
struct Never;

impl hyper::body::Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
