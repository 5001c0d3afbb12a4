//! `dsync audit`: what happened to locks, and whether the record of it is whole.
//!
//! `verify` trusts nothing that it checks. Of a folder it reads every byte; of a server it computes
//! every hash again from the records that people see. What it has to trust is a head from elsewhere:
//! a linearizable read, another server, the node's own snapshot, or one that was noted before
//! (`--head`).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use dsync_core::audit::AuditHead;
use dsync_core::contract::LOCAL_CLIENT_PORTS;

use crate::audit::verify::Witness;
use crate::audit::{line, wall};
use crate::cli::output;
use crate::config::parse_duration;

mod offline;
mod print;
mod remote;

/// `dsync audit`.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show records: all, or those of a lock, an owner, a time.
    List(ListArgs),
    /// Check that no record was removed, altered, moved or added. Exit code 1 if one was.
    Verify(VerifyArgs),
    /// Show the chain's head on each server: note it, and `verify --head` later proves the past.
    Head(HeadArgs),
}

/// Which servers.
#[derive(Args, Debug)]
struct Servers {
    /// Address of a node, like http://127.0.0.1:5001; may be given several times, or as a list.
    /// Default: the three nodes of `dsync local`.
    #[arg(long = "server", env = "DSYNC_SERVERS", value_name = "URL", value_delimiter = ',')]
    servers: Vec<String>,

    /// How long to wait for an answer.
    #[arg(long, env = "DSYNC_TIMEOUT", value_name = "DURATION", default_value = "10s",
          value_parser = parse_duration)]
    timeout: Duration,
}

/// `dsync audit list`.
#[derive(Args, Debug)]
struct ListArgs {
    #[command(flatten)]
    servers: Servers,

    /// Only records about this lock.
    #[arg(long, value_name = "NAME")]
    lock: Option<String>,

    /// Only records of owners with this name.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,

    /// Only records written at this time or later: RFC 3339, or a duration ago, like 2h.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<u64>,

    /// Only records written before this time.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<u64>,

    /// Only records behind this number.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    after: u64,

    /// At most so many records.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_limit)]
    limit: usize,

    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// `dsync audit verify`.
#[derive(Args, Debug)]
#[command(group = ArgGroup::new("where").args(["data", "servers"]),
          after_help = "Exit code: 0 whole, 1 something is wrong or missing, 3 not everything could be \
                        checked, and what could is whole.")]
struct VerifyArgs {
    /// Check the files in this node's data folder (--data of `dsync node`), without a server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,

    #[command(flatten)]
    servers: Servers,

    /// A head noted earlier, as `dsync audit head` prints it; may be given several times.
    #[arg(long = "head", value_name = "NUMBER:HASH", value_parser = parse_head)]
    heads: Vec<AuditHead>,

    /// Missing records alone are no failure: a node that joined late and found no peer with the older
    /// ones has such a gap.
    #[arg(long)]
    allow_missing: bool,

    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// `dsync audit head`.
#[derive(Args, Debug)]
struct HeadArgs {
    #[command(flatten)]
    servers: Servers,

    /// How to print.
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    output: Output,
}

/// Of `verify`: part of the trail, or all of it, could not be looked at.
const UNCHECKED: u8 = 3;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// One document.
    Json,
    /// One document, with the same fields.
    Yaml,
}

/// Runs the command.
pub fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    let (text, code) = match args.command {
        AuditCommand::List(args) => {
            let answer = super::runtime(None)?.block_on(remote::list(&args))?;
            (print::list(&answer, args.output)?, ExitCode::SUCCESS)
        }
        AuditCommand::Head(args) => {
            let heads = super::runtime(None)?.block_on(remote::heads(&args.servers));
            let good = remote::agree(&heads);
            let code = if good { ExitCode::SUCCESS } else { ExitCode::FAILURE };
            (print::heads(&heads, args.output)?, code)
        }
        AuditCommand::Verify(args) => verify(&args)?,
    };
    output::write(&text)?;
    Ok(code)
}

fn verify(args: &VerifyArgs) -> anyhow::Result<(String, ExitCode)> {
    let noted = args.heads.iter().map(|head| Witness { said_by: "--head".to_owned(), head: *head });
    let noted: Vec<Witness> = noted.collect();
    let checks = match &args.data {
        Some(data) => vec![offline::verify(data, noted)?],
        None => super::runtime(None)?.block_on(remote::verify(&args.servers, noted)),
    };
    let good = |check: &print::Check| check.is_good(args.allow_missing);
    let (checked, unchecked): (Vec<_>, Vec<_>) =
        checks.iter().partition(|check| check.result.is_ok());
    let code = match (checked.iter().all(|check| good(check)), unchecked.is_empty()) {
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(UNCHECKED),
        (false, _) => ExitCode::FAILURE,
    };
    let whole = checks.iter().all(good);
    Ok((print::checks(&checks, args.output, whole, args.allow_missing)?, code))
}

impl Servers {
    fn urls(&self) -> Vec<String> {
        match self.servers.is_empty() {
            true => LOCAL_CLIENT_PORTS.map(|port| format!("http://127.0.0.1:{port}")).to_vec(),
            false => self.servers.clone(),
        }
    }
}

fn parse_head(text: &str) -> Result<AuditHead, String> {
    let read = || {
        let (count, hash) = text.split_once(':')?;
        Some(AuditHead { count: count.parse().ok()?, hash: line::unhex(hash)? })
    };
    read().ok_or_else(|| format!("{text:?} is not a number, a colon and 64 hex digits"))
}

fn parse_limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(limit) if limit > 0 => Ok(limit),
        _ => Err("a number of records, at least 1".to_owned()),
    }
}

fn parse_time(text: &str) -> Result<u64, String> {
    if let Ok(ago) = parse_duration(text) {
        let ago_ms = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
        return Ok(wall::now_ms().saturating_sub(ago_ms));
    }
    wall::parse(text).ok_or_else(|| {
        format!("{text:?} is neither a time like 2025-01-31T09:30:00Z nor a duration")
    })
}
