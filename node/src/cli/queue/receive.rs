//! `dsync queue receive`: messages, with the receipts that settle them.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dsync_client::queues::Settle;

use super::{CommonArgs, PartArgs, some_failed, tables};
use crate::cli::output;
use crate::config::parse_duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync queue receive mails --wait 20s
  dsync queue receive mails --max 10 -o json | jq -r '.messages[] | .receipt, .body'
  dsync queue receive mails -o name | xargs dsync queue ack mails
  dsync queue receive mails --ack -o json

-o name prints the receipts. To work on messages, `dsync queue work` is what is wanted: it extends them
while the work takes long.";

/// `dsync queue receive`.
#[derive(Args, Debug)]
pub(super) struct ReceiveArgs {
    /// The topic.
    topic: String,
    /// Most messages.
    #[arg(long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=1000))]
    max: u32,
    /// How long to wait for the first one, at most 60s.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = parse_duration)]
    wait: Duration,
    /// How long each is yours alone. Without: the topic's.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    visibility: Option<Duration>,
    #[command(flatten)]
    part: PartArgs,
    /// Acknowledge what was printed: it is gone, whatever becomes of what reads it.
    #[arg(long)]
    ack: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Receives.
pub(super) async fn run(args: &ReceiveArgs) -> anyhow::Result<ExitCode> {
    let queue = args.common.queue(&args.topic)?;
    let sub_queue = args.part.sub_queue();
    let mut receive = queue.receive().max(args.max).wait(args.wait).sub_queue(sub_queue);
    if let Some(visibility) = args.visibility {
        receive = receive.visibility(visibility);
    }
    let messages = receive.messages().await?;
    let names = || messages.iter().map(|message| message.receipt.clone()).collect();
    let document = tables::Messages { messages: &messages };
    output::print(args.common.output, &document, || tables::deliveries(&messages), names)?;
    if !args.ack || messages.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let acks = messages.iter().map(|message| Settle::ack(&message.receipt));
    let settled = queue.settle(acks).await?;
    let failed = messages.iter().zip(settled).filter_map(|(message, settled)| {
        Some(format!("message {} is not acknowledged: {}", message.id, settled.err()?))
    });
    Ok(some_failed(&failed.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_printed_are_the_messages() {
        let none = serde_json::to_value(tables::Messages::<u8> { messages: &[] }).unwrap();
        assert_eq!(none, json!({ "messages": [] }));
    }
}
