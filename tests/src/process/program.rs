//! Where the program under test is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Set by `cargo xtask test`.
const PROGRAM_VARIABLE: &str = "DSYNC_BIN";
/// A program that says this of itself has mistakes or a disk that no user has.
pub const TEST_FEATURES: &str = "test features";

/// The `dsync` that `DSYNC_BIN` names, else the one that was built beside this test, else one that is
/// built now.
///
/// # Panics
/// If there is none and it cannot be built.
#[must_use]
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = named().or_else(beside).unwrap_or_else(build);
        let version = version(&path);
        assert!(
            !version.contains(TEST_FEATURES),
            "{} is no program to test: {version}",
            path.display()
        );
        path
    })
}

/// What a program says it is.
///
/// # Panics
/// If it cannot be asked.
#[must_use]
pub fn version(path: &Path) -> String {
    let said = Command::new(path).arg("--version").output();
    let said = said.unwrap_or_else(|error| panic!("cannot start {}: {error}", path.display()));
    assert!(said.status.success(), "{} --version: {}", path.display(), said.status);
    String::from_utf8_lossy(&said.stdout).trim().to_owned()
}

fn named() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(PROGRAM_VARIABLE)?);
    assert!(path.exists(), "{PROGRAM_VARIABLE} names {}, which is not there", path.display());
    Some(path)
}

/// A test lies in `target/PROFILE/deps`, the program in `target/PROFILE`.
fn beside() -> Option<PathBuf> {
    let test = env::current_exe().ok()?;
    let path = test.parent()?.parent()?.join("dsync");
    path.exists().then_some(path)
}

/// Built as `cargo xtask test` does: with the features of other people's crates that the tests have.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let test = env::current_exe().expect("this test has a path");
    let deps = test.parent().filter(|folder| folder.ends_with("deps"));
    let profile = deps.and_then(Path::parent);
    let profile = profile.expect("a test outside of target/PROFILE/deps needs DSYNC_BIN");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args([
        "build",
        "--workspace",
        "--bin",
        "dsync",
        "--example",
        "openapi",
    ]);
    cargo.env("CARGO_TARGET_DIR", profile.parent().expect("a profile lies in target"));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.status().expect("cargo runs");
    assert!(status.success(), "cannot build the program under test");
    profile.join("dsync")
}
