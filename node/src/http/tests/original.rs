//! Every row of the original routes' table that is served by now: each outcome, as its client reads
//! it.

use dsync_core::locks::{
    Acquire, AcquireOutcome, HoldId, LockItem, LockOperation, LockOutcome, LockRefusal, Mode,
    Owner, Release, ReleaseOutcome,
};
use dsync_core::machine::{Operation, Outcome};
use dsync_core::types::Index;
use serde_json::json;

use super::fake_node::{FakeNode, Reply};
use crate::handle::SubmitError;

const ASK: &str = r#"{"resource_id":"x","client_id":"b","lock_type":"exclusive"}"#;

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

async fn ask(outcome: AcquireOutcome) -> Reply {
    FakeNode::saying(Ok(Outcome::Lock(LockOutcome::Acquire(outcome))))
        .post("/lock/acquire", ASK)
        .await
}

async fn give_back(outcome: ReleaseOutcome) -> Reply {
    let node = FakeNode::saying(Ok(Outcome::Lock(LockOutcome::Release(outcome))));
    node.post("/lock/release", r#"{"resource_id":"x","client_id":"b"}"#).await
}

#[tokio::test]
async fn a_grant_says_success_with_its_token_hold_and_remaining_time() {
    let hold = HoldId { index: Index(7), position: 2 };
    let reply =
        ask(AcquireOutcome::Granted { hold, tokens: vec![41], remaining_ms: Some(900) }).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    let body = reply.json();
    assert_eq!(body["success"], true);
    assert!(body["message"].is_string());
    assert_eq!(body["token"], 41);
    assert_eq!(body["hold_id"], "7-2");
    assert_eq!(body["remaining_ms"], 900);
    assert_eq!(body["lock_type"], "exclusive");
}

#[tokio::test]
async fn who_finds_the_lock_held_is_told_of_the_wait_list_with_200() {
    let reply = ask(AcquireOutcome::Waiting { ahead: 1, holders: vec![owner("a")] }).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["success"], false);
    assert_eq!(body["message"], "Lock x is held by a; b is number 2 in the wait list");
    assert_eq!(body["position"], 2);
    assert_eq!(body["owners"], json!(["a"]));
}

#[tokio::test]
async fn who_closes_a_cycle_is_told_deadlock_detected_and_the_cycle() {
    let cycle = vec![(owner("b"), "x".to_owned()), (owner("a"), "y".to_owned())];
    let reply = ask(AcquireOutcome::Deadlock { cycle }).await;
    assert_eq!(reply.status, 200);
    let body = reply.json();
    assert_eq!(body["success"], false);
    assert_eq!(
        body["message"],
        "Deadlock detected: b waits for x behind a, a waits for y behind b"
    );
    let edges = [("b", "x"), ("a", "y")].map(|(c, l)| json!({"client_id": c, "waits_for": l}));
    assert_eq!(body["cycle"], json!(edges));
}

#[tokio::test]
async fn what_the_owner_itself_has_to_mend_is_an_ordinary_no_with_a_code() {
    let refusal = LockRefusal::WaitsInOtherMode;
    let reply = ask(AcquireOutcome::Refused(refusal.clone())).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["success"], false);
    assert_eq!(reply.json()["message"], refusal.to_string());
    assert_eq!(reply.json()["code"], "waits_in_other_mode");
}

#[tokio::test]
async fn who_was_forced_out_is_told_why() {
    let reply = ask(AcquireOutcome::Revoked { reason: "stuck".to_owned() }).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["success"], false);
    assert_eq!(reply.json()["code"], "revoked");
    assert!(reply.json()["message"].as_str().unwrap().contains("stuck"));
}

#[tokio::test]
async fn a_reached_limit_is_429_and_names_the_setting() {
    let limit = LockRefusal::Limit { setting: "lock_waiters_max".to_owned(), limit: 10 };
    let reply = ask(AcquireOutcome::Refused(limit)).await;
    assert_eq!(reply.status, 429);
    assert_eq!(reply.json()["success"], false);
    assert_eq!(reply.json()["message"], "limit reached: lock_waiters_max = 10");
}

