//! Exit codes of `dsync lock`. They are part of its interface: never change one.
//!
//! Those of `sysexits.h` where one fits, all below 125, since shells use what is above.

use std::io::Write;
use std::process::ExitCode;

use dsync_client::LockError;
use rustix::process::WaitStatus;

use crate::cli::visible;

/// Called wrongly.
pub(in crate::cli) const USAGE: u8 = 64;
/// No node of the cluster serves.
pub(super) const NO_SERVER: u8 = 69;
/// dsync itself failed.
pub(super) const FAILED: u8 = 70;
/// Not acquired: held by others.
pub(super) const NOT_ACQUIRED: u8 = 75;
/// Not acquired: waiting would have closed a circle.
pub(super) const DEADLOCK: u8 = 76;
/// Not acquired: refused for another reason.
pub(super) const REFUSED: u8 = 77;
/// The lock was lost, and the command was ended.
pub(super) const LOST: u8 = 79;
/// The command cannot be run.
pub(in crate::cli) const CANNOT_RUN: u8 = 126;
/// There is no such command.
pub(in crate::cli) const NO_COMMAND: u8 = 127;
/// Added to the number of the signal that ended a command.
pub(super) const SIGNALLED: i32 = 128;

/// Why there is another exit code than the command's.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) code: u8,
    /// Empty: there is nothing to say.
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Something of the system failed.
    pub(super) fn system(what: &str) -> impl Fn(std::io::Error) -> Self {
        move |error| Self::new(FAILED, format!("{what}: {error}"))
    }
}

/// The process's end.
pub(super) fn code(result: Result<u8, Failure>) -> ExitCode {
    let code = result.unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            say(&failure.message);
        }
        failure.code
    });
    ExitCode::from(code)
}

/// One line for people.
pub(in crate::cli) fn say(message: &str) {
    // Not eprintln!, which panics when nobody reads any more.
    let _ = writeln!(std::io::stderr(), "dsync: {}", visible::lines(message));
}

/// What became of the command, as a shell would say it.
pub(super) fn of_command(status: WaitStatus) -> u8 {
    let code = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => SIGNALLED + signal,
        (None, None) => i32::from(FAILED),
    };
    u8::try_from(code).unwrap_or(FAILED)
}

/// Why the lock is not had.
pub(super) fn of_error(error: &LockError) -> u8 {
    match error {
        LockError::Held { .. } | LockError::WaitTimeout { .. } => NOT_ACQUIRED,
        LockError::Deadlock { .. } => DEADLOCK,
        LockError::AlreadyHeld { .. } => REFUSED,
        LockError::Lost(_) => LOST,
        LockError::Call(error) if error.is_unavailable() => NO_SERVER,
        LockError::Call(
            dsync_client::Error::Address(_)
            | dsync_client::Error::Name { .. }
            | dsync_client::Error::NoNodes,
        ) => USAGE,
        LockError::Call(dsync_client::Error::Refused { .. }) => REFUSED,
        LockError::Call(_) => FAILED,
    }
}
