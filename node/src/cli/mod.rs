//! The command line: one file per command.
//!
//! Data goes to standard output, everything else to standard error. Exit codes: 0 done, 1 failed,
//! 2 called wrongly; further ones stand with their command.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use rustix::fs::Mode;

mod audit;
mod bench;
mod cache;
mod completion;
mod crash;
mod http_get;
mod local;
mod lock;
mod locks;
mod node;
mod output;
mod queue;
mod servers;
mod status;
mod visible;

/// Locks, queues and caches that several machines can agree on.
#[derive(Debug, Parser)]
#[command(name = "dsync", version = crate::VERSION, propagate_version = true, max_term_width = 100)]
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
    /// Run a command while holding locks.
    Lock(Box<lock::LockArgs>),
    /// Look at locks, watch them, release one by force.
    Locks(locks::LocksArgs),
    /// Push messages, work on them, look at topics.
    Queue(Box<queue::QueueArgs>),
    /// Get, set and delete cached values.
    Cache(cache::CacheArgs),
    /// Show the nodes of a cluster: who leads, how far each has come, what it holds.
    Status(status::StatusArgs),
    /// Measure a running cluster.
    Bench(bench::BenchArgs),
    /// Show and check the record of what happened to locks.
    Audit(audit::AuditArgs),
    /// Print a script that completes commands and options in a shell.
    Completion(completion::CompletionArgs),
    /// Panic.
    #[command(hide = true)]
    Crash,
    /// The part of `dsync lock` that holds the locks.
    #[command(hide = true)]
    LockKeeper,
    /// The part of `dsync lock` and `dsync queue work` that becomes the command.
    #[command(hide = true)]
    LockLaunch(lock::launch::LaunchArgs),
}

/// Runs the command that this process was called with.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::try_parse().unwrap_or_else(|error| called_wrongly(&error));
    if matches!(cli.command, Command::Node(_) | Command::Local(_)) {
        make_files_private();
    }
    let result = match cli.command {
        Command::Node(command) => node::run(*command),
        Command::Local(args) => local::run(args),
        Command::Lock(args) => Ok(lock::run(*args)),
        Command::Locks(args) => locks::run(args),
        Command::Queue(args) => queue::run(*args),
        Command::Cache(args) => cache::run(args),
        Command::Completion(args) => completion::run(&args),
        Command::Crash => crash::run(),
        Command::LockKeeper => lock::keeper::run(),
        Command::LockLaunch(args) => Ok(lock::launch::run(&args)),
        Command::Status(args) => status::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Audit(args) => audit::run(args),
    };
    match result {
        Ok(code) => code,
        // Whoever reads what is printed has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Not eprintln!: a full disk or a closed pipe behind it must not turn an error into a panic.
            let _ = writeln!(io::stderr(), "dsync: {}", visible::lines(&told(&error)));
            ExitCode::FAILURE
        }
    }
}

/// Whatever this process makes from now on is its user's alone: folders 0700, files 0600. What was there
/// before keeps its mode, as the root of a Kubernetes volume does, which its group has to reach.
fn make_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Ends the process when it was called wrongly, or for help. The codes of `dsync lock` have to be told
/// from those of the command that it runs, and many use 2.
fn called_wrongly(error: &clap::Error) -> ! {
    if error.use_stderr() && std::env::args_os().nth(1).is_some_and(|command| command == "lock") {
        let _ = error.print();
        std::process::exit(lock::exit::USAGE.into());
    }
    error.exit()
}

/// Ends the process as a wrongly called command does: the message, that command's usage, code 2.
fn usage_error(command: &str, message: &str) -> ! {
    usage(command, message).exit()
}

/// What is wrong with how a command was called, above its usage.
fn usage(command: &str, message: &str) -> clap::Error {
    let mut all = Cli::command();
    all.build();
    let mut called = all.find_subcommand(command).cloned().unwrap_or(all);
    called.error(clap::error::ErrorKind::ValueValidation, message)
}

/// An error and what caused it, in one line. A cause that the text before it ends with is not said
/// again: some errors tell their cause themselves, for those who see only them.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// A runtime for a command; `None`: a thread for each processor.
fn runtime(threads: Option<u16>) -> anyhow::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.into());
    }
    Ok(builder.enable_all().build()?)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let broken = std::io::Error::other("disk on fire");
        let told_twice = anyhow::Error::new(broken).context("cannot read /x: disk on fire");
        let error = Err::<(), _>(told_twice).context("--secret-file").unwrap_err();
        assert_eq!(super::told(&error), "--secret-file: cannot read /x: disk on fire");
        assert_eq!(super::told(&anyhow::anyhow!("b").context("a")), "a: b");
    }
}
