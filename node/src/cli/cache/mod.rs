//! `dsync cache`: gets, sets and deletes cached values.
//!
//! Exit codes: 0 done; 1 failed (the message says why); 2 called wrongly; 3 nothing is cached under the key,
//! or what is cached is not what the condition wants: nothing changed.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dsync_client::cache::{Cache, CacheError};

use super::lock::exit::say;
use super::output::Output;
use super::servers::ServerArgs;

mod delete;
mod get;
mod set;
mod stats;

/// Nothing is cached under the key, or another value than is wanted.
const NOT_THERE: u8 = 3;

/// `dsync cache`.
#[derive(Args, Debug)]
pub(super) struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// Print the value of a key. Exit code 3: there is none.
    #[command(after_help = get::EXAMPLES)]
    Get(get::GetArgs),
    /// Put a value under a key. Exit code 3: the condition does not hold.
    #[command(after_help = set::EXAMPLES)]
    Set(Box<set::SetArgs>),
    /// Delete the value of a key, if there is one. Exit code 3: the condition does not hold.
    Delete(delete::DeleteArgs),
    /// Show what each node has cached.
    Stats(stats::StatsArgs),
}

/// What all of them know.
#[derive(Args, Debug)]
struct CommonArgs {
    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    #[command(flatten)]
    servers: ServerArgs,
}

impl CommonArgs {
    fn cache(&self) -> Result<Cache, dsync_client::Error> {
        Ok(self.servers.client()?.cache())
    }
}

/// Runs it.
pub(super) fn run(args: CacheArgs) -> anyhow::Result<ExitCode> {
    super::runtime(None)?.block_on(async {
        match args.command {
            CacheCommand::Get(args) => get::run(&args).await,
            CacheCommand::Set(args) => set::run(*args).await,
            CacheCommand::Delete(args) => delete::run(&args).await,
            CacheCommand::Stats(args) => stats::run(&args).await,
        }
    })
}

/// What a write that was not done ends with.
fn not_done(error: CacheError) -> anyhow::Result<ExitCode> {
    match error {
        CacheError::ConditionFailed { .. } => {
            say(&error.to_string());
            Ok(ExitCode::from(NOT_THERE))
        }
        CacheError::Call(error) => Err(error.into()),
    }
}
