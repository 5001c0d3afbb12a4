//! `dsync bench`: how fast a running cluster is. What is measured, and how, stands in [`crate::bench`].
//!
//! Exit code: 0 if any cycle worked, 1 if none did.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use dsync_core::contract::LOCAL_CLIENT_PORTS;

use crate::bench::{self, Api, Pace, Plan, Server};
use crate::config::parse_duration;

/// `dsync bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Take and give back locks: rate and latency.
    Locks(LocksArgs),
}

/// `dsync bench locks`.
#[derive(Args, Debug)]
#[command(
    after_help = "Client number i begins at server i; name the leader first to give it client 0."
)]
struct LocksArgs {
    /// Addresses of the nodes. Default: the three nodes of `dsync local`.
    #[arg(
        long = "server",
        alias = "servers",
        env = "DSYNC_SERVERS",
        value_name = "URL",
        value_delimiter = ','
    )]
    servers: Vec<Server>,

    /// In which words to ask; the etcd ones are for comparing with an etcd.
    #[arg(long, value_name = "API", default_value = "original")]
    api: Api,

    /// Clients, each an owner of its own with a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    clients: usize,

    /// How long to measure.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,

    /// How long to run before that.
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    warmup: Duration,

    /// Begin so many cycles a second, whatever the cluster does, and count latency from the planned
    /// start (open loop). Without: each client begins when its last cycle is answered (closed loop).
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,

    /// The lease of a hold; 0s for none.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    ttl: Duration,

    /// So many locks that all clients share. Without: each client has one of its own.
    #[arg(long, value_name = "M", value_parser = positive)]
    names: Option<usize>,

    /// How long to wait for an answer.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    timeout: Duration,

    /// Threads that the clients share. More than one only where the servers do not need the machine.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    threads: usize,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs it and prints what came of it.
pub fn run(args: BenchArgs) -> anyhow::Result<ExitCode> {
    let What::Locks(args) = args.what;
    if args.duration.is_zero() || args.timeout.is_zero() {
        super::usage_error("bench", "--duration and --timeout must be longer than 0");
    }
    let json = args.json;
    let report = bench::run(&plan(args)?)?;
    let text = match json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => report.to_string(),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(if report.cycles > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plan(args: LocksArgs) -> anyhow::Result<Plan> {
    let servers = match args.servers.is_empty() {
        false => args.servers,
        true => {
            let local = LOCAL_CLIENT_PORTS.map(|port| format!("http://127.0.0.1:{port}"));
            local.iter().map(|server| server.parse()).collect::<Result<_, _>>()?
        }
    };
    Ok(Plan {
        api: args.api,
        servers,
        clients: args.clients,
        threads: args.threads,
        pace: args.rate.map_or(Pace::Closed, |per_second| Pace::Open { per_second }),
        warmup: args.warmup,
        duration: args.duration,
        ttl: args.ttl,
        names: args.names,
        timeout: args.timeout,
        // Two benches at once, or one after a crash, must not meet each other's locks.
        prefix: format!("bench-{:08x}", getrandom::u32()?),
    })
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "a whole number from 1 on".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let in_range = |rate: &f64| (0.001..=10_000_000.0).contains(rate);
    text.parse().ok().filter(in_range).ok_or_else(|| "a number of cycles a second".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(words: &str) -> Result<Plan, String> {
        let words = ["dsync", "bench", "locks"].into_iter().chain(words.split_whitespace());
        let cli = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        let Command::Bench(BenchArgs { what: What::Locks(args) }) = cli.command else {
            return Err("not a bench".to_owned());
        };
        plan(args).map_err(|error| error.to_string())
    }

    #[test]
    fn without_flags_one_client_asks_the_local_nodes_as_fast_as_they_answer() {
        let plan = parse("").unwrap();
        assert_eq!((plan.clients, plan.pace, plan.names), (1, Pace::Closed, None));
        assert_eq!(plan.servers.len(), LOCAL_CLIENT_PORTS.len());
        assert_ne!(plan.prefix, parse("").unwrap().prefix, "two benches share no lock");
    }

    #[test]
    fn a_rate_makes_the_loop_open() {
        let plan = parse("--rate 250.5 --clients 8 --server http://h:1,http://h:2").unwrap();
        assert_eq!(plan.pace, Pace::Open { per_second: 250.5 });
        assert_eq!((plan.clients, plan.servers.len()), (8, 2));
    }

    #[test]
    fn what_nothing_can_be_measured_with_is_refused_by_its_flag() {
        for bad in [
            "--rate 0",
            "--rate=-1",
            "--rate nan",
            "--rate inf",
            "--clients 0",
            "--names 0",
            "--threads 0",
            "--duration 10",
            "--server localhost:5001",
            "--api v2",
        ] {
            let flag = bad.split([' ', '=']).next().unwrap();
            let refusal = parse(bad).unwrap_err();
            assert!(refusal.contains(flag), "{bad}: {refusal}");
        }
    }
}
