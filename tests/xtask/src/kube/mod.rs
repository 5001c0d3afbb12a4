//! A Kubernetes cluster to try things on: `cargo xtask up`, `down`, `load`, `kubectl`, `helm`,
//! `machine`, `e2e`.
//!
//! Where a container engine and kind are at hand, the cluster is one of kind. Elsewhere it is made of
//! the real Kubernetes programs, built from their Go modules once, without an engine
//! (`tests/kube/README.md`). Either has three machines, and our images without a registry.
//!
//! | file | what |
//! |---|---|
//! | `cluster` | the two kinds of clusters behind one set of calls |
//! | `images` | what is in our images, and how they are packed without an engine |
//! | `dockerfile` | that the Dockerfiles say the same |
//! | `e2e` | the tests: cluster up, tests, cluster down, nothing left behind |
//!
//! `KUBE_HOME` names the folder of a cluster's state. Clusters of several folders run side by side.

use std::process::{Command, ExitStatus};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use super::outcome::Counts;
use super::{build as cargo_build, command, needs, workspace};

mod cluster;
mod dockerfile;
mod e2e;
mod images;

use cluster::Cluster;
use images::Profile;

/// The verbs of this module.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Start a Kubernetes cluster on this machine, with our images.
    Up(UpArgs),
    /// Remove the cluster and all it left.
    Down,
    /// Pack our images again and give them to the running cluster.
    Load(ProfileArgs),
    /// kubectl on that cluster, as administrator.
    Kubectl(Words),
    /// helm on that cluster, as administrator.
    Helm(Words),
    /// Stop, boot, cut off or heal one of the cluster's machines.
    Machine(MachineArgs),
    /// Try the product on a cluster of its own, end to end.
    E2e(e2e::E2eArgs),
}

/// `cargo xtask up`.
#[derive(Args, Debug)]
pub struct UpArgs {
    /// How many machines.
    #[arg(long, default_value_t = e2e::MACHINES)]
    machines: u8,

    #[command(flatten)]
    profile: ProfileArgs,
}

/// Which build is packed.
#[derive(Args, Debug)]
pub struct ProfileArgs {
    /// Pack the build of the tests instead of the release: sooner there, larger and slower.
    #[arg(long)]
    dev: bool,
}

impl ProfileArgs {
    fn profile(&self) -> Profile {
        if self.dev { Profile::Dev } else { Profile::Release }
    }
}

/// Arguments for another program.
#[derive(Args, Debug)]
pub struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// `cargo xtask machine`.
#[derive(Args, Debug)]
pub struct MachineArgs {
    /// What happens to it.
    event: MachineEvent,
    /// Which one, from 1.
    number: u8,
}

/// What can happen to a machine.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MachineEvent {
    /// It ends at once, as by a power cut.
    Stop,
    /// It boots with the disk that it had.
    Start,
    /// It runs on, but no packet leaves or reaches it.
    Cut,
    /// It is on the network again.
    Heal,
}

/// Does what was asked for.
///
/// # Errors
/// If it cannot be done.
pub fn run(verb: &Verb) -> anyhow::Result<()> {
    let cluster = Cluster::here();
    match verb {
        Verb::Up(args) => up(&cluster, args.machines, args.profile.profile()),
        Verb::Down => cluster.down(),
        Verb::Load(args) => cluster.load(&images::pack(&cluster, args.profile())?),
        Verb::Kubectl(args) => pass(cluster.kubectl().args(&args.words)),
        Verb::Helm(args) => pass(cluster.helm().args(&args.words)),
        Verb::Machine(args) => cluster.machine(args.event, args.number),
        Verb::E2e(args) => e2e::run(args),
    }
}

fn up(cluster: &Cluster, machines: u8, profile: Profile) -> anyhow::Result<()> {
    cluster.ready().map_err(anyhow::Error::msg)?;
    cluster.build()?;
    let archives = images::pack(cluster, profile)?;
    cluster.up(machines)?;
    cluster.load(&archives)
}

/// Runs a program of the user's: it says itself what went wrong, and its exit code is passed on.
fn pass(command: &mut Command) -> anyhow::Result<()> {
    let status = status(command)?;
    if !status.success() {
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}

fn status(command: &mut Command) -> anyhow::Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start {:?}", command.get_program()))
}

/// Runs a program that has to succeed.
fn must(command: &mut Command) -> anyhow::Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("{command:?} failed: {status}");
    }
    Ok(())
}

/// Installs what the suite in `cargo xtask test` needs, where that may be done.
///
/// # Errors
/// A sentence with what is missing.
pub use e2e::ready;

/// What the tests do not do yet.
pub use cluster::NOT_RUN;

/// Builds all that the suite in `cargo xtask test` needs.
///
/// # Errors
/// If something cannot be built.
pub fn build(full: bool) -> anyhow::Result<()> {
    e2e::build(&e2e::E2eArgs::suite(full)).map(|_| ())
}

/// Runs that suite.
///
/// # Errors
/// If the cluster cannot be brought up.
pub fn count(full: bool) -> anyhow::Result<Counts> {
    e2e::count(&e2e::E2eArgs::suite(full))
}

/// Where the packed images and their Dockerfiles differ.
///
/// # Errors
/// If a file cannot be read.
pub fn check_dockerfiles() -> anyhow::Result<Vec<String>> {
    dockerfile::check(workspace::root())
}
