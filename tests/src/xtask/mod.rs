//! The developer's commands: `cargo xtask VERB`.
//!
//! Few verbs, the same ones for people and for CI. The only shell script behind them is the one that
//! makes a Kubernetes cluster out of namespaces, which is a matter of other programs.

#![allow(clippy::print_stdout, reason = "what it has to say is what these commands are for")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod checks;
mod command;
mod fix;
mod generate;
#[path = "../../xtask/src/kube/mod.rs"]
mod kube;
mod needs;
mod outcome;
mod sim;
mod suites;
mod test;
mod verify;
mod workspace;

/// Developer commands of dsync.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Check everything that needs no test run: format, lints, docs, generated files, structure.
    /// Changes nothing.
    Verify,
    /// Rewrite what a machine can put right: format, lints with a sure fix, generated files.
    Fix,
    /// Write the generated files again.
    Gen,
    /// Run all tests, suite by suite.
    Test(test::TestArgs),
    /// Run simulated clusters: one seed, to see what happened, or many fresh ones.
    Sim(sim::SimArgs),
    /// Measure, beside what others have.
    Bench(bench::BenchArgs),
    #[command(flatten)]
    Kube(kube::Verb),
}

/// Runs the verb that this process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Verify => verify::run(),
        Verb::Fix => fix::run(),
        Verb::Gen => generate::write(),
        Verb::Test(args) => test::run(&args),
        Verb::Sim(args) => sim::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Kube(verb) => kube::run(&verb),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
