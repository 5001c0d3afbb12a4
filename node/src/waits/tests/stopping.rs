//! A node that stops.

use std::time::Duration;

use super::driver::Leader;
use super::*;

#[tokio::test(start_paused = true)]
async fn who_waits_is_sent_elsewhere_and_keeps_the_place_for_a_while() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    let cid = Waiting::queued(&world, ask("cid", "x"), 60).await;
    world.node.drain().await;
    assert_eq!(error(bob.answer().await), SubmitError::Stopping);
    assert_eq!(error(cid.answer().await), SubmitError::Stopping);
    let proposed = world.proposed();
    assert_eq!(proposed, ["RegisterBoot", "Acquire", "Acquire", "StopListening"]);
    // Bob asks elsewhere and is still before Cid.
    world.hold(Acquire { attachment: World::attachment_elsewhere(1), ..ask("bob", "x") });
    world.release("ann", "x");
    let lock = world.machine().locks().get("x").unwrap();
    assert_eq!(lock.holders[0].owner, owner("bob"));
    assert!(!lock.holders[0].claim);
    world.until(|machine| machine.locks().waits() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn who_has_just_been_granted_is_still_answered() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().barrier = Duration::from_millis(300);
    world.release("ann", "x");
    tokio::task::yield_now().await;
    world.node.drain().await;
    assert!(is_granted(&outcome(bob.answer().await)));
}

#[tokio::test(start_paused = true)]
async fn nothing_new_is_taken_in() {
    let world = World::new();
    world.node.drain().await;
    let answer = world.node.acquire(None, ask("bob", "x"), seconds(60)).await;
    assert_eq!(error(answer), SubmitError::Stopping);
}

#[tokio::test(start_paused = true)]
async fn a_node_without_a_leader_stops_all_the_same() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().leader = Leader::Stalls;
    let began = Instant::now();
    world.node.drain().await;
    assert!(began.elapsed() <= Duration::from_secs(3));
    assert_eq!(error(bob.answer().await), SubmitError::Stopping);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_does_not_say_that_it_listens() {
    let world = World::new();
    outcome(world.node.acquire(None, ask("bob", "x"), seconds(0)).await);
    world.node.drain().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!world.proposed().contains(&"ResumeListeners".to_owned()));
}
