//! The program that users build, as it is: `cargo xtask test --suite shipped` makes the release build.

#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::fs;
use std::process::Command;

use dsync_tests::process::local::Local;
use dsync_tests::process::locks::{Answer, LockClient, Mode};
use dsync_tests::process::program::{self, TEST_FEATURES};
use dsync_tests::process::until::PATIENCE;

/// People download it, and every node of a Kubernetes cluster pulls it.
///
/// The goal is 25 MB; today a third of it is line tables, compressed. It may not grow by itself.
const BYTES_MAX: u64 = 33_000_000;

/// Were it otherwise, every suite that starts a program would refuse it too; here it is said plainly.
#[test]
fn it_has_no_feature_that_only_tests_have() {
    let version = program::version(program::path());
    assert!(version.starts_with("dsync 0."), "{version}");
    assert!(!version.contains(TEST_FEATURES), "{version}");
}

/// Optimised, and without the checks that a build for tests has: is it the same product?
#[test]
fn it_founds_a_cluster_and_grants_a_lock() {
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(folder.path(), Local::free_ports(), &[]);
    local.await_ready();
    let mut client = LockClient::new(local.clients()[1], PATIENCE);
    let granted = client.acquire("orders", "me", Mode::Exclusive).unwrap();
    assert!(matches!(granted, Answer::Granted { .. }), "{granted:?}");
    assert_eq!(client.look("orders").unwrap().holders[0].owner, "me");
}

#[test]
fn it_is_small() {
    let bytes = fs::metadata(program::path()).unwrap().len();
    println!("{}: {bytes} bytes", program::path().display());
    assert!(bytes < BYTES_MAX, "{bytes} bytes");
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
