//! Holds: how they are got, kept and lost, against nodes that say what they are told to say.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_node::{FakeNode, Request, Say, ok, problem};
use crate::{Client, ClientSettings, LockError, Loss, Mode};

/// A grant of one lock, with its name from the request's path.
fn grant(remaining_ms: u64) -> Value {
    json!({
        "hold": "12.0", "token": 41, "remaining_ms": remaining_ms, "index": 12,
        "locks": [{ "name": "x", "mode": "exclusive", "permits": 1, "token": 41 }],
    })
}

fn renewed(remaining_ms: u64) -> Say {
    ok(&json!({ "hold": "12.0", "remaining_ms": remaining_ms, "index": 13 }))
}

/// Grants, renews and releases whatever is asked.
fn friendly(request: &Request) -> Say {
    let ttl_ms = request.body["ttl"].as_u64().unwrap_or(0);
    match request.line.rsplit('/').next() {
        Some("acquire" | "upgrade") => ok(&grant(ttl_ms)),
        Some("renew") => renewed(ttl_ms),
        _ => ok(&json!({})),
    }
}

fn is(request: &Request, verb: &str) -> bool {
    request.line.ends_with(verb)
}

/// Asks a silent node so seldom that a slow machine, too, hears each question before the next one.
fn client(nodes: &[&FakeNode]) -> Client {
    let settings =
        ClientSettings { probe_interval: Duration::from_millis(500), ..Default::default() };
    Client::with_settings(nodes.iter().map(|node| &node.address), settings).unwrap()
}

/// What was asked of a node, without the looks whether it lives: how many of those there are is chance.
fn posts(node: &FakeNode) -> Vec<Request> {
    node.requests().into_iter().filter(|it| it.line.starts_with("POST ")).collect()
}

/// Waits for something that a fake node sees, without stopping the runtime.
async fn see<T: Send + 'static>(
    node: &std::sync::Arc<FakeNode>,
    what: impl FnOnce(&FakeNode) -> T + Send + 'static,
) -> T {
    let node = std::sync::Arc::clone(node);
    tokio::task::spawn_blocking(move || what(&node)).await.unwrap()
}

/// The client and the number of a request's id.
fn number(request: &Request) -> (String, u64, u64) {
    let parts: Vec<_> = request.id.as_deref().unwrap().split('-').collect();
    (parts[0].to_owned(), parts[1].parse().unwrap(), parts[2].parse().unwrap())
}

