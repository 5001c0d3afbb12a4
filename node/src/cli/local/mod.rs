//! `dsync local`: three nodes on this machine.

use std::process::ExitCode;

use clap::Args;

/// `dsync local`.
#[derive(Args, Debug)]
pub struct LocalArgs {}

/// Runs until SIGTERM or SIGINT.
pub fn run(_args: LocalArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
