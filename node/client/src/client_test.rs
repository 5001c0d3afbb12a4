//! Fail-over and repeats, against nodes that say what they are told to say.

use std::io::{Read, Write};
use std::time::Duration;

use dsync_core::locks::Mode;
use serde_json::json;

use crate::fake_node::{FakeNode, Say, ok, problem};
use crate::nodes::{Call, Failure, Repeat};
use crate::original::{Acquired, Released};
use crate::{Client, ClientSettings, Error, LockError};

/// An address where nobody listens.
fn nobody() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn free_lock() -> Say {
    ok(&json!({ "name": "x", "holders": [], "waiters": [], "index": 1, "time_ms": 1 }))
}

fn hasty(addresses: &[&str]) -> Client {
    let settings = ClientSettings { deadline: Duration::from_millis(300), ..Default::default() };
    Client::with_settings(addresses, settings).unwrap()
}

#[tokio::test]
async fn a_node_that_is_down_or_without_a_leader_is_passed_over_and_not_asked_first_again() {
    let (down, leaderless) = (nobody(), FakeNode::scripted([problem(503, "no_leader", true)]));
    let good = FakeNode::scripted([free_lock()]);
    let client = Client::new([&down, &leaderless.address, &good.address]).unwrap();
    for _ in 0..2 {
        assert_eq!(client.get("x").await.unwrap().name, "x");
    }
    assert_eq!((leaderless.asked(), good.asked()), (1, 2));
}

#[tokio::test]
async fn a_cluster_that_has_no_leader_for_a_while_is_asked_until_it_has() {
    let later = || problem(503, "no_leader", true);
    let node = FakeNode::scripted([later(), later(), free_lock()]);
    assert!(Client::new([&node.address]).unwrap().get("x").await.is_ok());
    assert_eq!(node.asked(), 3);
}

/// A node without a connection left: says so to whoever comes, before it has heard anything, and reads
/// on until the other side closes.
fn full_node(refuses: impl Fn() -> bool + Send + 'static, otherwise: Say) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let body =
        json!({ "code": "too_many_connections", "detail": "this node has no connection left",
                       "retryable": true })
        .to_string();
    let answer = |status: u16, body: &str| {
        format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            if refuses() {
                stream.write_all(answer(503, &body).as_bytes()).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                std::thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
            } else if let Say::Answer(status, body) = &otherwise {
                let _read = stream.read(&mut [0; 4096]).unwrap();
                stream.write_all(answer(*status, body).as_bytes()).unwrap();
            }
        }
    });
    address
}

