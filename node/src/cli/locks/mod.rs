//! `dsync locks`: looks at locks, watches them, releases one by force.
//!
//! Exit codes: 0 done, 1 failed (the message says why), 2 called wrongly.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use dsync_client::{Client, Force, Lock};
use serde::Deserialize;
use serde_json::{Value, json};

use self::watch::Printer;
use super::output::{self, Output};
use super::servers::ServerArgs;

mod tables;
mod watch;

/// `dsync locks`.
#[derive(Args, Debug)]
pub(super) struct LocksArgs {
    #[command(subcommand)]
    command: LocksCommand,
}

#[derive(Debug, Subcommand)]
enum LocksCommand {
    /// List the locks in use.
    #[command(
        visible_alias = "ls",
        after_help = "\
Examples:
  dsync locks list
  dsync locks list --prefix orders/ -o name"
    )]
    List(ListArgs),
    /// Show who holds a lock and who waits for it, the next one first.
    #[command(after_help = "\
Examples:
  dsync locks get deploy
  dsync locks get deploy -o json | jq '.holders[].owner'")]
    Get(GetArgs),
    /// Print what happens to locks, as it happens, one line for each event.
    #[command(after_help = "\
Examples:
  dsync locks watch
  dsync locks watch orders/ --from 812
  dsync locks watch -o json | jq 'select(.what == \"deadlock\")'")]
    Watch(WatchArgs),
    /// Take a lock from its holders.
    #[command(after_help = "\
Examples:
  dsync locks release deploy --force --reason 'ci-7 is gone, ticket 4711'
  dsync locks release deploy --force --reason 'stuck' --hold 812-0 --now

A holder learns of it at its next renewal, and has its lease to stop. With --now the lock is free at
once, while its holder still works; only what checks fencing tokens is protected then.")]
    Release(ReleaseArgs),
    /// Show who waits for whom.
    Graph(GraphArgs),
}

#[derive(Args, Debug)]
struct ListArgs {
    /// Only names that begin so.
    #[arg(long, default_value = "")]
    prefix: String,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct GetArgs {
    /// The lock.
    name: String,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct WatchArgs {
    /// Only locks whose names begin so.
    #[arg(default_value = "")]
    prefix: String,
    /// From the event with this number on, instead of from now on.
    #[arg(long, value_name = "NUMBER")]
    from: Option<u64>,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct ReleaseArgs {
    /// The lock.
    name: String,
    /// Yes, although somebody else holds it.
    #[arg(long, required = true)]
    force: bool,
    /// Why: the holder and the audit trail are told.
    #[arg(long)]
    reason: String,
    /// Only this hold; without it every hold of the lock.
    #[arg(long)]
    hold: Option<String>,
    /// End it at once.
    #[arg(long)]
    now: bool,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct GraphArgs {
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Args, Debug)]
struct CommonArgs {
    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
    #[command(flatten)]
    servers: ServerArgs,
}

/// Runs it.
pub(super) fn run(args: LocksArgs) -> anyhow::Result<ExitCode> {
    super::runtime(None)?.block_on(async {
        match args.command {
            LocksCommand::List(args) => list(&args).await,
            LocksCommand::Get(args) => get(&args).await,
            LocksCommand::Watch(args) => watch(&args).await,
            LocksCommand::Release(args) => release(args).await,
            LocksCommand::Graph(args) => graph(&args).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(args: &ListArgs) -> anyhow::Result<()> {
    let locks = args.common.servers.client()?.list_all(&args.prefix).await?;
    let names = || locks.iter().map(|lock| lock.name.clone()).collect();
    output::print(args.common.output, &json!({ "locks": locks }), || tables::list(&locks), names)
}

async fn get(args: &GetArgs) -> anyhow::Result<()> {
    let client = args.common.servers.client()?;
    let document = client.document(&["v1", "locks", &args.name]).await?;
    let lock = Lock::deserialize(&document)?;
    let names = || vec![lock.name.clone()];
    output::print(args.common.output, &document, || tables::lock(&lock), names)
}

async fn watch(args: &WatchArgs) -> anyhow::Result<()> {
    let mut events = args.common.servers.client()?.events(args.prefix.clone(), args.from);
    let mut printer = Printer::new(args.common.output);
    let mut text = printer.heading();
    while watch::show(&text)? {
        text = printer.event(&events.next().await?)?;
    }
    Ok(())
}

async fn release(args: ReleaseArgs) -> anyhow::Result<()> {
    let client: Client = args.common.servers.client()?;
    let force = Force { reason: args.reason, hold: args.hold, now: args.now };
    let document = client.force(&args.name, &force).await?;
    let holds = || {
        let holds = document["holds"].as_array().into_iter().flatten();
        holds.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let said = if force.now { "ended" } else { "revoked" };
    let table = || holds().iter().map(|hold| format!("hold {hold} {said}\n")).collect();
    output::print(args.common.output, &document, table, holds)
}

async fn graph(args: &GraphArgs) -> anyhow::Result<()> {
    let document = args.common.servers.client()?.document(&["v1", "graph", "locks"]).await?;
    let edges = tables::edges(&document)?;
    let names = || tables::waiters(&edges);
    output::print(args.common.output, &document, || tables::graph(&edges), names)
}
