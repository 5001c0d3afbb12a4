//! A node that is declared lost, and claims.

use std::time::Duration;

use tokio::time::sleep;

use super::driver::{HERE, Leader};
use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_that_is_declared_lost_says_that_it_listens() {
    let world = World::new();
    outcome(world.node.acquire(None, ask("bob", "x"), seconds(0)).await);
    world.lose_this_node();
    world.until(|machine| !machine.locks().is_lost(HERE.1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_attached_by_an_entry_before_it_is_answered() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().lags = true;
    world.lose_this_node();
    world.release("ann", "x");
    assert!(world.machine().locks().get("x").unwrap().holders[0].claim);
    sleep(Duration::from_secs(1)).await;
    world.state().catch_up(false);
    let WaitOutcome::Granted { remaining_ms, .. } = outcome(bob.answer().await) else { panic!() };
    assert_eq!(remaining_ms, Some(60_000), "the whole lease, from the entry that attached it");
    assert!(!world.machine().locks().get("x").unwrap().holders[0].claim);
    let proposed = world.proposed();
    assert_eq!(proposed, ["RegisterBoot", "Acquire", "ResumeListeners", "Attach"]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_a_node_that_was_lost_for_a_moment_keeps_waiting() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.lose_this_node();
    world.until(|machine| !machine.locks().is_lost(HERE.1)).await;
    sleep(Duration::from_secs(20)).await;
    world.release("ann", "x");
    assert!(is_granted(&outcome(bob.answer().await)));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_cannot_be_attached_is_kept_for_the_client_to_ask_again() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().leader = Leader::Missing;
    world.lose_this_node();
    world.release("ann", "x");
    assert_eq!(error(bob.answer().await), SubmitError::NoLeader { sent: false });
    world.state().leader = Leader::Serves;
    sleep(Duration::from_secs(1)).await;
    assert!(world.machine().locks().get("x").unwrap().holders[0].claim);
    world.until(|machine| machine.locks().holds() == 0).await;
    assert!(!world.proposed().contains(&"Leave".to_owned()), "it lapsed by itself");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_lapses_while_the_node_is_lost_has_ended() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 60).await;
    world.state().leader = Leader::Stalls;
    world.lose_this_node();
    assert_eq!(outcome(bob.answer().await), WaitOutcome::Ended);
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_a_node_without_a_leader_is_told_that_nobody_knows() {
    let world = World::new();
    world.hold(ask("ann", "x"));
    let bob = Waiting::queued(&world, ask("bob", "x"), 600).await;
    world.state().leader = Leader::Stalls;
    world.node.listeners().cut_off();
    assert_eq!(error(bob.answer().await), SubmitError::Unknown);
    world.state().leader = Leader::Serves;
    world.until(|machine| machine.locks().waits() == 0).await;
}
