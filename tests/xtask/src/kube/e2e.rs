//! `cargo xtask e2e`: the product on a real Kubernetes, and nothing left behind.
//!
//! The tests are `tests/tests/kubernetes.rs`. They share one cluster, which is brought up here and
//! taken down whatever comes of them, and run inside its network.

use std::env;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::Counts;
use super::cargo_build::{Features, cargo, output};
use super::cluster::{Cluster, HOME_VARIABLE, NOT_RUN, engine_answers};
use super::command::Call;
use super::images::{self, IMAGES, Profile};

/// Machines of the cluster: as many as nodes, so that each node can stand on one of its own.
pub const MACHINES: u8 = 3;

/// Tells the tests what to call for what only the cluster's maker can do.
const XTASK_VARIABLE: &str = "DSYNC_XTASK";
/// Tells the tests where the API server writes down who asked for what.
const AUDIT_VARIABLE: &str = "DSYNC_AUDIT_LOG";
/// That log, in the folder of the cluster's state.
const AUDIT_LOG: &str = "run/audit.log";

/// The kinds of tests, each a module of `tests/tests/kubernetes.rs`.
const KINDS: [&str; 7] =
    ["definition", "install", "drift", "faults", "idle", "network", "machines"];

/// `cargo xtask e2e`.
#[derive(Args, Debug)]
pub struct E2eArgs {
    /// Run only these kinds of tests, long forms too.
    #[arg(value_name = "KIND", value_parser = PossibleValuesParser::new(KINDS))]
    kinds: Vec<String>,

    /// Run the long forms too, with the release build.
    #[arg(long)]
    full: bool,

    /// Leave the cluster up, to look at it: `KUBE_HOME=target/kubernetes cargo xtask kubectl ...`.
    #[arg(long)]
    keep: bool,
}

impl E2eArgs {
    /// What `cargo xtask test` runs.
    #[must_use]
    pub fn suite(full: bool) -> Self {
        Self { kinds: Vec::new(), full, keep: false }
    }
}

/// Runs the tests.
///
/// # Errors
/// If one fails or the cluster does not come up.
pub fn run(args: &E2eArgs) -> anyhow::Result<()> {
    ready().map_err(anyhow::Error::msg)?;
    let counts = count(args)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 {
        bail!("not all tests passed");
    }
    Ok(())
}

/// Installs what the cluster needs, where that may be done.
///
/// # Errors
/// A sentence with what is missing.
pub fn ready() -> Result<(), String> {
    cluster().ready()
}

/// Builds the cluster's programs, our images and the tests. Gives the images' archives.
///
/// # Errors
/// If something cannot be built.
pub fn build(args: &E2eArgs) -> anyhow::Result<Vec<PathBuf>> {
    let cluster = cluster();
    cluster.build()?;
    let profile = if args.full { Profile::Release } else { Profile::Dev };
    let archives = images::pack(&cluster, profile)?;
    cargo_test().arg("--no-run").run()?;
    Ok(archives)
}

/// Runs the tests and counts them; that nothing is left behind counts as one more.
///
/// # Errors
/// If the cluster does not come up.
pub fn count(args: &E2eArgs) -> anyhow::Result<Counts> {
    let archives = build(args)?;
    let cluster = cluster();
    // One that an interrupted run has left.
    cluster.down()?;
    let up = timed("cluster up", || cluster.up(MACHINES).and_then(|()| cluster.load(&archives)));
    let tests = up.and_then(|()| tests(args, &cluster));
    println!("not run: {NOT_RUN}");
    if args.keep {
        return tests;
    }
    timed("cluster down", || cluster.down())?;
    let mut counts = tests?;
    counts += nothing_left(&cluster)?;
    counts += docker_builds();
    Ok(counts)
}

fn home() -> PathBuf {
    output("kubernetes")
}

/// Apart from the one that `cargo xtask up` starts, and never of kind: the tests stand in the network
/// of the cluster, read its audit log and stop its machines.
fn cluster() -> Cluster {
    Cluster::Built { home: Some(home()) }
}

fn cargo_test() -> Call {
    cargo("test", Features::Shipped).args("--test kubernetes")
}

fn tests(args: &E2eArgs, cluster: &Cluster) -> anyhow::Result<Counts> {
    let xtask = env::current_exe().context("cannot find this program")?;
    let mut call = cluster.inside(cargo_test()).args("-- --test-threads=1 --nocapture");
    call = call.env(XTASK_VARIABLE, &xtask.to_string_lossy());
    call = call.env(HOME_VARIABLE, &home().to_string_lossy());
    call = call.env(AUDIT_VARIABLE, &home().join(AUDIT_LOG).to_string_lossy());
    if args.full || !args.kinds.is_empty() {
        call = call.arg("--include-ignored");
    }
    call = args.kinds.iter().fold(call, |call, kind| call.arg(&format!("{kind}::")));
    println!("-- {}", call.shown());
    call.run_tests()
}

/// The Dockerfiles, where something can build them.
fn docker_builds() -> Counts {
    let mut counts = Counts::default();
    if engine_answers() {
        for ours in IMAGES.iter().filter_map(|image| image.ours.as_ref()) {
            match Call::of("docker", "build --file").arg(ours.dockerfile).arg(".").run() {
                Ok(()) => counts.passed += 1,
                Err(error) => {
                    eprintln!("{error:#}");
                    counts.failed += 1;
                }
            }
        }
    }
    counts
}

fn nothing_left(cluster: &Cluster) -> anyhow::Result<Counts> {
    let left = cluster.leftovers()?;
    for what in &left {
        println!("left behind: {what}");
    }
    Ok(match left.is_empty() {
        true => Counts { passed: 1, ..Counts::default() },
        false => Counts { failed: 1, ..Counts::default() },
    })
}

fn timed<T>(what: &str, act: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let began = Instant::now();
    let result = act();
    println!("== {what} took {:.1} s", began.elapsed().as_secs_f64());
    result
}
