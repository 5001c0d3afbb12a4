//! Watching: both forms of the stream, resuming, bookmarks, ends. Time is paused where it matters.

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::Service;

use super::{FakeNode, acquire, node, ok, problem};
use crate::http::client_router;

/// An open stream.
struct Watch {
    body: Body,
    media_type: String,
    text: String,
}

impl Watch {
    async fn open(node: &FakeNode, path: &str, accept: &str) -> Self {
        let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
        Self::ask(node, request).await
    }

    async fn ask(node: &FakeNode, request: Request<Body>) -> Self {
        let mut request = request;
        request.headers_mut().insert("host", "localhost".parse().unwrap());
        let response = client_router(node.site.clone()).call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
        Self { body: response.into_body(), media_type, text: String::new() }
    }

    /// The next line; `None`: the stream has ended.
    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(line);
            }
            let frame = self.body.frame().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }

    async fn json(&mut self) -> Value {
        serde_json::from_str(&self.line().await.expect("the stream has ended")).unwrap()
    }

    /// The next block of SSE.
    async fn block(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            match self.line().await.expect("the stream has ended").as_str() {
                "" => return lines,
                line => lines.push(line.to_owned()),
            }
        }
    }
}

#[tokio::test]
async fn json_lines_begin_with_a_bookmark_and_go_on_with_events() {
    let node = node();
    let mut watch = Watch::open(&node, "/v1/events", "application/jsonl").await;
    assert_eq!(watch.media_type, "application/jsonl");
    assert_eq!(watch.json().await, json!({"bookmark": 0}));
    let grant = acquire(&node, "x", "a", "exclusive").await;
    let event = watch.json().await;
    assert_eq!(event["number"], 1);
    assert_eq!(event["what"], "granted");
    assert_eq!(event["owner"], "a");
    assert_eq!(event["hold"], grant["hold"]);
    assert_eq!(event["index"], grant["index"]);
    let lock = json!({"name": "x", "mode": "exclusive", "permits": 1, "token": grant["token"]});
    assert_eq!(event["locks"], json!([lock]));
    ok(&node, "/v1/locks/release", json!({"hold": grant["hold"]})).await;
    assert_eq!(watch.json().await["what"], "released");
}

