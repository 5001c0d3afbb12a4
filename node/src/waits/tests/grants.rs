//! What ends a wait, and what its client is told.

use std::time::Duration;

use dsync_core::locks::{
    AcquireOutcome, ForceRelease, HoldRef, LockOperation, LockOutcome, Upgrade,
};
use dsync_core::machine::{Operation, Outcome};
use tokio::time::sleep;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_grant_ends_a_wait_and_says_what_is_left_of_its_lease() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    sleep(Duration::from_secs(3)).await;
    world.state().barrier = Duration::from_millis(2_500);
    world.release("ann", "x");
    let answer = bob.answer().await.unwrap();
    let WaitOutcome::Granted { hold, tokens, remaining_ms } = &answer.outcome else {
        panic!("{answer:?}")
    };
    let lock = world.machine().locks().get("x").unwrap();
    assert_eq!((*hold, tokens[0]), (lock.holders[0].hold, lock.holders[0].token));
    // The lease began with the grant; the proof took its time, and is of the last entry by then.
    let left = remaining_ms.unwrap();
    assert!((57_300..=57_700).contains(&left), "{left}");
    // From here on it may count what is left: not from when the proof was there.
    assert!((2_900..=3_100).contains(&answer.waited_ms), "{}", answer.waited_ms);
    answer.deliver();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_granted_at_once_does_not_wait_for_a_read() {
    let world = World::new();
    world.state().barrier = Duration::from_secs(3_600);
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(60)).await;
    let WaitOutcome::Granted { remaining_ms, .. } = outcome(answer) else { panic!() };
    assert_eq!(remaining_ms, Some(60_000));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_patience_is_only_tried() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(0)).await;
    assert_eq!(outcome(answer), WaitOutcome::Held { holders: vec![owner("ann")] });
    assert_eq!(world.machine().locks().waits(), 0);
    world.settled().await;
    assert_eq!(world.proposed(), ["RegisterBoot", "Acquire"]);
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_is_told_at_once() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    outcome(world.node.acquire(None, ask("bob", "y"), seconds(0)).await);
    world.hold(ask("ann", "y"));
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(60)).await;
    assert!(matches!(outcome(answer), WaitOutcome::Deadlock { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_grant_whose_lease_ends_before_it_is_proven_is_no_grant() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let short = Acquire { ttl_ms: Some(1_000), ..ask("bob", "x") };
    let bob = Waiting::queued(&world, short, 60).await;
    world.state().barrier = Duration::from_secs(2);
    world.release("ann", "x");
    assert_eq!(outcome(bob.answer().await), WaitOutcome::Ended);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_revoked_before_it_is_proven_is_told_as_revoked_and_ends() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().lags = true;
    world.release("ann", "x");
    world.elsewhere(Operation::lock(LockOperation::Force(ForceRelease {
        principal: "anonymous".into(),
        name: "x".into(),
        hold: None,
        reason: "maintenance".into(),
        now: false,
    })));
    world.state().catch_up(false);
    let reason = "maintenance".to_owned();
    assert_eq!(outcome(bob.answer().await), WaitOutcome::Revoked { reason });
    world.settled().await;
    assert_eq!(world.machine().locks().holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_its_owner_gives_up_by_name_has_ended() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.release("bob", "x");
    assert_eq!(outcome(bob.answer().await), WaitOutcome::Ended);
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_on_another_node_takes_the_wait_along() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    let again = Acquire { attachment: World::attachment_elsewhere(1), ..ask("bob", "x") };
    world.hold(again);
    // No event says so; a look at the state does.
    assert_eq!(outcome(bob.answer().await), WaitOutcome::Superseded);
    assert_eq!(world.machine().locks().waits(), 1);
    world.settled().await;
    assert_eq!(world.proposed(), ["RegisterBoot", "Acquire"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_to_another_connection_of_the_request_is_told_at_once() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    let asked = Instant::now();
    world.hold(Acquire { attachment: World::attachment_elsewhere(1), ..ask("bob", "x") });
    world.release("ann", "x");
    assert_eq!(outcome(bob.answer().await), WaitOutcome::Superseded);
    assert!(asked.elapsed() < Duration::from_millis(10));
    assert_eq!(world.machine().locks().holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_second_of_two_connections_of_a_request_gets_the_grant() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let first = Waiting::queued(&world, ask("bob", "x"), 60).await;
    let second = Waiting::begun(&world, ask("bob", "x"), 60);
    assert_eq!(outcome(first.answer().await), WaitOutcome::Superseded);
    world.release("ann", "x");
    assert!(is_granted(&outcome(second.answer().await)));
}

#[tokio::test(start_paused = true)]
async fn after_a_snapshot_everybody_looks_at_the_state() {
    let world = World::new();
    for lock in ["x", "y"] {
        world.hold(ask("ann", lock));
    }
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    let cid = Waiting::queued(&world, ask("cid", "y"), 60).await;
    world.state().lags = true;
    world.release("ann", "x");
    world.release("cid", "y");
    world.state().catch_up(true);
    assert!(is_granted(&outcome(bob.answer().await)));
    assert_eq!(outcome(cid.answer().await), WaitOutcome::Ended);
}

async fn reader(world: &World, who: &str) -> HoldRef {
    let answer = world.node.acquire(None, shared(who, "x"), seconds(0)).await;
    let WaitOutcome::Granted { hold, .. } = outcome(answer) else { panic!() };
    HoldRef { principal: "anonymous".into(), hold, name: Some("x".into()) }
}

fn upgrade(hold: HoldRef) -> Upgrade {
    Upgrade { hold, ttl_ms: None, queue: true, attachment: None }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_waits_for_the_other_readers() {
    let world = World::new();
    world.hold(shared("ann", "x"));
    let hold = reader(&world, "bob").await;
    let (node, wish) = (world.node.clone(), upgrade(hold.clone()));
    let bob = tokio::spawn(async move { node.upgrade(None, wish, seconds(60)).await });
    let waits = |machine: &dsync_core::machine::Machine| {
        machine.locks().get("x").is_some_and(|lock| !lock.waiters.is_empty())
    };
    world.until(waits).await;
    world.release("ann", "x");
    let WaitOutcome::Granted { hold: granted, tokens, .. } = outcome(bob.await.unwrap()) else {
        panic!()
    };
    assert_eq!(granted, hold.hold);
    let lock = world.machine().locks().get("x").unwrap();
    assert_eq!((lock.holders[0].mode, lock.holders[0].token), (Mode::Exclusive, tokens[0]));
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_given_up_leaves_the_reader_its_lock() {
    let world = World::new();
    world.hold(shared("ann", "x"));
    let hold = reader(&world, "bob").await;
    let answer = world.node.upgrade(None, upgrade(hold), seconds(1)).await;
    assert_eq!(outcome(answer), WaitOutcome::TimedOut);
    let lock = world.machine().locks().get("x").unwrap();
    assert_eq!((lock.holders.len(), lock.waiters.len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn the_wish_of_a_hold_that_ends_has_ended() {
    let world = World::new();
    world.hold(shared("ann", "x"));
    let hold = reader(&world, "bob").await;
    let (node, wish) = (world.node.clone(), upgrade(hold.clone()));
    let bob = tokio::spawn(async move { node.upgrade(None, wish, seconds(60)).await });
    tokio::task::yield_now().await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(
        world.elsewhere(Operation::lock(LockOperation::ReleaseHold(hold))),
        Outcome::Lock(LockOutcome::Hold(dsync_core::locks::HoldOutcome::Released))
    );
    assert_eq!(outcome(bob.await.unwrap()), WaitOutcome::Ended);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_of_what_is_not_held_has_ended() {
    let world = World::new();
    let hold = reader(&world, "bob").await;
    world.release("bob", "x");
    let answer = world.node.upgrade(None, upgrade(hold), seconds(1)).await;
    assert_eq!(outcome(answer), WaitOutcome::Ended);
    assert!(!matches!(
        world.elsewhere(Operation::lock(LockOperation::Acquire(ask("cid", "x")))),
        Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Held { .. }))
    ));
}
