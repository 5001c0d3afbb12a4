//! Requests that wait: time-outs, hang-ups, grants that come later. Time is paused: it runs when
//! nobody has anything else to do.

use std::time::Duration;

use dsync_core::locks::{Attachment, LockOperation};
use dsync_core::machine::Operation;
use serde_json::json;
use tokio::time::timeout;

use super::super::fake_node::json_request;
use super::{acquire, node, ok, refused};

fn leaves(operations: &[Operation]) -> Vec<Attachment> {
    let leave = |operation: &Operation| match operation {
        Operation::Lock { operation: LockOperation::Leave(attachment), .. } => Some(*attachment),
        _ => None,
    };
    operations.iter().filter_map(leave).collect()
}

async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_grant() {
    let node = node();
    let hold = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    let body = json!({"owner": "b", "wait": "30s", "ttl": "20s"});
    let waits = ok(&node, "/v1/locks/x/acquire", body);
    let release = async {
        until(|| node.machine.load().locks().waits() == 1).await;
        let seen = node.get("/v1/locks/x").await.json();
        assert_eq!(seen["waiters"][0]["attached"], true);
        ok(&node, "/v1/locks/x/release", json!({"hold": hold})).await
    };
    let (granted, _) = tokio::join!(waits, release);
    assert_eq!(granted["locks"][0]["name"], "x");
    assert_eq!(granted["remaining_ms"], 20_000);
    let seen = node.get("/v1/locks/x").await.json();
    assert_eq!(seen["holders"][0]["hold"], granted["hold"]);
    // It was delivered, so nobody leaves it.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(leaves(&node.operations.lock().unwrap()), []);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_runs_out_is_409_and_the_owner_waits_no_longer() {
    let node = node();
    acquire(&node, "x", "a", "exclusive").await;
    let body = json!({"owner": "b", "wait": "30s"});
    let problem = refused(&node, "/v1/locks/x/acquire", body, 409, "wait_timeout").await;
    assert_eq!(problem["holders"], json!([{"owner": "a"}]));
    assert_eq!(node.get("/v1/locks/x").await.json()["waiters_count"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_up_leaves_the_queue() {
    let node = node();
    acquire(&node, "x", "a", "exclusive").await;
    let body = json!({"owner": "b", "wait": "10m"});
    let waits = node.post_json("/v1/locks/x/acquire", &body);
    assert!(timeout(Duration::from_secs(1), waits).await.is_err());
    until(|| node.machine.load().locks().waits() == 0).await;
    assert_eq!(leaves(&node.operations.lock().unwrap()).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_waits_for_the_other_readers_and_keeps_its_hold_when_it_gives_up() {
    let node = node();
    let mine = acquire(&node, "x", "a", "shared").await["hold"].clone();
    let other = acquire(&node, "x", "b", "shared").await["hold"].clone();
    let body = json!({"hold": mine, "wait": "5s"});
    let problem = refused(&node, "/v1/locks/x/upgrade", body.clone(), 409, "wait_timeout").await;
    assert!(problem["holders"].as_array().unwrap().contains(&json!({"owner": "b"})));
    assert_eq!(node.get("/v1/locks/x").await.json()["holders_count"], 2);
    let waits = ok(&node, "/v1/locks/x/upgrade", body);
    let release = async {
        until(|| node.machine.load().locks().get("x").is_some_and(|x| !x.waiters.is_empty())).await;
        ok(&node, "/v1/locks/x/release", json!({"hold": other})).await
    };
    let (upgraded, _) = tokio::join!(waits, release);
    assert_eq!(upgraded["hold"], mine);
    assert_eq!(upgraded["locks"][0]["mode"], "exclusive");
}

#[tokio::test(start_paused = true)]
async fn the_same_request_again_takes_the_place_over_and_the_first_is_told() {
    let node = node();
    let hold = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    let ask = || {
        let mut request = json_request("/v1/locks/x/acquire", r#"{"owner":"b","wait":"60s"}"#);
        request.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        request
    };
    let first = node.send(ask());
    let second = async {
        until(|| node.machine.load().locks().waits() == 1).await;
        let release = async {
            until(|| node.operations.lock().unwrap().len() == 3).await;
            ok(&node, "/v1/locks/x/release", json!({"hold": hold})).await
        };
        tokio::join!(node.send(ask()), release).0
    };
    let (first, second) = tokio::join!(first, second);
    super::problem(&first, 409, "superseded");
    assert_eq!(second.status, 200, "{}", second.text());
}
