//! `dsync queue store` and `adopt`.

use clap::{Args, ValueEnum};
use dsync_client::queues::{QueueStore, Store};

use super::CommonArgs;
use crate::cli::output;

/// `dsync queue store`.
#[derive(Args, Debug)]
pub(super) struct StoreArgs {
    /// Make new topics there from now on. Those that are there stay where they are.
    #[arg(long, value_name = "STORE")]
    default: Option<StoreWord>,
    #[command(flatten)]
    common: CommonArgs,
}

/// `dsync queue adopt`.
#[derive(Args, Debug)]
pub(super) struct AdoptArgs {
    /// The id of the Redis that is replaced, as `dsync queue store` shows it: what it held and the new one does
    /// not is lost.
    redis_id: String,
    #[command(flatten)]
    common: CommonArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StoreWord {
    /// In the nodes' Raft log.
    Raft,
    /// In Redis.
    Redis,
}

/// Shows where topics are, or says where new ones are made.
pub(super) async fn store(args: &StoreArgs) -> anyhow::Result<()> {
    let client = args.common.servers.client()?;
    let store = match args.default {
        None => client.queue_store().await?,
        Some(StoreWord::Raft) => client.set_default_store(Store::Raft).await?,
        Some(StoreWord::Redis) => client.set_default_store(Store::Redis).await?,
    };
    print(&args.common, &store)
}

/// Takes another Redis for the queues.
pub(super) async fn adopt(args: &AdoptArgs) -> anyhow::Result<()> {
    let store = args.common.servers.client()?.adopt_redis(&args.redis_id).await?;
    print(&args.common, &store)
}

fn print(common: &CommonArgs, store: &QueueStore) -> anyhow::Result<()> {
    let table = || {
        let default = match store.default_store {
            Some(Store::Raft) => "raft",
            Some(Store::Redis) => "redis",
            None => "redis if the nodes have one, else raft",
        };
        let redis = store.redis_id.as_deref().unwrap_or("none yet");
        format!("new topics  {default}\nredis id    {redis}\n")
    };
    output::print(common.output, store, table, || store.redis_id.iter().cloned().collect())
}
