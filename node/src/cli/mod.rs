//! The command line: one file per command.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
//! 2 called wrongly; further ones stand with their command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

mod audit;
mod bench;
mod http_get;
mod local;
mod node;
mod status;

/// Locks, queues and caches that several machines can agree on.
#[derive(Debug, Parser)]
#[command(name = "dsync", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run one node.
    Node(Box<node::NodeCommand>),
    /// Run three nodes on this machine.
    Local(local::LocalArgs),
    /// Show the nodes of a cluster: who leads, how far each has come, what it holds.
    Status(status::StatusArgs),
    /// Show and check the record of what happened to locks.
    Audit(audit::AuditArgs),
    /// Measure a running cluster.
    Bench(bench::BenchArgs),
}

/// Runs the command that this process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Node(command) => node::run(*command),
        Command::Local(args) => local::run(args),
        Command::Status(args) => status::run(&args),
        Command::Audit(args) => audit::run(args),
        Command::Bench(args) => bench::run(args),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Not eprintln!: a full disk or a closed pipe behind it must not turn an error into a panic.
            let _ = writeln!(io::stderr(), "dsync: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends the process as a wrongly called command does: the message, the usage, code 2.
fn usage_error(message: &str) -> ! {
    Cli::command().error(clap::error::ErrorKind::ValueValidation, message).exit()
}

/// A runtime for a command.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
