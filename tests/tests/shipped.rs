//! The binary that is shipped: how large it is, and what its crash reports say.
//!
//! It is the `dsync` of the release profile that `DSYNC_BIN` names, or that lies beside this test:
//! `cargo xtask test --suite shipped` builds both.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use dsync_tests::process::program;

/// People download it, and every node of a Kubernetes cluster pulls it.
const BYTES_MAX: u64 = 25 << 20;

#[test]
#[cfg_attr(debug_assertions, ignore = "only the release profile is shipped")]
fn the_shipped_binary_is_small() {
    let bytes = fs::metadata(program::path()).unwrap().len();
    println!("the shipped binary: {bytes} bytes");
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
}

#[test]
fn a_panic_names_its_line_and_so_does_its_backtrace() {
    let mut crash = Command::new(program::path());
    let output = crash.arg("crash").env("RUST_BACKTRACE", "1").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let line = include_str!("../../node/src/cli/crash.rs").lines();
    let line = 1 + line.take_while(|line| !line.contains("panic!(")).count();
    let place = format!("src/cli/crash.rs:{line}");
    assert!(!output.status.success());
    // Once in the message, which is compiled in, and once by the line tables.
    assert!(said.matches(&place).count() >= 2, "{said}");
}