#[tokio::test]
async fn a_node_without_a_connection_left_has_applied_nothing() {
    let node = full_node(|| true, Say::Nothing);
    let client = Client::new([&node]).unwrap();
    let call = Call::post(&["lock", "release"], json!({}), Repeat::IfUnsent);
    // Whether the request or the refusal is first on the connection is chance: both are met here.
    for _ in 0..20 {
        match client.nodes.ask(0, &call).await {
            Err(Failure::Unserved { last, .. }) => {
                assert!(last.answered && last.reason.contains("left"), "{last}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_node_that_has_a_connection_again_is_asked_again() {
    let mut refusals = 3;
    let count = std::sync::Mutex::new(move || {
        refusals -= 1;
        refusals >= 0
    });
    let released = ok(&json!({ "success": true, "message": "gone" }));
    let node = full_node(move || count.lock().unwrap()(), released);
    let client = Client::new([&node]).unwrap();
    assert_eq!(client.original().release("x", "a").await.unwrap(), Released::Ended);
}

#[tokio::test]
async fn a_refusal_is_final() {
    let refusal = json!({ "title": "t", "detail": "no", "code": "invalid_field", "field": "ttl",
                          "retryable": false, "request_id": "r" });
    let bad = FakeNode::scripted([Say::Answer(400, refusal.to_string())]);
    let good = FakeNode::scripted([free_lock()]);
    match Client::new([&bad.address, &good.address]).unwrap().get("x").await {
        Err(Error::Refused { status, code, message, field, request_id, .. }) => {
            assert_eq!((status, code.as_str(), message.as_str()), (400, "invalid_field", "no"));
            assert_eq!((field.as_deref(), request_id.as_deref()), (Some("ttl"), Some("r")));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(good.asked(), 0);
}

#[tokio::test]
async fn at_the_deadline_the_last_reason_is_told() {
    let node = FakeNode::scripted([problem(503, "no_leader", true)]);
    match hasty(&[&node.address]).get("x").await {
        Err(Error::Unavailable { last, .. }) => {
            assert_eq!(last.node, node.address);
            assert!(last.reason.contains("no_leader"), "{last}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_that_is_not_known_is_said_to_be() {
    let node = FakeNode::scripted([Say::Answer(200, "<html>".to_owned())]);
    let client = Client::new([&node.address]).unwrap();
    assert!(matches!(client.status().await, Err(Error::Answer { .. })));
}

#[tokio::test]
async fn each_node_is_asked_for_its_own_status() {
    let (first, second) = (nobody(), FakeNode::scripted([problem(503, "no_leader", true)]));
    let views = Client::new([&first, &second.address]).unwrap().statuses().await;
    assert_eq!(views.len(), 2);
    assert!(views.iter().all(|(_, view)| matches!(view, Err(Error::Unavailable { .. }))));
    assert_eq!(second.asked(), 1);
}

#[test]
fn addresses_must_be_http() {
    for bad in ["", "127.0.0.1:5001", "ftp://n", "mailto:n"] {
        assert!(matches!(Client::new([bad]), Err(Error::Address(_))), "{bad}");
    }
    assert!(matches!(Client::new::<&str>([]), Err(Error::NoNodes)));
}

/// An address would drop the control character, and take the dots for steps to another route.
#[tokio::test]
async fn a_name_that_cannot_stand_in_an_address_is_refused_and_nobody_is_asked() {
    let node = FakeNode::scripted([]);
    let client = Client::new([&node.address]).unwrap();
    for bad in ["", ".", "..", "a\nb", "tab\tx"] {
        assert!(matches!(client.get(bad).await, Err(Error::Name { .. })), "{bad:?}");
        let acquired = client.lock(bad).try_acquire().await;
        assert!(matches!(acquired, Err(LockError::Call(Error::Name { .. }))), "{bad:?}");
    }
    assert_eq!(node.asked(), 0);
}

#[tokio::test]
async fn on_the_original_routes_an_acquire_is_repeated_when_its_outcome_is_unknown() {
    let grant = json!({ "success": true, "message": "", "token": 41, "hold_id": "7-0",
                        "remaining_ms": null, "index": 7 });
    for say in [Say::HangUp, problem(504, "outcome_unknown", false), Say::Answer(502, "?".into())] {
        let (bad, good) = (FakeNode::scripted([say]), FakeNode::scripted([ok(&grant)]));
        let client = Client::new([&bad.address, &good.address]).unwrap();
        let acquired = client.original().acquire("x", "a", Mode::Exclusive, None).await;
        assert!(matches!(acquired, Ok(Acquired::Held(hold)) if hold.token == 41));
    }
}

#[tokio::test]
async fn on_the_original_routes_a_release_is_not_repeated_when_its_outcome_is_unknown() {
    let released = json!({ "success": true, "message": "gone" });
    for say in [Say::HangUp, problem(504, "outcome_unknown", false), Say::Answer(502, "?".into())] {
        let (bad, good) = (FakeNode::scripted([say]), FakeNode::scripted([ok(&released)]));
        let client = Client::new([&bad.address, &good.address]).unwrap();
        let outcome = client.original().release("x", "a").await;
        assert!(matches!(outcome, Err(Error::OutcomeUnknown(_))), "{outcome:?}");
        assert_eq!(good.asked(), 0);
    }
    let unserved = FakeNode::scripted([problem(503, "no_leader", true)]);
    let good = FakeNode::scripted([ok(&released)]);
    let client = Client::new([&nobody(), &unserved.address, &good.address]).unwrap();
    assert_eq!(client.original().release("x", "a").await.unwrap(), Released::Ended);
}
