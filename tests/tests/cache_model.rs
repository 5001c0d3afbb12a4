//! Coherent caches, model-checked: every order of events of small clusters without end of time, and every
//! rule left out.

#![allow(clippy::expect_used, clippy::print_stdout)]

#[path = "cache_model/home_leases.rs"]
mod home_leases;

use dsync_core::cache::Bug;
use dsync_tests::cache_model::{Bounds, COHERENT, CacheModel, Fault};
use stateright::{Checker, HasDiscoveries, Model};

/// Looks at everything within the bounds.
fn exhaust(bounds: Bounds) {
    let checker = CacheModel::new(bounds).checker().threads(1).spawn_bfs().join();
    println!(
        "{} states, the deepest after {} steps",
        checker.unique_state_count(),
        checker.max_depth()
    );
    checker.assert_properties();
}

/// Looks until something stale is read: the shortest way there.
fn find(bounds: Bounds) {
    let model = CacheModel::new(bounds).checker().threads(1);
    let checker = model.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let found = checker.discovery(COHERENT);
    let steps = found.expect("the rule is left out and nothing stale is read").into_actions();
    println!("{} states; {steps:?}", checker.unique_state_count());
}

/// A home and one sharer.
fn one_sharer() -> Bounds {
    Bounds::default()
}

/// The key moves from the first node to the second while both live; the third has the copies.
fn moved_key() -> Bounds {
    Bounds {
        nodes: 3,
        writers: vec![0, 1],
        readers: vec![2],
        gets: 1,
        in_flight_max: 1,
        moves: 1,
        ..Bounds::default()
    }
}

/// The first node's lease ends, the second is the next home; the third has the copies.
fn failed_home() -> Bounds {
    Bounds { home_leases: true, failovers: 1, moves: 0, ..moved_key() }
}

mod without_a_bug {
    use super::*;

    #[test]
    fn one_sharer_of_a_home() {
        exhaust(one_sharer());
    }

    #[test]
    fn one_sharer_whose_gets_join_each_other() {
        exhaust(Bounds { joiners: true, ..one_sharer() });
    }

    #[test]
    fn one_sharer_and_conditional_writes_from_both() {
        exhaust(Bounds { writers: vec![1, 0], conditional: true, ..one_sharer() });
    }

    #[test]
    fn one_sharer_and_a_delete() {
        exhaust(Bounds { deletes: true, writes: 3, ..one_sharer() });
    }

    #[test]
    fn one_sharer_and_messages_that_arrive_twice() {
        exhaust(Bounds { duplicates: 1, writers: vec![1], ..one_sharer() });
    }

    #[test]
    fn one_sharer_and_a_restart() {
        exhaust(Bounds { restarts: 1, gets: 1, ..one_sharer() });
    }

    #[test]
    fn two_sharers() {
        exhaust(Bounds { nodes: 3, readers: vec![1, 2], gets: 2, writes: 1, ..one_sharer() });
    }

    #[test]
    fn a_home_that_fails_and_whose_only_sharer_is_next() {
        exhaust(Bounds {
            home_leases: true,
            failovers: 1,
            writers: vec![0, 1],
            writes: 1,
            gets: 1,
            ..one_sharer()
        });
    }

    #[test]
    #[ignore = "long form"]
    fn a_home_that_fails_between_two_writes() {
        exhaust(Bounds {
            home_leases: true,
            failovers: 1,
            writers: vec![0, 1],
            gets: 1,
            in_flight_max: 1,
            ..one_sharer()
        });
    }

    #[test]
    fn a_key_that_moves_to_its_only_sharer() {
        exhaust(Bounds { moves: 1, writers: vec![0, 1], gets: 1, ..one_sharer() });
    }
}

mod a_rule_left_out {
    use super::*;

    fn in_one_sharer(bug: Bug) {
        find(Bounds { bug: Some(bug), ..one_sharer() });
    }

    #[test]
    fn a_fill_that_ignores_its_poison() {
        in_one_sharer(Bug::FillIgnoresPoison);
    }

    #[test]
    fn a_write_that_waits_for_nobody() {
        in_one_sharer(Bug::WriteWaitsForNobody);
    }

    #[test]
    fn a_silent_sharer_that_keeps_its_session() {
        in_one_sharer(Bug::SilentSharerKeepsSession);
    }

    #[test]
    fn a_fill_that_outlives_its_session() {
        in_one_sharer(Bug::FillOutlivesSession);
    }

    #[test]
    fn a_lease_that_is_waited_for_too_short() {
        in_one_sharer(Bug::LeaseWaitTooShort);
    }

    #[test]
    fn a_lease_that_is_counted_from_the_answer() {
        in_one_sharer(Bug::LeaseCountedFromAnswer);
    }

    #[test]
    fn a_value_that_is_shown_early() {
        in_one_sharer(Bug::ValueShownEarly);
    }

    #[test]
    fn what_is_kept_during_a_write() {
        in_one_sharer(Bug::KeptDuringWrite);
    }

    #[test]
    fn a_joiner_that_takes_an_old_value() {
        find(Bounds { joiners: true, bug: Some(Bug::JoinerTakesOldValue), ..one_sharer() });
    }

    #[test]
    fn a_home_without_a_lease() {
        find(Bounds { bug: Some(Bug::HomeWithoutLease), ..failed_home() });
    }

    #[test]
    fn a_session_that_is_not_nested() {
        find(Bounds { bug: Some(Bug::SessionNotNested), ..failed_home() });
    }

    #[test]
    fn copies_that_outlive_their_epoch() {
        find(Bounds { bug: Some(Bug::CopiesOutliveEpoch), ..moved_key() });
    }

    #[test]
    #[ignore = "long form; a golden script shows the same at once"]
    fn a_session_that_lives_after_a_release() {
        find(Bounds { bug: Some(Bug::ReleasedSessionLives), ..moved_key() });
    }

    #[test]
    fn a_leader_that_does_not_wait() {
        find(Bounds { bug: Some(Bug::SuspendedBeforeGrantEnds), ..failed_home() });
    }

    #[test]
    fn a_new_leader_that_does_not_wait() {
        let bug = Some(Bug::NewLeaderDoesNotWait);
        find(Bounds { elections: 1, bug, ..failed_home() });
    }

    #[test]
    fn a_next_home_that_does_not_wait() {
        find(Bounds { fault: Some(Fault::NextHomeDoesNotWait), ..moved_key() });
    }

    #[test]
    fn a_process_that_starts_again_as_the_same_one() {
        find(Bounds { restarts: 1, gets: 1, fault: Some(Fault::SameIncarnation), ..one_sharer() });
    }
}
