//! The developer's commands: `cargo xtask VERB`.
//!
//! Few verbs, the same ones for people and for CI. The only shell script behind them is the one that
//! makes a Kubernetes cluster out of namespaces, which is a matter of other programs. This package is
//! small, so that a command starts at once: what needs the product's code is a program of another
//! package, built and run by cargo.

#![allow(clippy::print_stdout, reason = "what it has to say is what these commands are for")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod build;
mod checks;
mod command;
mod fix;
mod generate;
mod kube;
mod model;
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

/// A verb is a module with `run`, and an arm in [`Verb::run`].
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
    /// Check caches under every order of events that bounds allow.
    Model(model::ModelArgs),
    /// Measure, beside what others have.
    #[command(disable_help_flag = true)]
    Bench(bench::BenchArgs),
    #[command(flatten)]
    Kube(kube::Verb),
}

impl Verb {
    fn run(&self) -> anyhow::Result<()> {
        match self {
            Self::Verify => verify::run(),
            Self::Fix => fix::run(),
            Self::Gen => generate::write(),
            Self::Test(args) => test::run(args),
            Self::Sim(args) => sim::run(args),
            Self::Model(args) => model::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Kube(verb) => kube::run(verb),
        }
    }
}

fn main() -> ExitCode {
    match Cli::parse().verb.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
