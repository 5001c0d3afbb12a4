//! The `dsync-operator` command. So far it only prints the resource definition.

use std::io::{self, Write};

use clap::{Parser, Subcommand};

/// The Kubernetes side of dsync.
///
/// This version does not reconcile anything yet: it defines the DSyncCluster resource and prints its
/// definition.
#[derive(Debug, Parser)]
#[command(name = "dsync-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the CustomResourceDefinition of DSyncCluster as YAML.
    Crd,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Crd => io::stdout().write_all(dsync_operator::crd_yaml()?.as_bytes())?,
    }
    Ok(())
}
