//! `dsync cache get`: a value, as it was put.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, ValueEnum};
use dsync_client::cache::{CacheConsistency, Cached};
use serde_json::{Value, json};

use super::{CommonArgs, NOT_THERE};
use crate::cli::lock::exit::say;
use crate::cli::output::{self, Output};

pub(super) const EXAMPLES: &str = "\
Examples:
  dsync cache get greeting
  dsync cache get cat > cat.png
  dsync cache get greeting -o json | jq -r .version";

/// `dsync cache get`.
#[derive(Args, Debug)]
pub(super) struct GetArgs {
    /// The key.
    key: String,
    /// How new the value has to be.
    #[arg(long, value_name = "WORD", default_value = "linearizable")]
    consistency: Consistency,
    /// `table`: the value alone, byte by byte. `json` and `yaml`: with its version and what else is known.
    /// `name`: the version.
    #[command(flatten)]
    common: CommonArgs,
}

/// How new a value has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Consistency {
    /// The newest one, also if it is served from a copy.
    Linearizable,
    /// What the key's home says, whatever the asked node keeps.
    Verify,
    /// What the asked node keeps, however old.
    Stale,
}

/// Gets.
pub(super) async fn run(args: &GetArgs) -> anyhow::Result<ExitCode> {
    let cached = args.common.cache()?.get_with(&args.key, args.consistency.wanted()).await?;
    let Some(cached) = cached else {
        say(&format!("nothing is cached under {}", args.key));
        return Ok(ExitCode::from(NOT_THERE));
    };
    match args.common.output {
        Output::Table => write(&cached.body)?,
        output => {
            let names = || vec![cached.version.to_string()];
            output::print(output, &document(&args.key, &cached), String::new, names)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// As it is; on a terminal nothing in it may speak to the terminal.
fn write(body: &[u8]) -> io::Result<()> {
    if io::stdout().is_terminal() {
        return output::write(&format!("{}\n", String::from_utf8_lossy(body)));
    }
    let mut out = io::stdout().lock();
    out.write_all(body)?;
    out.flush()
}

fn document(key: &str, cached: &Cached) -> Value {
    let mut document = json!({
        "key": key,
        "version": cached.version,
        "content_type": cached.content_type,
        "hit": cached.hit,
        "ttl_ms": cached.ttl.map(|ttl| ttl.as_millis()),
        "staleness_ms": cached.staleness.as_millis(),
    });
    match std::str::from_utf8(&cached.body) {
        Ok(text) => document["text"] = json!(text),
        Err(_) => document["base64"] = json!(STANDARD.encode(&cached.body)),
    }
    document
}

impl Consistency {
    fn wanted(self) -> CacheConsistency {
        match self {
            Self::Linearizable => CacheConsistency::Linearizable,
            Self::Verify => CacheConsistency::Verify,
            Self::Stale => CacheConsistency::Stale,
        }
    }
}