#[tokio::test]
async fn a_grant_is_a_hold_with_its_token_and_what_is_left() {
    let node = FakeNode::new(friendly);
    let hold = client(&[&node]).lock("x").acquire().await.unwrap();
    assert_eq!(
        (hold.id(), hold.token().get(), hold.locks()[0].mode),
        ("12.0", 41, Mode::Exclusive)
    );
    assert!(hold.is_held());
    // 30 s, less a thousandth, less what has gone by.
    assert!(hold.remaining().unwrap() <= Duration::from_millis(29_970));
    let asked = &posts(&node)[0];
    assert_eq!(asked.line, "POST /v1/locks/x/acquire");
    assert_eq!(asked.body["ttl"], 30_000);
    assert_eq!(asked.body["mode"], "exclusive");
    assert!(asked.body["wait"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn several_locks_are_asked_for_together() {
    let node = FakeNode::new(friendly);
    let request = client(&[&node]).lock("x").and("a/b").shared().and("gpu").permits(2, 8);
    let hold = request.without_lease().try_acquire().await.unwrap();
    let asked = &posts(&node)[0];
    assert_eq!(asked.line, "POST /v1/locks/acquire");
    assert_eq!((&asked.body["ttl"], &asked.body["wait"]), (&json!(0), &json!(0)));
    let expected = json!([
        { "name": "x", "mode": "exclusive" },
        { "name": "a/b", "mode": "shared" },
        { "name": "gpu", "mode": "permits", "permits": 2, "permits_max": 8 },
    ]);
    assert_eq!(asked.body["locks"], expected);
    drop(hold);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_with_the_same_number_on_another_node() {
    for say in [Say::HangUp, problem(504, "outcome_unknown", false), Say::Answer(502, "?".into())] {
        let bad = FakeNode::scripted([say]);
        let good = FakeNode::new(friendly);
        let hold = client(&[&bad, &good]).lock("x").try_acquire().await.unwrap();
        let (first, again) = (&posts(&bad)[0], &posts(&good)[0]);
        assert_eq!(first.id, again.id);
        assert_eq!(first.body, again.body);
        drop(hold);
    }
}

#[tokio::test]
async fn what_was_sent_twice_is_renewed_above_its_number_before_it_is_held() {
    let bad = FakeNode::scripted([Say::HangUp]);
    let good = FakeNode::new(friendly);
    let _hold = client(&[&bad, &good]).lock("x").try_acquire().await.unwrap();
    let seen = posts(&good);
    assert!(is(&seen[1], "/renew"), "{seen:?}");
    let ((client, asked, _), (same, renewal, mark)) = (number(&seen[0]), number(&seen[1]));
    assert_eq!(client, same);
    assert!(renewal > asked && mark > asked, "{seen:?}");
}

#[tokio::test]
async fn a_grant_after_a_wait_is_renewed_before_it_is_held() {
    for waited_ms in [1, 500] {
        let node = FakeNode::new(move |request| {
            if !is(request, "/acquire") {
                return friendly(request);
            }
            let mut grant = grant(1);
            grant["waited_ms"] = json!(waited_ms);
            ok(&grant)
        });
        // What is left by the grant is nothing; only the renewal makes it a hold.
        let hold = client(&[&node]).lock("x").acquire().await.unwrap();
        assert!(hold.is_held());
        assert!(is(&posts(&node)[1], "/renew"));
    }
}

#[tokio::test]
async fn a_grant_that_is_gone_at_its_first_renewal_is_asked_for_anew() {
    let mut turn = 0;
    let node = FakeNode::new(move |request| {
        turn += u32::from(request.line.starts_with("POST "));
        let mut grant = grant(30_000);
        grant["waited_ms"] = json!(if turn == 1 { 500 } else { 0 });
        match turn {
            1 | 3 => ok(&grant),
            2 => problem(409, "hold_ended", false),
            _ => friendly(request),
        }
    });
    let _hold = client(&[&node]).lock("x").acquire().await.unwrap();
    let seen = posts(&node);
    assert!(number(&seen[2]).1 > number(&seen[0]).1, "{seen:?}");
}

#[tokio::test]
async fn a_request_that_waits_at_a_node_that_falls_silent_goes_on_at_another_in_its_place() {
    let silent = std::sync::Arc::new(FakeNode::scripted([Say::Nothing]));
    let good = FakeNode::new(friendly);
    let hold = client(&[&silent, &good]).lock("x").acquire().await.unwrap();
    let (first, again) = (&posts(&silent)[0], &posts(&good)[0]);
    assert!(is(first, "/acquire") && is(again, "/acquire"));
    assert_eq!(first.id.as_deref().map(|it| &it[..18]), again.id.as_deref().map(|it| &it[..18]));
    let probes = silent.requests().iter().filter(|it| is(it, "/v1/cluster")).count();
    assert!(probes >= 2, "it was asked whether it lives, and not once only");
    assert!(hold.is_held());
}

#[tokio::test]
async fn a_request_that_is_given_up_hangs_up_at_once() {
    let node = std::sync::Arc::new(FakeNode::scripted([Say::Nothing]));
    let request = Client::new([&node.address]).unwrap().lock("x").acquire();
    tokio::select! {
        _ = request => panic!("nobody granted it"),
        _ = see(&node, |node| node.await_requests("/acquire", 1)) => {}
    }
    see(&node, |node| node.await_hang_ups(1)).await;
}

/// Does not answer the first acquire, as if its grant were still under way.
fn grants_unheard(mut then: impl FnMut(&Request) -> Say + Send + 'static) -> FakeNode {
    let mut first = true;
    FakeNode::new(move |request| match is(request, "/acquire") && std::mem::take(&mut first) {
        true => Say::Nothing,
        false => then(request),
    })
}

#[tokio::test]
async fn a_grant_that_was_under_way_to_a_dropped_future_is_found_out_and_given_back() {
    let node = std::sync::Arc::new(grants_unheard(friendly));
    let client = client(&[&node]);
    tokio::select! {
        _ = client.lock("x").without_lease().acquire() => panic!("nobody answered"),
        _ = see(&node, |node| node.await_requests("/acquire", 1)) => {}
    }
    let released = see(&node, |node| node.await_requests("/release", 1)).await;
    assert_eq!(released[0].body, json!({ "hold": "12.0" }));
    let asked = node.await_requests("/acquire", 2);
    let ((_, first, _), (_, again, _)) = (number(&asked[0]), number(&asked[1]));
    assert_eq!(first, again, "the same request, so that nothing else is given back");
    assert!(number(&released[0]).2 > first, "copies of it that come late are refused");
}

#[tokio::test]
async fn who_gives_up_learns_that_nothing_is_held_after_it_was_given_back_or_never_granted() {
    let left = |request: &Request| match is(request, "/acquire") {
        true => problem(409, "wait_timeout", false),
        false => friendly(request),
    };
    for (then, releases) in [(friendly as fn(&Request) -> Say, 1), (left, 0)] {
        let node = std::sync::Arc::new(grants_unheard(then));
        let asked = see(&node, |node| drop(node.await_requests("/acquire", 1)));
        let held = client(&[&node]).lock("x").acquire_unless(asked).await;
        assert!(matches!(held, Ok(None)), "{held:?}");
        let released = posts(&node).iter().filter(|it| is(it, "/release")).count();
        assert_eq!(released, releases);
    }
}

#[tokio::test]
async fn who_gives_up_is_told_if_no_node_says_what_became_of_the_request() {
    let node = std::sync::Arc::new(grants_unheard(|_| Say::HangUp));
    let settings = ClientSettings { deadline: Duration::from_millis(1), ..Default::default() };
    let client = Client::with_settings([&node.address], settings).unwrap();
    let asked = see(&node, |node| drop(node.await_requests("/acquire", 1)));
    let request = client.lock("x").ttl(Duration::from_millis(1));
    let held = request.acquire_unless(asked).await;
    assert!(matches!(held, Err(LockError::Call(crate::Error::OutcomeUnknown(_)))), "{held:?}");
}

#[tokio::test]
async fn a_hold_that_is_given_up_at_its_first_renewal_is_released_by_its_id() {
    let node =
        std::sync::Arc::new(FakeNode::new(|request| match request.line.rsplit('/').next() {
            Some("acquire") => {
                let mut grant = grant(30_000);
                grant["waited_ms"] = json!(500);
                ok(&grant)
            }
            Some("renew") => Say::Nothing,
            _ => friendly(request),
        }));
    let renews = see(&node, |node| drop(node.await_requests("/renew", 1)));
    let held = client(&[&node]).lock("x").acquire_unless(renews).await;
    assert!(matches!(held, Ok(None)), "{held:?}");
    assert_eq!(node.await_requests("/release", 1)[0].body, json!({ "hold": "12.0" }));
    assert_eq!(node.await_requests("/acquire", 1).len(), 1);
}

#[tokio::test]
async fn a_grant_of_which_no_node_spoke_in_time_is_given_back_when_one_does_and_only_then_asked_for()
 {
    let serves = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let open = std::sync::Arc::clone(&serves);
    let node = std::sync::Arc::new(FakeNode::new(move |request| {
        match open.load(std::sync::atomic::Ordering::SeqCst) {
            true => friendly(request),
            false => Say::HangUp,
        }
    }));
    let settings = ClientSettings { deadline: Duration::from_millis(50), ..Default::default() };
    let client = Client::with_settings([&node.address], settings).unwrap();
    let unknown = client.lock("x").try_acquire().await;
    assert!(matches!(unknown, Err(LockError::Call(crate::Error::OutcomeUnknown(_)))));
    serves.store(true, std::sync::atomic::Ordering::SeqCst);
    let hold = client.lock("x").acquire().await.unwrap();
    let verbs: Vec<_> =
        posts(&node).iter().map(|it| it.line.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(verbs[verbs.len() - 3..], ["acquire", "release", "acquire"]);
    assert!(hold.is_held());
}

#[tokio::test]
async fn a_hold_that_lasts_some_time_at_least_has_a_lease_for_it_and_is_released_no_earlier() {
    let node = std::sync::Arc::new(FakeNode::new(friendly));
    let client = client(&[&node]);
    let request = || client.agent().lock("x").ttl(Duration::from_secs(30));
    // Longer than the lease: the first one lasts for all of it, renewals ask for the usual one.
    let hold = request().hold_at_least(Duration::from_secs(60)).acquire().await.unwrap();
    assert!(hold.remaining().unwrap() > Duration::from_secs(30));
    hold.renew().await.unwrap();
    assert!(hold.remaining().unwrap() > Duration::from_secs(30), "it is never shortened");
    let seen = posts(&node);
    assert_eq!((&seen[0].body["ttl"], &seen[1].body["ttl"]), (&json!(60_000), &json!(30_000)));
    hold.release().await.unwrap();
    assert_eq!(posts(&node).len(), 2, "it is not given back yet");

    let hold = request().hold_at_least(Duration::from_millis(50)).acquire().await.unwrap();
    let until = hold.keep_until().unwrap();
    hold.release().await.unwrap();
    see(&node, |node| drop(node.await_requests("/release", 1))).await;
    assert!(crate::BootInstant::now() >= until);

    let hold = request().hold_at_least(Duration::from_secs(60)).acquire().await.unwrap();
    hold.release_now().await.unwrap();
    assert_eq!(node.await_requests("/release", 2).len(), 2);
}

#[tokio::test]
async fn a_hold_is_renewed_for_longer_than_its_first_lease() {
    let node = std::sync::Arc::new(FakeNode::new(friendly));
    let ttl = Duration::from_millis(600);
    let hold = client(&[&node]).lock("x").ttl(ttl).acquire().await.unwrap();
    let first = hold.ends_at().unwrap();
    // Four renewals, a third of the lease apart, are more than one lease.
    let seen = see(&node, |node| node.await_requests("/v1/locks/renew", 4)).await;
    assert_eq!(seen[3].body, json!({ "hold": "12.0", "ttl": 600 }));
    assert!(hold.is_held() && hold.ends_at().unwrap() > first);
}

#[tokio::test]
async fn a_hold_is_lost_at_its_counted_end_though_renewals_hang() {
    // A slow machine's first renewal, which has a number, is answered.
    let node = std::sync::Arc::new(FakeNode::new(|request| {
        match is(request, "/renew") && request.id.is_none() {
            true => Say::Nothing,
            false => friendly(request),
        }
    }));
    let ttl = Duration::from_millis(300);
    let hold = client(&[&node]).lock("x").ttl(ttl).acquire().await.unwrap();
    assert_eq!(hold.lost().await, Loss::Expired);
    assert!(!hold.is_held());
    assert_eq!(hold.remaining(), Some(Duration::ZERO));
    assert!(crate::BootInstant::now() >= hold.ends_at().unwrap());
    // It was tried, and more than once: a node that hangs does not use up what is left.
    assert!(node.await_requests("/renew", 2).len() >= 2);
}

#[test]
fn a_hold_is_lost_in_time_though_the_runtime_is_busy() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = FakeNode::new(friendly);
    let request = client(&[&node]).lock("x").ttl(Duration::from_millis(100));
    let hold = runtime.block_on(request.acquire()).unwrap();
    // Outside of the runtime nothing renews, and nothing of it runs any timer.
    let mut loss = Box::pin(hold.lost());
    let (told, tells) = std::sync::mpsc::channel();
    struct Wakes(std::sync::mpsc::Sender<()>);
    impl std::task::Wake for Wakes {
        fn wake(self: std::sync::Arc<Self>) {
            let _ = self.0.send(());
        }
    }
    let waker = std::task::Waker::from(std::sync::Arc::new(Wakes(told)));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(loss.as_mut().poll(&mut context).is_pending());
    tells.recv().unwrap();
    assert_eq!(loss.as_mut().poll(&mut context), std::task::Poll::Ready(Loss::Expired));
}

#[tokio::test]
async fn a_renewal_that_is_refused_because_the_hold_is_gone_ends_it_at_once() {
    let ended = || problem(409, "hold_ended", false);
    let body = json!({ "code": "revoked", "detail": "", "reason": "stuck", "retryable": false });
    let revoked = move || Say::Answer(409, body.to_string());
    let cases: [(Box<dyn Fn() -> Say + Send>, Loss); 2] = [
        (Box::new(ended), Loss::Ended),
        (Box::new(revoked), Loss::Revoked { reason: "stuck".to_owned() }),
    ];
    for (say, loss) in cases {
        let node = FakeNode::new(move |request| match is(request, "/renew") {
            true => say(),
            false => friendly(request),
        });
        let ttl = Duration::from_millis(600);
        let hold = client(&[&node]).lock("x").ttl(ttl).acquire().await.unwrap();
        assert_eq!(hold.lost().await, loss);
        assert!(matches!(hold.release().await, Err(LockError::Lost(_))));
        assert!(!posts(&node).iter().any(|it| is(it, "/release")));
    }
}

#[tokio::test]
async fn dropping_a_hold_releases_it() {
    let node = std::sync::Arc::new(FakeNode::new(friendly));
    let hold = client(&[&node]).lock("x").acquire().await.unwrap();
    let lost = hold.lost();
    drop(hold);
    let seen = see(&node, |node| node.await_requests("/v1/locks/release", 1)).await;
    assert_eq!(seen[0].body, json!({ "hold": "12.0" }));
    assert_eq!(lost.await, Loss::Released);
}

#[tokio::test]
async fn an_agent_does_not_hold_a_lock_twice_and_waits_for_what_it_is_just_releasing() {
    let node = FakeNode::new(friendly);
    let client = client(&[&node]);
    let hold = client.lock("x").acquire().await.unwrap();
    let again = client.lock("a").and("x").acquire().await;
    assert!(matches!(again, Err(LockError::AlreadyHeld { name }) if name == "x"));
    drop(hold);
    let _hold = client.lock("x").acquire().await.unwrap();
    let verbs: Vec<_> =
        posts(&node).iter().map(|it| it.line.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(verbs, ["acquire", "release", "acquire"]);
}

#[tokio::test]
async fn another_agent_has_another_owner_on_the_same_connections() {
    let node = FakeNode::new(friendly);
    let client = client(&[&node]);
    let (_one, _two) = (
        client.lock("x").acquire().await.unwrap(),
        client.agent().lock("x").acquire().await.unwrap(),
    );
    let seen = posts(&node);
    assert_ne!(seen[0].body["owner"], seen[1].body["owner"]);
    assert_eq!(number(&seen[0]).0, number(&seen[1]).0);
}

#[tokio::test]
async fn an_upgrade_brings_a_new_token_and_a_downgrade_keeps_it() {
    let node = FakeNode::new(|request| match request.line.rsplit('/').next() {
        Some("upgrade") => {
            let mut grant = grant(30_000);
            (grant["token"], grant["locks"][0]["token"]) = (json!(42), json!(42));
            ok(&grant)
        }
        _ => friendly(request),
    });
    let hold = client(&[&node]).lock("x").shared().acquire().await.unwrap();
    hold.upgrade(Duration::from_secs(1)).await.unwrap();
    assert_eq!(hold.token().get(), 42);
    hold.downgrade().await.unwrap();
    assert!(hold.remaining().is_some(), "an answer without a lease left it as it was");
    assert_eq!((hold.token().get(), hold.locks()[0].mode), (42, Mode::Shared));
    hold.release().await.unwrap();
}

#[tokio::test]
async fn what_is_in_the_way_is_said_as_a_type() {
    let conflict = |body: Value| Say::Answer(409, body.to_string());
    let held = json!({ "code": "held", "holders": [{ "owner": "b" }] });
    let knot = json!({ "code": "deadlock", "cycle": [{ "owner": "a", "waits_for": "x" }] });
    let node = FakeNode::scripted([conflict(held), conflict(knot)]);
    let client = client(&[&node]);
    match client.lock("x").try_acquire().await {
        Err(LockError::Held { owners }) => assert_eq!(owners, ["b"]),
        other => panic!("{other:?}"),
    }
    match client.lock("x").acquire().await {
        Err(LockError::Deadlock { cycle }) => assert_eq!(cycle[0].waits_for, "x"),
        other => panic!("{other:?}"),
    }
}
