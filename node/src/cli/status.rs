//! `dsync status`: the cluster as a table.

use std::process::ExitCode;

use clap::Args;

/// `dsync status`.
#[derive(Args, Debug)]
pub struct StatusArgs {}

/// Asks every server once.
pub fn run(_args: &StatusArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not yet")
}
