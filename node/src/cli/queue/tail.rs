//! `dsync queue tail`: prints messages as they are pushed, and takes none of them.
//!
//! Nobody tells a reader of a topic what is pushed to it, so this looks again and again, at the whole
//! list, and prints what was not there before. A message that comes and goes between two looks is not
//! seen. The longer a look takes, the longer the next one is put off.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use clap::Args;
use dsync_client::queues::{ListMessages, Queue, StoredMessage};
use tokio::time::sleep;

use super::{CommonArgs, PartArgs, tables};
use crate::cli::output::{self, Output};
use crate::cli::visible;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync queue tail mails
  dsync queue tail mails --dead --all -o json | jq -c '.failures.last.reason'

It looks once a second, less often at a long topic; what is pushed and done in between is not shown.";

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// A look takes at most this part of the time.
const SHARE: u32 = 10;
const PAGE: u32 = 1_000;
/// Widths of the columns, but for the last one.
const WIDTHS: [usize; 6] = [10, 10, 7, 10, 7, 12];

/// `dsync queue tail`.
#[derive(Args, Debug)]
pub(super) struct TailArgs {
    /// The topic. It need not be there yet.
    topic: String,
    #[command(flatten)]
    part: PartArgs,
    /// Also what is there already.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Prints until whoever reads has seen enough.
pub(super) async fn run(args: &TailArgs) -> anyhow::Result<()> {
    let queue = args.common.queue(&args.topic)?;
    let mut seen: Option<BTreeSet<String>> = args.all.then(BTreeSet::new);
    if args.common.output == Output::Table {
        output::write(&row(&tables::MESSAGE.map(str::to_owned)))?;
    }
    loop {
        let began = Instant::now();
        let messages = look(&queue, args.part).await?;
        let there = messages.iter().map(|message| message.id.clone()).collect();
        // What there was at the first look is not news.
        if let Some(seen) = &seen {
            for message in messages.iter().filter(|message| !seen.contains(&message.id)) {
                output::write(&shown(args.common.output, message)?)?;
            }
        }
        seen = Some(there);
        sleep(PAUSE.max(began.elapsed() * SHARE)).await;
    }
}

async fn look(queue: &Queue, part: PartArgs) -> anyhow::Result<Vec<StoredMessage>> {
    let mut which = ListMessages {
        sub_queue: Some(part.sub_queue()),
        limit: Some(PAGE),
        ..ListMessages::default()
    };
    let mut messages = Vec::new();
    loop {
        let page = match queue.list(&which).await {
            Ok(page) => page,
            Err(error) if error.code() == Some("no_such_topic") => return Ok(Vec::new()),
            Err(error) => return Err(error.into()),
        };
        messages.extend(page.messages);
        which.next = page.next;
        if which.next.is_none() {
            return Ok(messages);
        }
    }
}

fn shown(output: Output, message: &StoredMessage) -> anyhow::Result<String> {
    Ok(match output {
        Output::Table => row(&tables::message(message)),
        Output::Json => output::json_line(message)?,
        Output::Yaml => format!("---\n{}", output::yaml(message)?),
        Output::Name => output::line(&message.id),
    })
}

fn row(cells: &[String; 7]) -> String {
    let widths = WIDTHS.into_iter().chain([0]);
    let cells = cells.iter().zip(widths).map(|(cell, width)| {
        let cell = visible::cell(cell);
        format!("{cell:<width$}")
    });
    cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_a_row_a_json_line_a_yaml_document_or_a_name() {
        let message: StoredMessage = serde_json::from_value(json!({
            "id": "812.0", "sub_queue": "dead", "state": "ready", "remaining_ms": null, "body": 17,
            "headers": {}, "deliveries": 3, "pushed_ms": 1, "age_ms": 61_000, "priority": 0,
            "group": null, "failures": null, "expires_in_ms": null, "bytes": 2, "consumer": null,
            "death": { "cause": "rejected", "deliveries": 3, "at_ms": 9 },
        }))
        .unwrap();
        let shown = |output| shown(output, &message).unwrap();
        assert_eq!(
            shown(Output::Table),
            "812.0       dead, ready  -        3           1m01s    rejected      17\n"
        );
        assert_eq!(shown(Output::Json).lines().count(), 1);
        assert!(shown(Output::Yaml).starts_with("---\n"));
        assert_eq!(shown(Output::Name), "812.0\n");
    }
}
