//! Get, put and delete, against nodes that say what they are told to say.

use std::time::Duration;

use serde_json::json;

use super::{CacheConsistency, CacheError, CacheValue, CacheVersion};
use crate::fake_node::{FakeNode, Say, ok, problem};
use crate::{Client, Error};

const HEAD: &str = "content-type: text/plain\r\netag: \"812.7\"\r\ndsync-cache: hit\r\n\
                    dsync-ttl-ms: 1500\r\ndsync-staleness-ms: 20\r\n";

fn client(nodes: &[&FakeNode]) -> Client {
    Client::new(nodes.iter().map(|node| &node.address)).unwrap()
}

fn written() -> Say {
    ok(&json!({ "key": "k", "version": "812.8" }))
}

#[tokio::test]
async fn what_is_got_has_its_bytes_its_version_and_what_the_head_says() {
    let node = FakeNode::scripted([Say::WithHead(200, HEAD, "[1]".to_owned())]);
    let cache = client(&[&node]).cache();
    let cached = cache.get_with("a/b", CacheConsistency::Stale).await.unwrap().unwrap();
    assert_eq!(node.requests()[0].line, "GET /v1/cache/a%2Fb?consistency=stale");
    assert_eq!((cached.body.as_slice(), cached.content_type.as_str()), (&b"[1]"[..], "text/plain"));
    assert_eq!((cached.version.0.as_str(), cached.hit), ("812.7", true));
    assert_eq!(cached.ttl, Some(Duration::from_millis(1_500)));
    assert_eq!(cached.staleness, Duration::from_millis(20));
    assert_eq!(cached.json::<Vec<u8>>().unwrap(), [1]);
}

#[tokio::test]
async fn nothing_is_none_and_no_home_is_asked_for_at_the_next_node() {
    let away = FakeNode::scripted([problem(503, "home_unavailable", true)]);
    let none = FakeNode::scripted([problem(404, "no_such_key", false)]);
    assert_eq!(client(&[&away, &none]).cache().get("k").await.unwrap(), None);
    assert_eq!((away.asked(), none.asked()), (1, 1));
}

#[tokio::test]
async fn a_put_carries_bytes_type_time_and_condition() {
    let node = FakeNode::scripted([written()]);
    let cache = client(&[&node]).cache();
    let put = || cache.put("k", CacheValue::new("x", "a/b"));
    let version = put().ttl(Duration::from_secs(2)).send().await.unwrap();
    assert_eq!(version, CacheVersion("812.8".to_owned()));
    put().if_version(&version).send().await.unwrap();
    put().if_absent().send().await.unwrap();
    put().if_present().send().await.unwrap();
    cache.delete("k").if_version(&version).send().await.unwrap();
    let asked = node.requests();
    assert_eq!(asked[0].line, "PUT /v1/cache/k?ttl=2000");
    assert_eq!(asked[0].written, "x");
    assert!(asked[0].head.contains("content-type: a/b"), "{}", asked[0].head);
    assert!(asked[1].head.contains("if-match: \"812.8\""));
    assert!(asked[2].head.contains("if-none-match: *"));
    assert!(asked[3].head.contains("if-match: *"));
    assert_eq!(asked[4].line, "DELETE /v1/cache/k");
    assert!(asked[4].head.contains("if-match: \"812.8\""));
}

#[tokio::test]
async fn a_condition_that_does_not_hold_says_what_is_there() {
    for (there, version) in [(json!("812.9"), Some("812.9")), (json!(null), None)] {
        let body = json!({ "code": "condition_failed", "detail": "no", "retryable": false,
                           "version": there });
        let node = FakeNode::scripted([Say::Answer(412, body.to_string())]);
        let put = client(&[&node]).cache().put("k", CacheValue::text("x")).if_absent();
        let Err(CacheError::ConditionFailed { version: found }) = put.send().await else {
            panic!("it was put")
        };
        assert_eq!(found.map(|found| found.0), version.map(str::to_owned));
    }
}

#[tokio::test]
async fn a_write_without_an_answer_is_not_sent_again_and_one_that_was_not_taken_is() {
    let mute = FakeNode::scripted([Say::HangUp]);
    let other = FakeNode::scripted([written()]);
    let cache = client(&[&mute, &other]).cache();
    let unknown = cache.put("k", CacheValue::bytes("x")).send().await;
    assert!(matches!(unknown, Err(CacheError::Call(Error::OutcomeUnknown(_)))), "{unknown:?}");
    let unknown = cache.delete("k").send().await;
    assert!(matches!(unknown, Err(CacheError::Call(Error::OutcomeUnknown(_)))), "{unknown:?}");
    assert_eq!(other.asked(), 0);
    let full = FakeNode::scripted([problem(503, "home_unavailable", true)]);
    let put = client(&[&full, &other]).cache().put("k", CacheValue::bytes("x"));
    assert_eq!(put.send().await.unwrap().0, "812.8");
}
