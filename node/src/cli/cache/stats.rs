//! `dsync cache stats`: each node's caches.

use std::process::ExitCode;

use clap::Args;
use dsync_client::Client;
use dsync_client::cache::CacheStats;
use serde_json::json;

use super::CommonArgs;
use crate::cli::lock::exit::say;
use crate::cli::output;

/// `dsync cache stats`.
#[derive(Args, Debug)]
pub(super) struct StatsArgs {
    #[command(flatten)]
    common: CommonArgs,
}

/// Asks every node for itself; one that does not answer is said, and fails the command.
pub(super) async fn run(args: &StatsArgs) -> anyhow::Result<ExitCode> {
    let (mut nodes, mut silent) = (Vec::new(), false);
    for address in args.common.servers.addresses() {
        match Client::new([&address])?.cache().stats().await {
            Ok(stats) => nodes.push(stats),
            Err(error) => {
                say(&error.to_string());
                silent = true;
            }
        }
    }
    let names = || nodes.iter().map(|node| node.node.clone()).collect();
    output::print(args.common.output, &json!({ "nodes": nodes }), || table(&nodes), names)?;
    Ok(if silent { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn table(nodes: &[CacheStats]) -> String {
    let headings =
        ["NODE", "ENTRIES", "BYTES", "HITS", "MISSES", "EVICTIONS", "HOME", "HOMES", "EPOCH"];
    let row = |node: &CacheStats| {
        [
            node.node.clone(),
            node.entries.to_string(),
            node.bytes.to_string(),
            node.hits.to_string(),
            node.misses.to_string(),
            node.evictions.to_string(),
            if node.home { "yes" } else { "no" }.to_owned(),
            node.homes.to_string(),
            node.epoch.to_string(),
        ]
    };
    output::table(headings, nodes.iter().map(row).collect())
}
