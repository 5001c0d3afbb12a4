//! `cargo xtask sim`: simulated clusters, by seed.
//!
//! The simulator is a test program (tests/tests/simulated.rs), so that a seed that fails in CI fails
//! the same way here. It reads what to run from its environment.

use clap::Args;

use super::build::{Features, cargo};
use super::command::Call;

/// One seed, to be run and told in full.
const SEED_VARIABLE: &str = "DSYNC_SIM_SEED";
/// How many fresh seeds to run.
const SEEDS_VARIABLE: &str = "DSYNC_SIM_SEEDS";

/// `cargo xtask sim`.
#[derive(Args, Debug)]
pub struct SimArgs {
    /// Run this seed and print what happened.
    seed: Option<u64>,

    /// Run this many fresh seeds.
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "seed")]
    seeds: u64,
}

/// Builds the simulator with optimisation and runs it.
///
/// # Errors
/// If it does not build or finds a violation.
pub fn run(args: &SimArgs) -> anyhow::Result<()> {
    call(args).run()
}

fn call(args: &SimArgs) -> Call {
    let test = |name: &str| {
        let test = cargo("test", Features::Shipped).args("--test simulated --");
        test.args("--nocapture --exact --include-ignored").arg(name)
    };
    match args.seed {
        Some(seed) => test("one_seed").env(SEED_VARIABLE, &seed.to_string()),
        None => test("fresh_seeds").env(SEEDS_VARIABLE, &args.seeds.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_replayed_and_without_one_fresh_ones_are_run() {
        let one = call(&SimArgs { seed: Some(42), seeds: 10_000 }).shown();
        assert!(one.starts_with("DSYNC_SIM_SEED=42 cargo test --workspace"), "{one}");
        let many = call(&SimArgs { seed: None, seeds: 5 }).shown();
        assert!(many.starts_with("DSYNC_SIM_SEEDS=5 cargo"), "{many}");
    }
}
