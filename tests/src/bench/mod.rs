//! `cargo xtask bench`: how fast, beside what others have.
//!
//! **The problem.** A figure from one machine says nothing on another, and on a machine that others
//! use it says little an hour later.
//!
//! **The idea.** Both services run at the same time on the same disk, are measured in turn, several
//! times over, by the same loop (`dsync bench locks`), and what is printed is their ratio: the
//! median of the rounds', each between neighbours in time. Beside each round stands what the disk and
//! the loopback interface gave just then, so that a bad neighbour can be told from a slow service.
//!
//! **What is compared.** Three nodes each, on loopback, with every write synced: `dsync local` as a user
//! starts it, and three etcd members with etcd's defaults. Client 0 talks to the leader, in both.
//! Etcd has two ways to a lock, its lock service and its library's mutex; both are measured.
//!
//! **Caveats.** The generator and two clusters share the machine: the idle one takes a little with its
//! heartbeats. Six processes on two cores are no deployment; on such a machine CPU decides, not the disk.

#![allow(clippy::print_stdout, reason = "a report is what this is for")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Parser};

use crate::process::program;

mod probes;
mod report;
mod services;

use probes::Probes;
use report::{Measurement, Report};
use services::{Etcd, Local, Service};

const ROUNDS: usize = 3;
const ROUNDS_FULL: usize = 5;
const CLIENTS_FULL: [usize; 4] = [1, 8, 64, 256];

/// Measure, beside what others have.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
enum Bench {
    /// Take and give back locks, beside an etcd where one is installed.
    Locks(LocksArgs),
}

/// `cargo xtask bench locks`.
#[derive(Args, Debug)]
struct LocksArgs {
    /// Numbers of clients to measure with.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', default_values_t = [1, 64])]
    clients: Vec<usize>,

    /// How long to measure each time.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    duration: String,

    /// How often each is measured. Default: 3, with --full 5.
    #[arg(long, value_name = "N")]
    rounds: Option<usize>,

    /// Which of dsync's lock interfaces to use.
    #[arg(long, value_name = "API", default_value = "original")]
    api: String,

    /// The folder for the data of both, on the disk that is meant. Default: the build folder.
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,

    /// 1, 8, 64 and 256 clients, and more rounds.
    #[arg(long)]
    full: bool,

    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

impl LocksArgs {
    fn clients(&self) -> &[usize] {
        if self.full { &CLIENTS_FULL } else { &self.clients }
    }

    fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.full { ROUNDS_FULL } else { ROUNDS })
    }
}

/// Runs the bench that this process was called for, with the program that `DSYNC_BIN` names.
#[must_use]
pub fn main() -> ExitCode {
    let Bench::Locks(args) = Bench::parse();
    match locks(&args, program::path()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn locks(args: &LocksArgs, program: &Path) -> anyhow::Result<()> {
    let build = program.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let on = args.folder.as_deref().unwrap_or(build);
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(on);
    let folder = folder.with_context(|| format!("no folder in {}", on.display()))?;
    let mut services =
        vec![Service::new("dsync", &args.api, Local::start(program, folder.path())?)];
    match Etcd::start(folder.path())? {
        Some(etcd) => services.extend(Service::both_of_etcd(etcd)),
        None => eprintln!("etcd is not installed (Debian: etcd-server): dsync is measured alone"),
    }
    let mut report = Report::new(&args.duration);
    for round in 1..=args.rounds() {
        for clients in args.clients() {
            for service in &services {
                let probes = Probes::take(folder.path())?;
                let bench = service.bench(program, *clients, &args.duration)?;
                let measurement = Measurement {
                    round,
                    clients: *clients,
                    service: service.word(),
                    probes,
                    bench,
                };
                eprintln!("{}", measurement.line());
                report.add(measurement);
            }
        }
    }
    println!("{}", if args.json { report.json()? } else { report.table() });
    Ok(())
}
