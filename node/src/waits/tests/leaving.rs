//! Clients that go, or run out of patience, leave nothing behind.

use std::time::Duration;

use dsync_core::locks::{HoldRef, Upgrade};
use tokio::time::sleep;

use super::driver::Leader;
use super::*;

/// Without a lease, so that nothing ends by itself.
fn ask(who: &str, lock: &str) -> Acquire {
    Acquire { ttl_ms: Some(0), ..super::ask(who, lock) }
}

#[tokio::test(start_paused = true)]
async fn who_runs_out_of_patience_is_told_so_when_the_queue_is_left() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(2)).await;
    assert_eq!(outcome(answer), WaitOutcome::TimedOut);
    assert_eq!(world.machine().locks().waits(), 0);
    world.settled().await;
    assert_eq!(world.proposed(), ["RegisterBoot", "Acquire", "Leave"]);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_comes_just_before_the_time_out_is_undone() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 2).await;
    world.state().lags = true;
    world.release("ann", "x");
    assert_eq!(world.machine().locks().holds(), 1);
    assert_eq!(outcome(bob.answer().await), WaitOutcome::TimedOut);
    assert_eq!(world.machine().locks().holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_hangs_up_leaves_the_queue() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    bob.hang_up().await;
    world.settled().await;
    assert_eq!(world.machine().locks().waits(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_not_delivered_is_undone_and_the_next_one_gets_the_lock() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    let cid = Waiting::queued(&world, ask("cid", "x"), 60).await;
    world.release("ann", "x");
    let answer = bob.answer().await.unwrap();
    assert!(is_granted(&answer.outcome));
    drop(answer);
    assert!(is_granted(&outcome(cid.answer().await)));
    let lock = world.machine().locks().get("x").unwrap();
    assert_eq!(lock.holders[0].owner, owner("cid"));
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_is_delivered_is_never_left() {
    let world = World::new();
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(60)).await;
    assert!(is_granted(&outcome(answer)));
    world.state().catch_up(true);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(world.proposed(), ["RegisterBoot", "Acquire"]);
    assert_eq!(world.machine().locks().holds(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_leader_the_end_of_patience_is_unknown_and_is_left_when_there_is_one() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 2).await;
    world.state().leader = Leader::Stalls;
    assert_eq!(error(bob.answer().await), SubmitError::Unknown);
    sleep(Duration::from_secs(30)).await;
    assert_eq!(world.machine().locks().waits(), 1);
    world.state().leader = Leader::Serves;
    world.until(|machine| machine.locks().waits() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_cannot_be_proven_is_unknown_and_is_undone() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().leader = Leader::Stalls;
    world.release("ann", "x");
    assert_eq!(error(bob.answer().await), SubmitError::Unknown);
    world.state().leader = Leader::Serves;
    world.until(|machine| machine.locks().holds() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_applied_after_its_client_gave_up_is_left_when_it_shows() {
    let world = World::new();
    world.state().leader = Leader::Stalls;
    let bob = Waiting::begun(&world, ask("bob", "x"), 60);
    assert_eq!(error(bob.answer().await), SubmitError::Unknown);
    world.state().leader = Leader::Serves;
    world.settled().await;
    // Between two looks around.
    sleep(Duration::from_millis(20_500)).await;
    world.state().apply_stalled();
    assert_eq!(world.machine().locks().holds(), 1);
    let event = Instant::now();
    world.until(|machine| machine.locks().holds() == 0).await;
    assert!(event.elapsed() < Duration::from_millis(100), "by its event, not by looking around");
}

#[tokio::test(start_paused = true)]
async fn what_shows_without_an_event_is_found_by_looking_around() {
    let world = World::new();
    world.state().leader = Leader::Stalls;
    let bob = Waiting::begun(&world, ask("bob", "x"), 60);
    assert_eq!(error(bob.answer().await), SubmitError::Unknown);
    world.state().leader = Leader::Serves;
    world.settled().await;
    // Between two looks around.
    sleep(Duration::from_millis(20_500)).await;
    world.state().lags = true;
    world.state().apply_stalled();
    world.state().catch_up(true);
    assert_eq!(world.machine().locks().holds(), 1);
    world.until(|machine| machine.locks().holds() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn what_can_never_come_any_more_is_forgotten() {
    let world = World::new();
    world.state().leader = Leader::Stalls;
    let bob = Waiting::begun(&world, ask("bob", "x"), 60);
    assert_eq!(error(bob.answer().await), SubmitError::Unknown);
    world.state().leader = Leader::Serves;
    world.settled().await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.node.listeners().orphan_count(), 1, "age says nothing");
    world.state().raises_mark = true;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.node.listeners().orphan_count(), 0);
    world.state().apply_stalled();
    assert_eq!(world.machine().locks().holds(), 0, "it is void by the mark");
}

#[tokio::test(start_paused = true)]
async fn who_asks_again_for_what_it_holds_and_hangs_up_keeps_it() {
    let world = World::new();
    outcome(world.node.acquire(None, ask("bob", "x"), seconds(60)).await);
    let again = world.node.acquire(None, ask("bob", "x"), seconds(60)).await.unwrap();
    assert!(is_granted(&again.outcome));
    drop(again);
    // The same, before the outcome is known.
    world.state().leader = Leader::Stalls;
    let bob = Waiting::begun(&world, ask("bob", "x"), 60);
    sleep(Duration::from_secs(1)).await;
    bob.hang_up().await;
    world.state().leader = Leader::Serves;
    world.state().apply_stalled();
    sleep(Duration::from_secs(10)).await;
    world.settled().await;
    assert_eq!(world.machine().locks().holds(), 1);
    assert_eq!(world.node.listeners().orphan_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_asks_twice_and_hangs_up_on_both_holds_nothing() {
    let world = World::new();
    let first = world.node.acquire(None, ask("bob", "x"), seconds(60)).await.unwrap();
    let again = world.node.acquire(None, ask("bob", "x"), seconds(60)).await.unwrap();
    assert!(is_granted(&first.outcome) && is_granted(&again.outcome));
    drop(first);
    sleep(Duration::from_secs(1)).await;
    assert!(world.proposed().contains(&"Leave".to_owned()));
    assert_eq!(world.machine().locks().holds(), 1);
    drop(again);
    world.settled().await;
    assert_eq!(world.machine().locks().holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_is_taken_up_unheard_is_undone() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    world.hold(ask("bob", "x"));
    world.release("ann", "x");
    assert!(world.machine().locks().get("x").unwrap().holders[0].claim);
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(60)).await.unwrap();
    assert!(is_granted(&answer.outcome));
    drop(answer);
    world.settled().await;
    assert_eq!(world.machine().locks().holds(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_at_once_that_is_not_delivered_is_undone() {
    let world = World::new();
    let answer = world.node.acquire(None, shared("bob", "x"), seconds(0)).await;
    let WaitOutcome::Granted { hold, .. } = outcome(answer) else { panic!() };
    let hold = HoldRef { principal: "anonymous".into(), hold, name: Some("x".into()) };
    let wish = Upgrade { hold, ttl_ms: None, queue: true, attachment: None };
    drop(world.node.upgrade(None, wish, seconds(60)).await.unwrap());
    world.settled().await;
    assert_eq!(world.machine().locks().get("x").unwrap().holders[0].mode, Mode::Shared);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_took_leaves_no_trace() {
    let world = World::new();
    world.state().leader = Leader::Missing;
    let bob = Waiting::begun(&world, ask("bob", "x"), 60);
    assert_eq!(error(bob.answer().await), SubmitError::NoLeader { sent: false });
    assert_eq!(world.node.listeners().orphan_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn hundreds_who_hang_up_at_once_all_leave() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let mut waiting = Vec::new();
    for n in 0..400 {
        waiting.push(Waiting::begun(&world, ask(&format!("w{n}"), "x"), 600));
    }
    world.until(|machine| machine.locks().waits() == 400).await;
    for one in waiting {
        one.hang_up().await;
    }
    world.settled().await;
    assert_eq!(world.machine().locks().waits(), 0);
    assert_eq!(world.node.listeners().orphan_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_leave_of_a_connection_takes_nothing_from_the_same_request_elsewhere() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.hold(Acquire { attachment: World::attachment_elsewhere(1), ..ask("bob", "x") });
    bob.hang_up().await;
    world.settled().await;
    assert_eq!(world.machine().locks().waits(), 1);
    assert_eq!(world.node.listeners().orphan_count(), 0);
}
