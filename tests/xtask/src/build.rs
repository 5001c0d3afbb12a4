//! What cargo is asked to build, with as few builds of other people's crates as can be.
//!
//! **The problem.** Cargo settles the features of every crate by what one command selects. Two commands
//! that select different packages, or the same ones with and without their tests, can mean two builds
//! of tokio and all that stands on it: minutes each.
//!
//! **The idea.** Every command selects the whole workspace, tests included, and picks targets from it.
//! What a feature of our own needs from outside is a dev-dependency as well, always there. So there are
//! three builds of other people's crates: checked (for clippy and rustdoc), in the test profile, and in
//! release for the program that users get. Our own crates are built once more, with the features that
//! only tests have.
//!
//! **Caveat.** The features of other people's crates are those of all tests together: what of ours is
//! built has the features that are shipped, tokio has `test-util` too. The program that users get is
//! the release build.

use std::env;
use std::path::PathBuf;

use super::command::Call;
use super::workspace;

/// Tells tests which program to start.
pub const PROGRAM_VARIABLE: &str = "DSYNC_BIN";

/// Features of our own crates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Features {
    /// As they are shipped.
    Shipped,
    /// With those that no shipped build has: bugs that can be put back, a simulated disk and network.
    Test,
}

impl Features {
    /// The arguments that select the workspace with these features.
    #[must_use]
    pub fn selection(self) -> &'static str {
        match self {
            Self::Shipped => "--workspace",
            Self::Test => "--workspace --features dsync-tests/bugs,dsync-node/simulated",
        }
    }
}

/// `cargo VERB` for the whole workspace with these features.
#[must_use]
pub fn cargo(verb: &str, features: Features) -> Call {
    Call::cargo(verb).args(features.selection())
}

/// A program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Program {
    folder: &'static str,
    arguments: &'static str,
}

/// `dsync` in the test profile, built beside the tests of `target`.
#[must_use]
pub fn tested_program() -> Program {
    // An example makes it a build that has the tests' dependencies.
    Program { folder: "debug", arguments: "build --workspace --bin dsync --example openapi" }
}

/// `dsync` as users build it.
#[must_use]
pub fn shipped_program() -> Program {
    Program { folder: "release", arguments: "build --release --bin dsync" }
}

impl Program {
    /// The command that builds it.
    #[must_use]
    pub fn build(self) -> Call {
        Call::cargo(self.arguments)
    }

    /// Where it is then.
    #[must_use]
    pub fn path(self) -> String {
        output(self.folder).join("dsync").to_string_lossy().into_owned()
    }
}

/// The folder of a profile's programs.
#[must_use]
pub fn output(profile: &str) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    workspace::root().join(target).join(profile)
}
