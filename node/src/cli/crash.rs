//! Panics, so that a test of the shipped binary sees what a crash report looks like.

use std::process::ExitCode;

/// Never returns; its type is that of the other commands.
#[inline(never)]
pub(super) fn run() -> anyhow::Result<ExitCode> {
    panic!("as asked");
}
