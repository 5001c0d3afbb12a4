//! Mistakes of the lock table and of waiting, put back one at a time: each must be caught.
//!
//! As in `bugs.rs`: up to a thousand seeds, in the situation in which the mistake can show, and the seeds
//! that catch it must be clean without it.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;

use dsync_core::locks::Bug;
use dsync_tests::simulator::Run;

/// Seeds in which a mistake must be caught at least once.
const SEEDS_MAX: u64 = 1_000;
/// Seeds that are counted: enough for a rate.
const SEEDS_COUNTED: u64 = 60;

fn rule_broken(seed: u64, bug: Bug, put_back: bool) -> Option<&'static str> {
    let run = Run { lock_bug: Some((bug, put_back)), ..Run::new(seed) };
    run.run().violation.map(|violation| violation.rule)
}

fn assert_caught(bug: Bug) {
    let mut rules: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let mut seed = 0;
    while seed < SEEDS_COUNTED || (rules.is_empty() && seed < SEEDS_MAX) {
        if let Some(rule) = rule_broken(seed, bug, true) {
            rules.entry(rule).or_default().push(seed);
        }
        seed += 1;
    }
    let caught: usize = rules.values().map(Vec::len).sum();
    let by_rule: Vec<String> =
        rules.iter().map(|(rule, seeds)| format!("{} {rule}", seeds.len())).collect();
    println!("{bug:?}: caught in {caught} of {seed} seeds ({})", by_rule.join("; "));
    assert!(!rules.is_empty(), "{bug:?} was not caught in {seed} seeds");
    for clean in rules.values().flatten() {
        assert_eq!(rule_broken(*clean, bug, false), None, "seed {clean} without {bug:?}");
    }
}

/// Tells one seed of one mistake: `DSYNC_SIM_BUG=ClaimIsHold DSYNC_SIM_SEED=3`, and `DSYNC_SIM_CLEAN=1`
/// for the same without it.
#[test]
#[ignore = "tells one seed, named by DSYNC_SIM_BUG and DSYNC_SIM_SEED"]
fn one_seed_of_one_mistake() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(name) = variable("DSYNC_SIM_BUG") else { return };
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name).unwrap();
    let seed = variable("DSYNC_SIM_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let put_back = variable("DSYNC_SIM_CLEAN").is_none();
    let run = Run { lock_bug: Some((bug, put_back)), verbose: true, ..Run::new(seed) };
    if let Some(violation) = run.run().violation {
        println!("{violation}");
    }
}

macro_rules! caught {
    ($($name:ident: $bug:ident,)*) => {
        $(
            #[test]
            fn $name() {
                assert_caught(Bug::$bug);
            }
        )*

        #[test]
        fn every_mistake_that_can_be_put_back_has_its_test() {
            let tested = [$(Bug::$bug),*];
            assert!(Bug::ALL.iter().all(|bug| tested.contains(bug)));
        }
    };
}

caught! {
    a_grant_that_passes_earlier_waiters_is_caught: GrantPassesWaiters,
    a_reader_that_passes_an_upgrade_is_caught: ReaderPassesUpgrade,
    a_renewal_that_moves_an_end_earlier_is_caught: RenewShortens,
    an_upgrade_with_the_readers_token_is_caught: UpgradeKeepsToken,
    an_upgrade_beside_readers_is_caught: UpgradeIgnoresReaders,
    a_second_upgrade_that_is_queued_is_caught: SecondUpgradeQueued,
    a_claim_that_is_answered_as_a_hold_is_caught: ClaimIsHold,
    a_wait_that_outlives_its_end_is_caught: LeaveKeepsPlace,
    a_leave_that_wakes_nobody_is_caught: LeaveWakesNobody,
    a_leave_that_undoes_what_others_have_told_is_caught: AnyLeaveUndoes,
    a_hold_that_nobody_was_told_of_is_caught: LastLeaveKeepsHold,
    a_hold_that_was_asked_for_twice_and_never_heard_of_is_caught: AskedAgainIsHeard,
    an_old_grant_that_is_played_back_is_caught: GrantPlayedBack,
    an_old_renewal_that_is_played_back_is_caught: RenewalPlayedBack,
    an_age_that_runs_while_nobody_asks_is_caught: AgeRunsWhileQuiet,
}