#[tokio::test]
async fn a_release_ends_a_hold_or_a_wait_and_nothing_of_a_stranger() {
    for (outcome, success) in [
        (ReleaseOutcome::Released, true),
        (ReleaseOutcome::LeftQueue, true),
        (ReleaseOutcome::NotHolder, false),
        (ReleaseOutcome::HeldWithOthers { hold: None }, false),
    ] {
        let reply = give_back(outcome.clone()).await;
        assert_eq!(reply.status, 200, "{outcome:?}");
        assert_eq!(reply.json()["success"], success, "{outcome:?}");
        assert!(reply.json()["message"].is_string(), "{outcome:?}");
    }
}

/// Each optional field given, null and left out, beside each other one so.
#[tokio::test]
async fn fields_reach_the_machine_as_they_were_sent() {
    let lock_types = [
        ("", Mode::Exclusive),
        (r#","lock_type":null"#, Mode::Exclusive),
        (r#","lock_type":"exclusive""#, Mode::Exclusive),
        (r#","lock_type":"shared""#, Mode::Shared),
    ];
    let ttls = [
        ("", 0),
        (r#","ttl":null"#, 0),
        (r#","ttl":0"#, 0),
        (r#","ttl":1500"#, 1500),
        (r#","ttl":"30s""#, 30_000),
        (r#","ttl":"1h30m""#, 5_400_000),
        (r#","unknown":{"deep":[1]}"#, 0),
    ];
    for (lock_type, mode) in lock_types {
        for (ttl, ttl_ms) in ttls {
            let node = FakeNode::granting();
            let body = format!(r#"{{"resource_id":"a/ü","client_id":"c"{lock_type}{ttl}}}"#);
            let reply = node.post("/lock/acquire", &body).await;
            assert_eq!(reply.status, 200, "{body}");
            assert_eq!(reply.json()["lock_type"], json!(mode), "{body}");
            let items =
                vec![LockItem { name: "a/ü".to_owned(), mode, permits: 1, permits_max: 1 }];
            let expected = Operation::lock(LockOperation::Acquire(Acquire {
                owner: owner("c"),
                items,
                ttl_ms: Some(ttl_ms),
                queue: true,
                attachment: None,
            }));
            assert_eq!(*node.operations.lock().unwrap(), [expected], "{body}");
        }
    }
}

#[tokio::test]
async fn a_release_reaches_the_machine_by_name_and_owner() {
    let node = FakeNode::saying(Ok(Outcome::Lock(LockOutcome::Release(ReleaseOutcome::Released))));
    node.post("/lock/release", r#"{"resource_id":"x","client_id":"c"}"#).await;
    let expected = Operation::lock(LockOperation::Release(Release {
        owner: owner("c"),
        name: "x".to_owned(),
    }));
    assert_eq!(*node.operations.lock().unwrap(), [expected]);
}

#[tokio::test]
async fn without_an_outcome_the_status_says_whether_anything_can_have_happened() {
    for (error, status, code, retryable) in [
        (SubmitError::NoLeader { sent: false }, 503, "no_leader", true),
        (SubmitError::Overloaded, 503, "overloaded", true),
        (SubmitError::Stopping, 503, "stopping", true),
        (SubmitError::NotMember, 503, "not_member", true),
        (SubmitError::NoLeader { sent: true }, 504, "outcome_unknown", false),
        (SubmitError::Unknown, 504, "outcome_unknown", false),
    ] {
        let reply = FakeNode::saying(Err(error)).post("/lock/acquire", ASK).await;
        assert_eq!(reply.status, status, "{error:?}");
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.header("retry-after"), if retryable { "1" } else { "" }, "{error:?}");
        let body = reply.json();
        assert_eq!(body["success"], false);
        assert_eq!(body["code"], code, "{error:?}");
        assert_eq!(body["retryable"], retryable, "{error:?}");
        assert!(body["message"].is_string());
    }
}

#[tokio::test]
async fn a_void_command_may_be_sent_again() {
    let reply = FakeNode::saying(Ok(Outcome::Void)).post("/lock/acquire", ASK).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["retryable"], true);
}

#[tokio::test]
async fn what_is_answered_is_counted() {
    let node = FakeNode::granting();
    node.post("/lock/acquire", ASK).await;
    let metrics = node.get("/metrics").await.text();
    let request =
        "dsync_http_requests_total{route=\"/lock/acquire\",method=\"POST\",status=\"200\"} 1\n";
    assert!(metrics.contains(request), "{metrics}");
}
