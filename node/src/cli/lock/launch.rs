//! Becomes the command, after seeing to it that the command dies with the supervisor.
//!
//! The parent-death signal belongs to the process that asks for it and stays with it when it becomes
//! another program, so no code has to run between fork and exec.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;

use super::exit;

/// The hidden command that becomes another.
#[derive(Args, Debug)]
pub(in crate::cli) struct LaunchArgs {
    /// Who started this; if it is another by now, that one is dead.
    parent: i32,
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the command. Returns if it cannot.
pub(in crate::cli) fn run(args: &LaunchArgs) -> ExitCode {
    if die_with(args.parent).is_err() {
        return ExitCode::from(exit::FAILED);
    }
    let Some((program, arguments)) = args.command.split_first() else {
        return ExitCode::from(exit::USAGE);
    };
    let error = Command::new(program).args(arguments).exec();
    exit::say(&format!("cannot run {}: {error}", program.display()));
    ExitCode::from(match error.kind() {
        std::io::ErrorKind::NotFound => exit::NO_COMMAND,
        _ => exit::CANNOT_RUN,
    })
}

/// This program, also if its file was replaced meanwhile.
pub(in crate::cli) fn own_binary() -> std::io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => std::env::current_exe(),
    }
}

/// Has the kernel kill this process when its parent dies; fails if that has happened already.
#[cfg(target_os = "linux")]
fn die_with(parent: i32) -> std::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    match now == Some(parent) {
        true => Ok(()),
        false => Err(std::io::ErrorKind::BrokenPipe.into()),
    }
}

/// Elsewhere the keeper alone ends the command when the supervisor dies.
#[cfg(not(target_os = "linux"))]
fn die_with(_: i32) -> std::io::Result<()> {
    Ok(())
}
