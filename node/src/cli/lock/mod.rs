//! `dsync lock`: runs a command while locks are held.
//!
//! # Problem
//!
//! The command must not run on when the lock is gone: not when the network is, not when `dsync lock`
//! itself is killed, stopped or starved. One process that renews the lock and watches the command
//! cannot promise that, since nobody watches it.
//!
//! # Idea
//!
//! Two processes, and either ends the command at the lease's counted end, whatever became of the other:
//!
//! ```text
//! supervisor  what the user started: its pid, its signals, its exit code. Parent of the command.
//!     │ pipe
//! keeper      holds and renews the lock, and leads the command's process group. Same binary.
//! command     in the keeper's group; killed by the kernel when the supervisor dies (Linux).
//! ```
//!
//! | what happens | what follows |
//! |---|---|
//! | a renewal is not answered | TERM to the group at the counted end less the grace, KILL at the end |
//! | the lock is released by force, or lost | TERM at once, KILL after the grace, at the counted end at the latest |
//! | the supervisor is killed | the kernel kills the command; the keeper ends the rest of its group |
//! | the supervisor is stopped | the keeper renews on; if it cannot, it ends the command in time |
//! | the keeper is killed or stopped | nobody renews: the supervisor ends the command in time |
//! | both are stopped, the command is not | nobody ends it: the fencing token is what protects then |
//!
//! Grace: 5 s, at most a third of the lease. The clock is the one that counts while the machine sleeps,
//! so a laptop that wakes up ends the command before anything else if the lease is over.
//!
//! # Rejected
//!
//! - Renewing in the supervisor: a stopped supervisor would lose the lock of a command that runs on.
//! - Setting the parent-death signal between fork and exec: that needs unsafe code. The command is
//!   started through this binary instead, which sets the signal and then becomes the command.
//!
//! # Caveat
//!
//! A process that leaves the group (a daemon, a job of an interactive shell) is not ended. After the
//! command has ended, what it left running in the background is left alone, and the lock is released.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use dsync_client::BootInstant;
use serde::{Deserialize, Serialize};

use super::servers::ServerArgs;
use super::{called_wrongly, usage};
use crate::config::parse_duration;

pub(super) mod exit;
pub(super) mod keeper;
pub(super) mod launch;
mod limits;
mod notice;
mod protocol;
pub(super) mod signals;
mod supervisor;
mod terminal;

/// `dsync lock`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  dsync lock deploy -- ./deploy.sh
  dsync lock nightly --try --hold-at-least 60s -- ./nightly.sh
                                                    skip if another machine runs it, or just did
  dsync lock catalogue --shared --wait 5m -- ./read.sh
  dsync lock gpu --permits 4 -- ./train.sh          at most four at once
  dsync lock account/1 account/2 -- ./transfer.sh   all of them or none

The command finds DSYNC_LOCK, DSYNC_TOKEN (the fencing token), DSYNC_TOKENS (name=token, for each
lock) and DSYNC_HOLD in its environment.

Exit code: the command's own, 128 + N if signal N ended it, or
  64  called wrongly
  69  no node of the cluster serves
  70  dsync itself failed
  75  not acquired: held by others
  76  not acquired: deadlock
  77  not acquired: refused
  79  the lock was lost, and the command was ended
 126  the command cannot be run
 127  there is no such command")]
pub(super) struct LockArgs {
    /// The locks; several are acquired together or not at all.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Hold them beside other shared holders.
    #[arg(long, conflicts_with = "permits")]
    shared: bool,

    /// Take one of N permits, or K of N as K/N. Everybody has to say the same N.
    #[arg(long, short = 'n', value_name = "N", value_parser = parse_permits)]
    permits: Option<Permits>,

    /// How long to wait for the locks.
    #[arg(long, env = "DSYNC_WAIT", value_name = "DURATION", default_value = "1h",
          value_parser = parse_duration)]
    wait: Duration,

    /// Do not wait.
    #[arg(long = "try")]
    no_wait: bool,

    /// The lease: how long the locks stay held when this machine is lost; at least 1s. 0s: for ever.
    #[arg(long, env = "DSYNC_TTL", value_name = "DURATION", default_value = "30s",
          value_parser = parse_ttl)]
    ttl: Duration,

    /// Hold the locks so long at least from their grant, however early the command ends and whatever
    /// becomes of this machine: for a job that several machines begin a moment apart.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    hold_at_least: Option<Duration>,

    /// Under which name to hold them. Default: host, process, random part. Whoever uses the same name,
    /// and be it the command itself, is the same holder: it gets the same locks, and gives them back.
    #[arg(long, value_name = "NAME")]
    owner: Option<String>,

    #[command(flatten)]
    servers: ServerArgs,

    /// The command, and what it is called with.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// What the keeper is to acquire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Wanted {
    names: Vec<String>,
    shared: bool,
    permits: Option<Permits>,
    wait: Duration,
    /// Zero: no lease.
    ttl: Duration,
    hold_at_least: Option<Duration>,
    owner: Option<String>,
    servers: Vec<String>,
}

/// Some permits of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Permits {
    permits: u32,
    permits_max: u32,
}

/// Acquires, runs the command, releases.
pub(super) fn run(args: LockArgs) -> ExitCode {
    if args.ttl.is_zero() && args.hold_at_least.is_some() {
        let message =
            "--hold-at-least needs a lease, which ends it if this machine is lost: not --ttl 0s";
        called_wrongly(&usage("lock", message));
    }
    let wanted = Wanted {
        names: args.names,
        shared: args.shared,
        permits: args.permits,
        wait: if args.no_wait { Duration::ZERO } else { args.wait },
        ttl: args.ttl,
        hold_at_least: args.hold_at_least,
        owner: args.owner,
        servers: args.servers.addresses(),
    };
    exit::code(supervisor::run(&wanted, &args.command))
}

/// A shorter one would be over before it is renewed.
fn parse_ttl(text: &str) -> Result<Duration, String> {
    let ttl = parse_duration(text).map_err(|error| error.to_string())?;
    let fits = ttl.is_zero() || ttl >= Duration::from_secs(1);
    if fits { Ok(ttl) } else { Err("at least 1s, or 0s for ever".to_owned()) }
}

fn parse_permits(text: &str) -> Result<Permits, String> {
    let (permits, permits_max) = text.split_once('/').unwrap_or(("1", text));
    let number = |text: &str| text.parse::<u32>().map_err(|error| format!("{text:?}: {error}"));
    let (permits, permits_max) = (number(permits)?, number(permits_max)?);
    match permits >= 1 && permits <= permits_max {
        true => Ok(Permits { permits, permits_max }),
        false => Err("at least 1, and at most as many as there are".to_owned()),
    }
}

/// Until then; for ever without a moment.
async fn until(at: Option<BootInstant>) {
    match at {
        Some(at) => at.reached().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_one_of_so_many_or_some_of_so_many() {
        assert_eq!(parse_permits("4"), Ok(Permits { permits: 1, permits_max: 4 }));
        assert_eq!(parse_permits("2/8"), Ok(Permits { permits: 2, permits_max: 8 }));
        for bad in ["", "0", "3/2", "0/2", "-1", "a/b", "1/2/3"] {
            assert!(parse_permits(bad).is_err(), "{bad}");
        }
    }
}
