//! The program that users build, as it is: `cargo xtask test --suite shipped` makes the release build.

#![allow(clippy::unwrap_used)]

use dsync_tests::process::local::Local;
use dsync_tests::process::locks::{Answer, LockClient, Mode};
use dsync_tests::process::program::{self, TEST_FEATURES};
use dsync_tests::process::until::PATIENCE;

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