#[tokio::test]
async fn sse_has_the_number_as_id_the_kind_as_event_and_json_as_data() {
    let node = node();
    let mut watch = Watch::open(&node, "/v1/events", "text/event-stream").await;
    assert_eq!(watch.media_type, "text/event-stream");
    assert_eq!(watch.block().await, [": bookmark", "id: 0"]);
    acquire(&node, "x", "a", "exclusive").await;
    let block = watch.block().await;
    assert_eq!(block[..2], ["id: 1", "event: granted"]);
    let data: Value = serde_json::from_str(block[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!((&data["number"], block.len()), (&json!(1), 3));
}

#[tokio::test]
async fn the_form_is_what_the_caller_accepts() {
    let node = node();
    for (accept, media_type) in [
        ("*/*", "application/jsonl"),
        ("", "application/jsonl"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/html, text/event-stream;q=0.9", "text/event-stream"),
        ("text/event-stream;q=0, application/jsonl", "application/jsonl"),
    ] {
        assert_eq!(Watch::open(&node, "/v1/events", accept).await.media_type, media_type);
    }
    for accept in ["text/html", "application/json", "text/event-stream;q=0"] {
        let request = Request::get("/v1/events").header("accept", accept);
        let reply = node.send(request.body(Body::empty()).unwrap()).await;
        problem(&reply, 406, "not_acceptable");
    }
}

#[tokio::test]
async fn a_watch_is_of_one_lock_of_a_prefix_or_of_all() {
    let node = node();
    let mut of_one = Watch::open(&node, "/v1/events?name=jobs%2F1", "*/*").await;
    let mut of_prefix = Watch::open(&node, "/v1/events?prefix=jobs%2F", "*/*").await;
    for name in ["x", "jobs%2F2", "jobs%2F1"] {
        acquire(&node, name, "a", "exclusive").await;
    }
    for watch in [&mut of_one, &mut of_prefix] {
        assert_eq!(watch.json().await, json!({"bookmark": 0}));
    }
    assert_eq!(of_one.json().await["number"], 3);
    assert_eq!(of_prefix.json().await["number"], 2);
    assert_eq!(of_prefix.json().await["number"], 3);
}

#[tokio::test]
async fn a_watch_resumes_after_the_last_event_that_was_seen() {
    let node = node();
    for name in ["a", "b", "c"] {
        acquire(&node, name, "o", "exclusive").await;
    }
    let mut from = Watch::open(&node, "/v1/events?from=2", "*/*").await;
    assert_eq!(from.json().await, json!({"bookmark": 1}));
    assert_eq!(from.json().await["number"], 2);
    assert_eq!(from.json().await["number"], 3);
    // An EventSource repeats its URL and adds the header.
    let request = Request::get("/v1/events?from=1").header("last-event-id", "2");
    let mut last = Watch::ask(&node, request.body(Body::empty()).unwrap()).await;
    assert_eq!(last.json().await, json!({"bookmark": 2}));
    assert_eq!(last.json().await["number"], 3);
    let request = Request::get("/v1/events").header("last-event-id", "x");
    let reply = node.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(problem(&reply, 400, "invalid_field")["field"], "last-event-id");
}

#[tokio::test]
async fn events_that_are_not_kept_any_more_are_410_with_the_oldest_that_is() {
    let node = node();
    acquire(&node, "a", "o", "exclusive").await;
    node.site.node.events().restart(41);
    let reply = node.get("/v1/events?from=1").await;
    assert_eq!(problem(&reply, 410, "compacted")["oldest"], 42);
}

#[tokio::test]
async fn a_watch_that_falls_behind_is_told_where_it_may_go_on() {
    let node = node();
    let mut watch = Watch::open(&node, "/v1/events", "*/*").await;
    watch.line().await;
    node.site.node.events().restart(41);
    assert_eq!(watch.json().await, json!({"end": {"code": "compacted", "next": 42}}));
    assert_eq!(watch.line().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_says_every_10_s_how_far_everything_has_been_seen() {
    let node = node();
    let mut watch = Watch::open(&node, "/v1/events?name=quiet", "*/*").await;
    assert_eq!(watch.json().await, json!({"bookmark": 0}));
    acquire(&node, "x", "a", "exclusive").await;
    acquire(&node, "y", "a", "exclusive").await;
    let began = tokio::time::Instant::now();
    assert_eq!(watch.json().await, json!({"bookmark": 2}));
    assert_eq!(began.elapsed().as_secs(), 10);
    assert_eq!(watch.json().await, json!({"bookmark": 2}));
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_after_the_time_that_was_asked_for() {
    let node = node();
    let mut watch = Watch::open(&node, "/v1/events?timeout=25s", "*/*").await;
    for _ in 0..3 {
        assert_eq!(watch.json().await, json!({"bookmark": 0}));
    }
    assert_eq!(watch.json().await, json!({"bookmark": 0}));
    assert_eq!(watch.json().await, json!({"end": {"code": "timeout", "next": 1}}));
    assert_eq!(watch.line().await, None);
}

#[tokio::test]
async fn a_drain_ends_the_stream_with_a_word_and_refuses_new_ones() {
    let node = node();
    let mut lines = Watch::open(&node, "/v1/events", "*/*").await;
    let mut sse = Watch::open(&node, "/v1/events", "text/event-stream").await;
    lines.line().await;
    sse.block().await;
    node.site.node.events().close();
    assert_eq!(lines.json().await, json!({"end": {"code": "stopping", "next": 1}}));
    assert_eq!(lines.line().await, None);
    assert_eq!(sse.block().await[0], "event: end");
    node.site.health.set_draining();
    problem(&node.get("/v1/events").await, 503, "stopping");
}

#[tokio::test]
async fn a_burst_is_one_piece() {
    let node = node();
    for n in 0..50 {
        acquire(&node, &format!("l{n}"), "a", "exclusive").await;
    }
    let mut watch = Watch::open(&node, "/v1/events?from=1", "*/*").await;
    watch.line().await;
    assert_eq!(watch.json().await["number"], 1);
    // The other 49 came with it.
    assert_eq!(watch.text.lines().count(), 49);
}
