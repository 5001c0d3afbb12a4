//! `cargo xtask bench`: a program of dsync-tests, which measures the program that users get.

use clap::Args;

use super::build::{PROGRAM_VARIABLE, shipped_program};
use super::command::Call;

/// `cargo xtask bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// What to measure, and how: `cargo xtask bench --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Builds the product and the bench, and runs it.
///
/// # Errors
/// If something cannot be built, started or measured.
pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    let program = shipped_program();
    program.build().run()?;
    let bench = Call::cargo("run --release --package dsync-tests --bin bench --");
    let bench = args.arguments.iter().fold(bench, |call, argument| call.arg(argument));
    bench.env(PROGRAM_VARIABLE, &program.path()).run()
}
