//! `dsync cache delete`.

use std::process::ExitCode;

use clap::Args;
use dsync_client::cache::CacheVersion;

use super::{CommonArgs, not_done, set};

/// `dsync cache delete`.
#[derive(Args, Debug)]
pub(super) struct DeleteArgs {
    /// The key.
    key: String,
    /// Only if this version is there.
    #[arg(long, value_name = "VERSION")]
    if_match: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Deletes.
pub(super) async fn run(args: &DeleteArgs) -> anyhow::Result<ExitCode> {
    let mut delete = args.common.cache()?.delete(&args.key);
    if let Some(version) = &args.if_match {
        delete = delete.if_version(&CacheVersion(version.clone()));
    }
    match delete.send().await {
        Ok(version) => set::done(&args.common, &args.key, &version),
        Err(error) => not_done(error),
    }
}
