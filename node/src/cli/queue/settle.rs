//! `dsync queue ack`, `nack`, `extend`, `reject`: what becomes of deliveries.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dsync_client::queues::Settle;
use serde_json::{Value, json};

use super::{CommonArgs, some_failed, tables};
use crate::cli::output;
use crate::config::parse_duration;

/// Deliveries of one request.
const ITEMS_MAX: usize = 1_000;

/// Which deliveries.
#[derive(Args, Debug)]
struct DeliveriesArgs {
    /// The topic.
    topic: String,
    /// The receipts of the deliveries.
    #[arg(value_name = "RECEIPT", required = true)]
    receipts: Vec<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue ack`.
#[derive(Args, Debug)]
pub(super) struct AckArgs {
    #[command(flatten)]
    deliveries: DeliveriesArgs,
}

/// `dsync queue nack`.
#[derive(Args, Debug)]
pub(super) struct NackArgs {
    /// Not delivered again before. Without: after the topic's back-off.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    delay: Option<Duration>,
    /// Why; kept with the message.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    deliveries: DeliveriesArgs,
}

/// `dsync queue extend`.
#[derive(Args, Debug)]
pub(super) struct ExtendArgs {
    /// For how long from now.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    visibility: Duration,
    #[command(flatten)]
    deliveries: DeliveriesArgs,
}

/// `dsync queue reject`.
#[derive(Args, Debug)]
pub(super) struct RejectArgs {
    /// Why; kept with the message.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    deliveries: DeliveriesArgs,
}

impl AckArgs {
    /// Acknowledges.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        self.deliveries.settle(Settle::ack).await
    }
}

impl NackArgs {
    /// Gives back.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let item = |receipt| {
            let item = with_reason(Settle::nack(receipt), self.reason.as_ref());
            match self.delay {
                Some(delay) => item.delay(delay),
                None => item,
            }
        };
        self.deliveries.settle(item).await
    }
}

impl ExtendArgs {
    /// Extends.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        self.deliveries.settle(|receipt| Settle::extend(receipt, self.visibility)).await
    }
}

impl RejectArgs {
    /// Rejects.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let item = |receipt| with_reason(Settle::reject(receipt), self.reason.as_ref());
        self.deliveries.settle(item).await
    }
}

fn with_reason(item: Settle, reason: Option<&String>) -> Settle {
    match reason {
        Some(reason) => item.reason(reason),
        None => item,
    }
}

impl DeliveriesArgs {
    async fn settle(&self, item: impl Fn(String) -> Settle) -> anyhow::Result<ExitCode> {
        let queue = self.common.queue(&self.topic)?;
        let mut results = Vec::new();
        for receipts in self.receipts.chunks(ITEMS_MAX) {
            results.extend(queue.settle(receipts.iter().cloned().map(&item)).await?);
        }
        let settled: Vec<_> = results.iter().filter_map(|it| it.as_ref().ok()).collect();
        let of_each = self.receipts.iter().zip(&results).map(|(receipt, result)| match result {
            Ok(settled) => json!(settled),
            Err(error) => json!({ "receipt": receipt, "error": error }),
        });
        let document = json!({ "results": of_each.collect::<Vec<Value>>() });
        let names = || settled.iter().map(|settled| settled.receipt.clone()).collect();
        output::print(self.common.output, &document, || tables::settled(&settled), names)?;
        let failed = self.receipts.iter().zip(&results);
        let failed =
            failed.filter_map(|(receipt, it)| Some(format!("{receipt}: {}", it.as_ref().err()?)));
        Ok(some_failed(&failed.collect::<Vec<_>>()))
    }
}
