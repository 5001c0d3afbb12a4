//! `cargo xtask e2e`: the product on a real Kubernetes, and nothing left behind.
//!
//! The tests are `tests/tests/kubernetes.rs`. They share one cluster, which is brought up here and
//! taken down whatever comes of them, and reach it through this program.

use std::env;
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::cluster::{Cluster, HOME_VARIABLE};
use super::command::Call;
use super::images::{self, IMAGES, Profile};
use super::{Counts, workspace};

/// Machines of the cluster: as many as nodes, so that each node can stand on one of its own.
pub const MACHINES: u8 = 3;

/// Tells the tests what to call.
const XTASK_VARIABLE: &str = "DSYNC_XTASK";

/// The kinds of tests, each a module of `tests/tests/kubernetes.rs`.
const KINDS: [&str; 4] = ["definition", "nodes", "network", "machines"];

/// `cargo xtask e2e`.
#[derive(Args, Debug)]
pub struct E2eArgs {
    /// Run only these kinds of tests.
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
    super::ready().map_err(anyhow::Error::msg)?;
    let counts = count(args)?;
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if counts.failed > 0 {
        bail!("not all tests passed");
    }
    Ok(())
}

/// Runs the tests and counts them; that nothing is left behind counts as one more.
///
/// # Errors
/// If the cluster does not come up.
pub fn count(args: &E2eArgs) -> anyhow::Result<Counts> {
    let home = workspace::root().join("target/kubernetes");
    let cluster = Cluster::at(Some(home.clone()));
    cluster.build()?;
    let profile = if args.full { Profile::Release } else { Profile::Dev };
    let archives = images::pack(&cluster, profile)?;
    // One that an interrupted run has left.
    cluster.down()?;
    let up = timed("cluster up", || cluster.up(MACHINES).and_then(|()| cluster.load(&archives)));
    let tests = up.and_then(|()| tests(args, &cluster, &home.to_string_lossy()));
    println!("not run: {}", cluster.not_run());
    if args.keep {
        return tests;
    }
    timed("cluster down", || cluster.down())?;
    let mut counts = tests?;
    counts += nothing_left(&cluster)?;
    counts += docker_builds(&cluster);
    Ok(counts)
}

fn tests(args: &E2eArgs, cluster: &Cluster, home: &str) -> anyhow::Result<Counts> {
    let xtask = env::current_exe().context("cannot find this program")?;
    let call = Call::cargo("test --package dsync-tests --test kubernetes --")
        .arg("--test-threads=1")
        .env(XTASK_VARIABLE, &xtask.to_string_lossy())
        .env(HOME_VARIABLE, home);
    let call = if args.full { call.arg("--include-ignored") } else { call };
    let call = match cluster {
        Cluster::Kind { .. } => call.arg("--skip").arg("machines::"),
        Cluster::Built { .. } => call,
    };
    let call = args.kinds.iter().fold(call, |call, kind| call.arg(&format!("{kind}::")));
    println!("-- {}", call.shown());
    call.run_tests()
}

/// The Dockerfiles, where something can build them.
fn docker_builds(cluster: &Cluster) -> Counts {
    let mut counts = Counts::default();
    if let Cluster::Kind { .. } = cluster {
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
