//! `dsync queue redrive`, `purge`, `delete`.

use std::process::ExitCode;

use clap::Args;

use super::{CommonArgs, PartArgs, some_failed};
use crate::cli::output;
use crate::cli::visible;

/// `dsync queue redrive`.
#[derive(Args, Debug)]
pub(super) struct RedriveArgs {
    /// The topic.
    topic: String,
    /// The messages; without: all that are dead and nobody works on.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue purge`.
#[derive(Args, Debug)]
pub(super) struct PurgeArgs {
    /// The topic.
    topic: String,
    /// Yes, although they are gone then.
    #[arg(long, required = true)]
    force: bool,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue delete`.
#[derive(Args, Debug)]
pub(super) struct DeleteArgs {
    /// The topic.
    topic: String,
    /// The message. Without: the topic itself, if it is empty.
    id: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Moves dead messages back.
pub(super) async fn redrive(args: &RedriveArgs) -> anyhow::Result<ExitCode> {
    let queue = args.common.queue(&args.topic)?;
    let redriven = match args.ids.is_empty() {
        true => queue.redrive().await?,
        false => queue.redrive_messages(&args.ids).await?,
    };
    let of_each = redriven.results.clone().unwrap_or_default();
    let names = || of_each.iter().filter(|it| it.moved).filter_map(|it| it.id.clone()).collect();
    let table = || format!("{} moved back\n", messages(redriven.messages));
    output::print(args.common.output, &redriven, table, names)?;
    let failed = args.ids.iter().zip(&of_each);
    let mut failed: Vec<_> =
        failed.filter_map(|(id, it)| Some(format!("{id}: {}", it.error.as_ref()?))).collect();
    if redriven.full {
        failed.push("the topic has no room for the rest".to_owned());
    }
    Ok(some_failed(&failed))
}

/// Takes all messages out.
pub(super) async fn purge(args: &PurgeArgs) -> anyhow::Result<()> {
    let purged = args.common.queue(&args.topic)?.purge(args.part.sub_queue()).await?;
    let table = || format!("{} taken out\n", messages(purged.messages));
    output::print(args.common.output, &purged, table, || vec![args.topic.clone()])
}

/// Takes one message out, or a topic.
pub(super) async fn delete(args: &DeleteArgs) -> anyhow::Result<()> {
    let queue = args.common.queue(&args.topic)?;
    let said = |what: &str| format!("{} is gone\n", visible::cell(what));
    match &args.id {
        Some(id) => {
            let removed = queue.remove(id).await?;
            output::print(args.common.output, &removed, || said(id), || vec![id.clone()])
        }
        None => {
            let deleted = queue.delete().await?;
            let (table, names) = (|| said(&args.topic), || vec![args.topic.clone()]);
            output::print(args.common.output, &deleted, table, names)
        }
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".to_owned() } else { format!("{count} messages") }
}
