//! What is against a request, and how it is said: one status and one code for each.

use dsync_core::locks::{AcquireOutcome, HoldId, HoldOutcome, LockOutcome, LockRefusal, Owner};
use dsync_core::machine::{Outcome, RequestRefusal, Settings};
use dsync_core::types::Index;
use serde_json::json;

use super::super::real_locks::node_with;
use super::{FakeNode, acquire, node, refused};
use crate::handle::SubmitError;

const ACQUIRE: &str = "/v1/locks/x/acquire";

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

#[tokio::test]
async fn every_outcome_of_an_acquire_has_its_status_its_code_and_its_members() {
    let cycle = vec![(owner("b"), "x".to_owned()), (owner("a"), "y".to_owned())];
    let hold = HoldId { index: Index(7), position: 1 };
    let already = LockRefusal::AlreadyHeld { name: "x".to_owned(), hold: Some(hold) };
    let differ = LockRefusal::PermitsDiffer { name: "x".to_owned(), permits_max: 3 };
    let crowded = LockRefusal::Limit { setting: "lock_waiters_max".to_owned(), limit: 10 };
    let too_long = LockRefusal::Limit { setting: "lease_ms_max".to_owned(), limit: 10 };
    for (outcome, status, code, member, value) in [
        (
            AcquireOutcome::Held { holders: vec![owner("a")] },
            409,
            "held",
            "holders",
            json!([{"owner": "a"}]),
        ),
        (AcquireOutcome::Held { holders: vec![] }, 409, "held", "holders", json!([])),
        (
            AcquireOutcome::Deadlock { cycle },
            409,
            "deadlock",
            "cycle",
            json!([{"owner": "b", "waits_for": "x"}, {"owner": "a", "waits_for": "y"}]),
        ),
        (AcquireOutcome::Ended, 409, "hold_ended", "retryable", json!(false)),
        (AcquireOutcome::Revoked { reason: "why".into() }, 409, "revoked", "reason", json!("why")),
        (AcquireOutcome::Refused(already), 409, "already_held", "hold", json!("7-1")),
        (AcquireOutcome::Refused(differ), 409, "permits_differ", "permits_max", json!(3)),
        (
            AcquireOutcome::Refused(LockRefusal::WaitsInOtherMode),
            409,
            "waits_in_other_mode",
            "retryable",
            json!(false),
        ),
        (
            AcquireOutcome::Refused(LockRefusal::NotAPlainLock("x".to_owned())),
            409,
            "not_a_plain_lock",
            "name",
            json!("x"),
        ),
        (
            AcquireOutcome::Refused(crowded),
            429,
            "limit_reached",
            "setting",
            json!("lock_waiters_max"),
        ),
        (AcquireOutcome::Refused(too_long), 400, "invalid_field", "field", json!("ttl")),
    ] {
        let node = FakeNode::saying(Ok(Outcome::Lock(LockOutcome::Acquire(outcome))));
        let problem = refused(&node, ACQUIRE, json!({"owner": "b"}), status, code).await;
        assert_eq!(problem[member], value, "{code}");
        assert_eq!(problem["leader"], "n1");
    }
}

#[tokio::test]
async fn what_a_request_id_has_against_it_is_told_on_every_changing_route() {
    for (refusal, status, code, retryable) in [
        (RequestRefusal::OtherBody, 422, "request_id_reused", false),
        (RequestRefusal::Forgotten, 409, "request_settled", false),
        (RequestRefusal::Full, 429, "request_ids_full", true),
    ] {
        let node = FakeNode::saying(Ok(Outcome::RequestRefused(refusal)));
        for (path, body) in [
            (ACQUIRE, json!({"owner": "b"})),
            ("/v1/locks/acquire", json!({"owner": "b", "locks": [{"name": "x"}]})),
            ("/v1/locks/x/release", json!({"hold": "7-0"})),
            ("/v1/locks/renew", json!({"hold": "7-0"})),
            ("/v1/locks/x/upgrade", json!({"hold": "7-0"})),
            ("/v1/locks/x/downgrade", json!({"hold": "7-0"})),
            ("/v1/locks/renew-all", json!({"owner": "b"})),
            ("/v1/locks/x/force", json!({"reason": "r"})),
        ] {
            let problem = refused(&node, path, body, status, code).await;
            assert_eq!(problem["retryable"], retryable, "{path}");
        }
    }
}

#[tokio::test]
async fn without_an_outcome_the_status_says_whether_anything_can_have_happened() {
    for (error, status, code) in [
        (SubmitError::NoLeader { sent: false }, 503, "no_leader"),
        (SubmitError::Overloaded, 503, "overloaded"),
        (SubmitError::Stopping, 503, "stopping"),
        (SubmitError::NotMember, 503, "not_member"),
        (SubmitError::NoLeader { sent: true }, 504, "outcome_unknown"),
        (SubmitError::Unknown, 504, "outcome_unknown"),
    ] {
        let node = FakeNode::saying(Err(error));
        for (path, body) in [
            (ACQUIRE, json!({"owner": "b"})),
            ("/v1/locks/x/release", json!({"hold": "7-0"})),
            ("/v1/locks/x/upgrade", json!({"hold": "7-0"})),
            ("/v1/locks/renew-all", json!({"owner": "b"})),
            ("/v1/locks/x/force", json!({"reason": "r"})),
        ] {
            let problem = refused(&node, path, body, status, code).await;
            assert_eq!(problem["retryable"], status == 503, "{path}");
        }
    }
}

#[tokio::test]
async fn a_command_that_came_too_late_may_be_sent_again() {
    let node = FakeNode::saying(Ok(Outcome::Void));
    for (path, body) in
        [(ACQUIRE, json!({"owner": "b"})), ("/v1/locks/x/release", json!({"hold": "7-0"}))]
    {
        assert_eq!(refused(&node, path, body, 503, "void").await["retryable"], true);
    }
}

#[tokio::test]
async fn an_answer_to_something_else_is_a_bug_and_says_nothing() {
    let node = FakeNode::saying(Ok(Outcome::Lock(LockOutcome::Hold(HoldOutcome::Released))));
    refused(&node, "/v1/locks/x/renew", json!({"hold": "7-0"}), 500, "internal").await;
}

#[tokio::test]
async fn a_knot_is_refused_and_the_one_who_closed_it_is_first_in_the_cycle() {
    let node = node();
    acquire(&node, "x", "a", "exclusive").await;
    acquire(&node, "y", "b", "exclusive").await;
    let body = r#"{"resource_id":"y","client_id":"a","lock_type":"exclusive"}"#;
    node.post("/lock/acquire", body).await;
    let body = json!({"owner": "b", "wait": "30s"});
    let knot = refused(&node, ACQUIRE, body, 409, "deadlock").await;
    let cycle = json!([{"owner": "b", "waits_for": "x"}, {"owner": "a", "waits_for": "y"}]);
    assert_eq!(knot["cycle"], cycle);
    assert!(knot["detail"].as_str().unwrap().contains("b waits for x, a waits for y"));
}

#[tokio::test]
async fn a_crowded_lock_is_429_and_names_the_setting() {
    let mut settings = Settings::default();
    settings.locks.owner_holds_max = 1;
    let node = node_with(settings);
    acquire(&node, "x", "a", "exclusive").await;
    let path = "/v1/locks/y/acquire";
    let problem = refused(&node, path, json!({"owner": "a"}), 429, "limit_reached").await;
    assert_eq!(problem["setting"], "owner_holds_max");
    assert_eq!(problem["limit"], 1);
}
