//! Simulated clusters: seeds that must be clean, and proof that a seed replays.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use dsync_tests::simulator::{Options, Run, simulate};

/// Fresh seeds for every run of the suite; the first is printed.
const FRESH_BY_DEFAULT: u64 = 200;

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn assert_clean(seed: u64) {
    let report = Run::new(seed).run();
    if let Some(violation) = report.violation {
        panic!("seed {seed}:\n{violation}");
    }
}

#[test]
fn the_first_hundred_seeds_are_clean() {
    (0..100).for_each(assert_clean);
}

#[test]
fn a_seed_replays_bit_for_bit() {
    for seed in [1, 2, 3, 42, 4711, 1_000_003] {
        let (first, second) = (Run::new(seed).run(), Run::new(seed).run());
        assert_eq!(
            (first.hash, first.steps, first.virtual_ms, first.committed),
            (second.hash, second.steps, second.virtual_ms, second.committed),
            "seed {seed}"
        );
    }
}

#[test]
fn different_seeds_are_different_runs() {
    assert_ne!(Run::new(1).run().hash, Run::new(2).run().hash);
}

#[test]
fn fresh_seeds() {
    let count = number_from("DSYNC_SIM_SEEDS").unwrap_or(FRESH_BY_DEFAULT);
    let base = number_from("DSYNC_SIM_BASE");
    let failures = simulate(Options { seed: None, count, base });
    assert!(failures.is_empty(), "failing seeds: {failures:?}");
}

/// `cargo xtask sim SEED`.
#[test]
#[ignore = "tells one seed, named by DSYNC_SIM_SEED"]
fn one_seed() {
    let seed = number_from("DSYNC_SIM_SEED").unwrap_or(42);
    let failures = simulate(Options { seed: Some(seed), ..Options::default() });
    assert!(failures.is_empty(), "seed {seed} fails");
}
