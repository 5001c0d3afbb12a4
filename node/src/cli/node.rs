//! `dsync node`: one node, usually one pod.

use std::io::Read;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use rustix::process::{Signal, getpid, kill_process};

use crate::config::{ConfigError, NodeArgs, NodeConfig};
use crate::{runtime, telemetry};

/// How long a node whose parent has gone may take to hand over and stop.
const ORPHAN_GRACE: Duration = Duration::from_secs(5);
/// How long a node that has stopped waits for blocking calls that have begun.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(1);
/// Exit code of a node that did not stop within that time.
const ORPHAN_EXIT_CODE: i32 = 1;

/// `dsync node`.
#[derive(Args, Debug)]
pub struct NodeCommand {
    #[command(flatten)]
    args: NodeArgs,
}

impl NodeCommand {
    /// The settings, checked.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub fn validate(self) -> Result<NodeConfig, ConfigError> {
        self.args.validate()
    }
}

/// Runs until SIGTERM or SIGINT.
pub fn run(command: NodeCommand) -> anyhow::Result<ExitCode> {
    let config = match command.validate() {
        Ok(config) => config,
        Err(error) => super::usage_error("node", &error.to_string()),
    };
    telemetry::start(&config.log, &config.name)?;
    if config.exit_with_parent {
        thread::Builder::new().name("parent-watch".into()).spawn(end_with_parent)?;
    }
    let tasks = super::runtime(config.threads)?;
    let result = tasks.block_on(runtime::run(config));
    // A look-up of a name that nobody answers may still be under way: it is not waited for.
    tasks.shutdown_timeout(LEFTOVER_LIMIT);
    result.map(|()| ExitCode::SUCCESS)
}

/// The parent holds the other end of standard input and never writes: the kernel closes it when the
/// parent ends, even by SIGKILL. The node then gets the signal that it would get from a careful
/// parent, so there is one way to stop; if that way is stuck the process ends all the same.
fn end_with_parent() {
    let mut byte = [0];
    while matches!(std::io::stdin().read(&mut byte), Ok(1)) {}
    tracing::warn!("the process that started this node has ended: stopping");
    let _ = kill_process(getpid(), Signal::TERM);
    thread::sleep(ORPHAN_GRACE);
    std::process::exit(ORPHAN_EXIT_CODE);
}
