//! `dsync cache set`: a value from an argument, a file or standard input.

use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use dsync_client::cache::{CacheValue, CacheVersion};
use serde::de::IgnoredAny;
use serde_json::json;

use super::{CommonArgs, not_done};
use crate::cli::output;
use crate::config::parse_duration;

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync cache set greeting hello --ttl 10m
  dsync cache set cat --file cat.png --content-type image/png
  curl -s https://example.org/rates | dsync cache set rates --json
  dsync cache set greeting hi --if-match 812.7     only if nobody has written since";

/// `dsync cache set`.
#[derive(Args, Debug)]
pub(super) struct SetArgs {
    /// The key.
    key: String,
    /// The value. Without, and without --file: what stands on standard input.
    #[arg(conflicts_with = "file")]
    value: Option<String>,
    /// A file whose content is the value. "-": standard input.
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,
    /// The value is JSON, and kept as it is written.
    #[arg(long, conflicts_with = "content_type")]
    json: bool,
    /// Its media type. Default: plain text if it is UTF-8, else bytes.
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// It goes by itself after this.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Only if this version is there.
    #[arg(long, value_name = "VERSION", conflicts_with_all = ["if_absent", "if_present"])]
    if_match: Option<String>,
    /// Only if nothing is there.
    #[arg(long, conflicts_with = "if_present")]
    if_absent: bool,
    /// Only if something is there.
    #[arg(long)]
    if_present: bool,
    #[command(flatten)]
    common: CommonArgs,
}

/// Sets.
pub(super) async fn run(args: SetArgs) -> anyhow::Result<ExitCode> {
    let mut put = args.common.cache()?.put(&args.key, value(&args)?);
    if let Some(ttl) = args.ttl {
        put = put.ttl(ttl);
    }
    if let Some(version) = &args.if_match {
        put = put.if_version(&CacheVersion(version.clone()));
    }
    if args.if_absent {
        put = put.if_absent();
    }
    if args.if_present {
        put = put.if_present();
    }
    match put.send().await {
        Ok(version) => done(&args.common, &args.key, &version),
        Err(error) => not_done(error),
    }
}

/// Prints what a write has done.
pub(super) fn done(
    common: &CommonArgs,
    key: &str,
    version: &CacheVersion,
) -> anyhow::Result<ExitCode> {
    let document = json!({ "key": key, "version": version });
    let row = || output::table(["KEY", "VERSION"], vec![[key.to_owned(), version.to_string()]]);
    output::print(common.output, &document, row, || vec![version.to_string()])?;
    Ok(ExitCode::SUCCESS)
}

fn value(args: &SetArgs) -> anyhow::Result<CacheValue> {
    let body = body(args)?;
    if args.json {
        serde_json::from_slice::<IgnoredAny>(&body).context("the value is no JSON")?;
        return Ok(CacheValue::new(body, "application/json"));
    }
    if let Some(content_type) = &args.content_type {
        return Ok(CacheValue::new(body, content_type));
    }
    Ok(match String::from_utf8(body) {
        Ok(text) => CacheValue::text(text),
        Err(bytes) => CacheValue::bytes(bytes.into_bytes()),
    })
}

fn body(args: &SetArgs) -> anyhow::Result<Vec<u8>> {
    if let Some(value) = &args.value {
        return Ok(value.clone().into_bytes());
    }
    match &args.file {
        Some(path) if path.as_os_str() != "-" => {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        }
        _ => {
            let mut content = Vec::new();
            let read = std::io::stdin().lock().read_to_end(&mut content);
            read.context("cannot read standard input")?;
            Ok(content)
        }
    }
}
