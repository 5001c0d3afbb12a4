//! Bugs that other systems have shipped, put back one at a time: each must be caught.
//!
//! For each, the simulator draws up to a thousand seeds in the situation in which the bug can show. The
//! same seeds must be clean without it, or the catch would prove nothing.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::Command;

use dsync_core::raft::Bug;
use dsync_tests::simulator::Run;

/// Seeds in which a bug must be caught at least once.
const SEEDS_MAX: u64 = 1_000;
/// Seeds that are counted by default: enough for a rate.
const SEEDS_COUNTED: u64 = 60;

fn rule_broken(seed: u64, bug: Bug, put_back: bool, blind: bool) -> Option<&'static str> {
    let run = Run { bug: Some((bug, put_back)), blind, ..Run::new(seed) };
    run.run().violation.map(|violation| violation.rule)
}

/// Catches by rule, in at least `SEEDS_COUNTED` seeds, and on to `SEEDS_MAX` until there is one.
fn catches(bug: Bug, blind: bool) -> (u64, BTreeMap<&'static str, Vec<u64>>) {
    let mut rules: BTreeMap<&'static str, Vec<u64>> = BTreeMap::new();
    let mut seed = 0;
    while seed < SEEDS_COUNTED || (rules.is_empty() && seed < SEEDS_MAX) {
        if let Some(rule) = rule_broken(seed, bug, true, blind) {
            rules.entry(rule).or_default().push(seed);
        }
        seed += 1;
    }
    (seed, rules)
}

fn print(bug: Bug, how: &str, seeds: u64, rules: &BTreeMap<&'static str, Vec<u64>>) {
    let caught: usize = rules.values().map(Vec::len).sum();
    let by_rule: Vec<String> =
        rules.iter().map(|(rule, seeds)| format!("{} {rule}", seeds.len())).collect();
    println!("{bug:?}, {how}: caught in {caught} of {seeds} seeds ({})", by_rule.join("; "));
}

fn assert_caught(bug: Bug) {
    let (seeds, rules) = catches(bug, false);
    print(bug, "by all rules", seeds, &rules);
    assert!(!rules.is_empty(), "{bug:?} was not caught in {seeds} seeds");
    for clean in rules.values().flatten() {
        assert_eq!(rule_broken(*clean, bug, false, false), None, "seed {clean} without {bug:?}");
    }
}

/// A core into which nothing is put back does, step by step, what the core does that is shipped. Else
/// what is shown here would say nothing of that one. The other build is made by cargo, from this source.
#[test]
fn nothing_put_back_changes_nothing() {
    let shipped = "test --workspace --test simulated -- --exact traces_of_fixed_seeds --nocapture";
    let output = Command::new(env!("CARGO"))
        .args(shipped.split(' '))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let traces =
        said.lines().filter_map(|line| line.split_once("trace of seed ")?.1.split_once(": "));
    let mut compared = 0;
    for (seed, hash) in traces {
        let own = Run::new(seed.parse().unwrap()).run().hash;
        assert_eq!(format!("{own:016x}"), hash, "seed {seed}");
        compared += 1;
    }
    assert!(compared > 5, "{said}");
}

/// Not a gate: how often each bug shows in what users would see, when the rules about the core's inner
/// workings are overlooked.
#[test]
#[ignore = "a count for the curious, a few minutes long"]
fn what_shows_in_the_consequences_alone() {
    for bug in Bug::ALL {
        let (seeds, rules) = catches(bug, true);
        print(bug, "by consequences", seeds, &rules);
    }
}

/// Tells one seed of one bug: `DSYNC_SIM_BUG=StampFallsBack DSYNC_SIM_SEED=3`, and
/// `DSYNC_SIM_CLEAN=1` for the same without the bug.
#[test]
#[ignore = "tells one seed, named by DSYNC_SIM_BUG and DSYNC_SIM_SEED"]
fn one_seed_of_one_bug() {
    let variable = |name: &str| std::env::var(name).ok();
    let Some(name) = variable("DSYNC_SIM_BUG") else { return };
    let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name).unwrap();
    let seed = variable("DSYNC_SIM_SEED").and_then(|seed| seed.parse().ok()).unwrap_or(0);
    let put_back = variable("DSYNC_SIM_CLEAN").is_none();
    let run = Run { bug: Some((bug, put_back)), verbose: true, ..Run::new(seed) };
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
        fn every_bug_that_can_be_put_back_has_its_test() {
            let tested = [$(Bug::$bug),*];
            assert!(Bug::ALL.iter().all(|bug| tested.contains(bug)));
        }
    };
}

caught! {
    a_commit_index_from_an_unsorted_array_is_caught: UnsortedQuorum,
    an_empty_disk_that_votes_is_caught: EmptyDiskVotes,
    a_pre_candidate_that_keeps_its_old_term_is_caught: PreVoteKeepsTerm,
    a_leader_that_hears_nobody_and_goes_on_is_caught: NoCheckQuorum,
    a_leader_whose_disk_hangs_and_goes_on_is_caught: DiskHangIgnored,
    a_hand_over_to_a_lagging_follower_is_caught: TransferToLagging,
    a_snapshot_that_keeps_a_conflicting_tail_is_caught: SnapshotKeepsTail,
    a_late_write_that_counts_for_a_replaced_entry_is_caught: StaleWriteCounts,
    a_read_that_asks_nobody_is_caught: ReadWithoutRound,
    a_follower_that_never_gets_the_snapshot_is_caught: NoSnapshotForPurged,
    a_leader_that_counts_its_unsynced_log_is_caught: LeaderCountsUnsynced,
    an_earlier_term_committed_by_counting_is_caught: CommitEarlierTerm,
    a_vote_that_leaves_before_it_is_on_disk_is_caught: VoteBeforeSync,
    a_stamp_that_falls_back_is_caught: StampFallsBack,
    a_disk_that_was_set_back_and_returns_is_caught: SetBackDiskReturns,
}
