//! The binary that is shipped: how large it is, and what its crash reports say.
//!
//! To be run on the `dsync` of the release profile, by `DSYNC_BIN` or beside this test.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use dsync_tests::process::program;

/// People download it, and every node of a Kubernetes cluster pulls it.
const BYTES_MAX: u64 = 25 << 20;

#[test]
fn it_is_small() {
    let bytes = fs::metadata(program::path()).unwrap().len();
    println!("{}: {bytes} bytes", program::path().display());
    let is_shipped = program::path().parent().is_some_and(|folder| folder.ends_with("release"));
    assert!(bytes < BYTES_MAX || !is_shipped, "{bytes} bytes");
}

#[test]
fn a_panic_names_its_line_and_so_does_its_backtrace() {
    let mut crash = Command::new(program::path());
    let output = crash.arg("crash").env("RUST_BACKTRACE", "1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines = include_str!("../../node/src/cli/crash.rs").lines();
    let line = 1 + lines.take_while(|line| !line.contains("panic!(")).count();
    let place = format!("src/cli/crash.rs:{line}");
    assert!(!output.status.success());
    // Once in the message, which is compiled in, and once by the line tables.
    assert!(said.matches(&place).count() >= 2, "{said}");
}
