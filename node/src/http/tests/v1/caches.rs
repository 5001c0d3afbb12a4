//! `/v1/cache`: what is put is what is got, conditions, and what is refused by its name.

use axum::body::Body;
use http::Request;

use super::super::fake_node::Reply;
use super::{FakeNode, node, problem};
use crate::caches::Caches;

async fn put(node: &FakeNode, key: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    node.put(&format!("/v1/cache/{key}"), headers, body).await
}

async fn get(node: &FakeNode, path: &str, headers: &[(&str, &str)]) -> Reply {
    let request = Request::get(format!("/v1/cache/{path}"));
    let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
    node.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn what_is_put_is_got_byte_by_byte_with_its_type_and_version() {
    let node = node();
    for (body, media_type) in [
        ("{ \"a\" : 1.0 }", "application/json"),
        ("<b>", "text/html; charset=utf-8"),
        ("", "application/octet-stream"),
    ] {
        let done = put(&node, "a%2Fb", &[("content-type", media_type)], body).await;
        assert_eq!(done.status, 200, "{}", done.text());
        assert_eq!(done.json()["key"], "a/b");
        let tag = done.header("etag").to_owned();
        assert_eq!(tag, format!("\"{}\"", done.json()["version"].as_str().unwrap()));
        let got = get(&node, "a%2Fb", &[]).await;
        assert_eq!((got.status.as_u16(), got.text().as_str()), (200, body));
        assert_eq!(got.header("content-type"), media_type);
        assert_eq!(got.header("etag"), tag);
        assert_eq!(got.header("dsync-cache"), "hit");
        assert_eq!(got.header("cache-control"), "no-store");
        assert_eq!(got.header("x-content-type-options"), "nosniff");
    }
    put(&node, "untyped", &[], "x").await;
    assert_eq!(get(&node, "untyped", &[]).await.header("content-type"), "application/octet-stream");
}

#[tokio::test]
async fn nothing_is_404_before_a_put_and_after_a_delete_and_a_delete_of_nothing_is_done() {
    let node = node();
    problem(&get(&node, "k", &[]).await, 404, "no_such_key");
    put(&node, "k", &[], "x").await;
    for _ in 0..2 {
        let deleted = node.delete("/v1/cache/k").await;
        assert_eq!((deleted.status.as_u16(), deleted.json()["key"].as_str()), (200, Some("k")));
        problem(&get(&node, "k", &[]).await, 404, "no_such_key");
    }
}

#[tokio::test]
async fn a_reader_that_has_the_value_is_told_so() {
    let node = node();
    let tag = put(&node, "k", &[], "x").await.header("etag").to_owned();
    let weak = format!("W/{tag}");
    for known in [&tag, &weak, "*"] {
        let same = get(&node, "k", &[("if-none-match", known)]).await;
        assert_eq!((same.status.as_u16(), same.text().as_str()), (304, ""), "{known}");
        assert_eq!(same.header("etag"), tag);
    }
    put(&node, "k", &[], "y").await;
    let other = get(&node, "k", &[("if-none-match", &tag)]).await;
    assert_eq!((other.status.as_u16(), other.text().as_str()), (200, "y"));
}

#[tokio::test]
async fn a_write_whose_condition_does_not_hold_changes_nothing_and_says_what_is_there() {
    let node = node();
    let absent = put(&node, "k", &[("if-match", "*")], "x").await;
    assert!(problem(&absent, 412, "condition_failed")["version"].is_null());
    let first = put(&node, "k", &[("if-none-match", "*")], "x").await.header("etag").to_owned();
    let there = put(&node, "k", &[("if-none-match", "*")], "y").await;
    let said = problem(&there, 412, "condition_failed");
    assert_eq!(format!("\"{}\"", said["version"].as_str().unwrap()), first);
    let second = put(&node, "k", &[("if-match", &first)], "z").await.header("etag").to_owned();
    problem(&put(&node, "k", &[("if-match", &first)], "y").await, 412, "condition_failed");
    let request = Request::delete("/v1/cache/k").header("if-match", &first);
    problem(&node.send(request.body(Body::empty()).unwrap()).await, 412, "condition_failed");
    assert_eq!(get(&node, "k", &[]).await.text(), "z");
    let request = Request::delete("/v1/cache/k").header("if-match", &second);
    assert_eq!(node.send(request.body(Body::empty()).unwrap()).await.status, 200);
}

#[tokio::test]
async fn a_value_says_how_much_longer_it_is_kept_and_goes_then() {
    let node = node();
    put(&node, "k?ttl=1h", &[], "x").await;
    let left: u64 = get(&node, "k", &[]).await.header("dsync-ttl-ms").parse().unwrap();
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    put(&node, "k?ttl=1", &[], "x").await;
    while get(&node, "k", &[]).await.status == 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn each_consistency_is_served_and_a_stale_answer_says_how_stale() {
    let node = node();
    put(&node, "k", &[], "x").await;
    for (consistency, cache) in [("linearizable", "hit"), ("verify", "miss"), ("stale", "hit")] {
        let got = get(&node, &format!("k?consistency={consistency}"), &[]).await;
        assert_eq!((got.status.as_u16(), got.text().as_str()), (200, "x"), "{consistency}");
        let stale = got.headers.get("dsync-staleness-ms").map(|value| value.to_str().unwrap());
        assert_eq!(stale, (consistency == "stale").then_some("0"));
        // Alone, a node asks itself.
        assert!(["hit", cache].contains(&got.header("dsync-cache")), "{consistency}");
    }
    assert_eq!(get(&node, "k?consistency=stale", &[]).await.header("dsync-cache"), "hit");
}

#[tokio::test]
async fn what_is_wrong_is_named_and_nothing_is_put() {
    let node = node();
    let long = "n".repeat(257);
    let over = "x".repeat(257);
    for (key, headers, field) in [
        (long.as_str(), &[][..], "key"),
        ("a%0Ab", &[], "key"),
        ("k?ttl=0", &[], "ttl"),
        ("k?ttl=soon", &[], "ttl"),
        ("k?ttl=367d", &[], "ttl"),
        ("k?ttl=1&ttl=2", &[], "ttl"),
        ("k?consistency=stale", &[], "consistency"),
        ("k", &[("if-match", "812.7")], "if-match"),
        ("k", &[("if-match", "\"08.7\"")], "if-match"),
        ("k", &[("if-match", "W/\"8.7\"")], "if-match"),
        ("k", &[("if-match", "\"1.1\""), ("if-match", "\"1.2\"")], "if-match"),
        ("k", &[("if-none-match", "\"8.7\"")], "if-none-match"),
        ("k", &[("if-match", "*"), ("if-none-match", "*")], "if-none-match"),
        ("k", &[("content-type", "json")], "content-type"),
        ("k", &[("content-type", over.as_str())], "content-type"),
        ("k", &[("content-type", "a/b"), ("content-type", "a/b")], "content-type"),
        ("k", &[("idempotency-key", "1")], "idempotency-key"),
    ] {
        let said = problem(&put(&node, key, headers, "x").await, 400, "invalid_field");
        assert_eq!(said["field"], field, "{key} {headers:?}");
    }
    for (path, headers, field) in [
        ("k?consistency=strong", &[][..], "consistency"),
        ("k?verify=1", &[], "verify"),
        ("k", &[("if-none-match", "812.7")], "if-none-match"),
        ("k", &[("if-match", "*")], "if-match"),
    ] {
        let said = problem(&get(&node, path, headers).await, 400, "invalid_field");
        assert_eq!(said["field"], field, "{path} {headers:?}");
    }
    let said = problem(&node.delete("/v1/cache/k?ttl=1").await, 400, "invalid_field");
    assert_eq!(said["field"], "ttl");
    problem(&get(&node, "k", &[]).await, 404, "no_such_key");
}

#[tokio::test]
async fn a_value_may_be_as_long_as_the_limit_and_no_longer() {
    let node = node();
    let longest = "x".repeat(128 << 10);
    assert_eq!(put(&node, "k", &[], &longest).await.status, 200);
    assert_eq!(get(&node, "k", &[]).await.body.len(), longest.len());
    problem(&put(&node, "k", &[], &format!("{longest}x")).await, 413, "payload_too_large");
    assert_eq!(get(&node, "k", &[]).await.body.len(), longest.len());
}

#[tokio::test]
async fn the_node_shows_what_it_has_cached() {
    let node = node();
    put(&node, "k", &[], "x").await;
    get(&node, "k", &[]).await;
    let stats = node.get("/v1/cache").await.json();
    assert_eq!((stats["entries"].as_u64(), stats["homes"].as_u64()), (Some(1), Some(1)), "{stats}");
    assert_eq!((stats["home"].as_bool(), stats["hits"].as_u64()), (Some(true), Some(1)));
    assert!(stats["bytes"].as_u64().unwrap() > 0);
    let said = problem(&node.get("/v1/cache?all=1").await, 400, "invalid_field");
    assert_eq!(said["field"], "all");
}

#[tokio::test]
async fn a_node_that_stops_refuses_by_name() {
    let mut node = node();
    node.site = node.site.with_caches(Caches::none());
    problem(&put(&node, "k", &[], "x").await, 503, "stopping");
    problem(&get(&node, "k", &[]).await, 503, "stopping");
}
