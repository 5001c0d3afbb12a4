//! The `dsync-operator` command.

use std::io::{self, Write};

use clap::{Parser, Subcommand};
use dsync_operator::generate;
use dsync_operator::program::{self, RunArgs};

/// The Kubernetes operator of dsync: keeps what each DSyncCluster asks for.
#[derive(Debug, Parser)]
#[command(name = "dsync-operator", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look after clusters until SIGTERM. Several may run: one acts, the others stand by.
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinition of DSyncCluster as YAML.
    Crd,
    /// Print everything that an installation needs as YAML, for `kubectl apply -f -`.
    Install,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Run(arguments) => {
            let tasks = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            tasks.block_on(program::run(*arguments))
        }
        Command::Crd => print(&generate::definition()?),
        Command::Install => print(&generate::install()?),
    }
}

fn print(yaml: &str) -> anyhow::Result<()> {
    Ok(io::stdout().write_all(yaml.as_bytes())?)
}
