//! The suites of `cargo xtask test`, in the order in which they are worth waiting for.

use super::command::Call;
use super::needs::{Need, Source};
use super::workspace;

/// A part of the tests with one purpose.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    /// Its name, for `--suite`.
    pub name: &'static str,
    /// What it shows, in one sentence.
    pub about: &'static str,
    /// Programs beside cargo.
    pub needs: &'static [Need],
    /// Files without which it has nothing to run.
    pub files: &'static [&'static str],
    /// What it runs.
    pub steps: &'static [Step],
}

/// One command of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// `cargo xtask verify`, inside this process.
    Verify,
    /// A build that the tests after it use.
    Build(&'static str),
    /// Arguments of a cargo that runs tests.
    Tests(&'static str),
    /// `cargo xtask e2e`, inside this process.
    Kubernetes,
}

const FORMAT: Need = Need { program: "rustfmt", from: Source::Rustup("rustfmt") };
const LINTS: Need = Need { program: "cargo-clippy", from: Source::Rustup("clippy") };
const REDIS: Need = Need { program: "redis-server", from: Source::Debian("redis-server") };
/// The server itself is not in PATH; this comes with it.
const POSTGRES: Need = Need { program: "pg_ctlcluster", from: Source::Debian("postgresql") };
const MARIADB: Need =
    Need { program: "mariadb-install-db", from: Source::Debian("mariadb-server") };
/// For virtual environments; Debian has `ensurepip` in a package of its own.
const PYTHON: Need = Need {
    program: "python3",
    from: Source::Python { module: "ensurepip", package: "python3-venv" },
};

/// All of them. The packages are built with as few sets of features as can be: `unit` with those that
/// are shipped, dsync-tests (which puts bugs back) apart from them, `power-cut` with a simulated disk.
pub const SUITES: [Suite; 8] = [
    Suite {
        name: "verify",
        about: "format, lints, docs, generated files and structure are in order",
        needs: &[FORMAT, LINTS],
        files: &[],
        steps: &[Step::Verify],
    },
    Suite {
        name: "unit",
        about: "every part does what it says, by itself",
        needs: &[],
        files: &[],
        steps: &[
            Step::Tests("test --workspace --exclude dsync-tests"),
            Step::Tests("test --package dsync-tests --lib"),
        ],
    },
    Suite {
        name: "simulation",
        about: "whole clusters keep their promises under every fault, locks agree with their oracle, and bugs put back are caught",
        needs: &[],
        files: &[
            "tests/tests/simulated.rs",
            "tests/tests/bugs.rs",
            "tests/tests/lock_bugs.rs",
            "node/core/src/locks/oracle_test/mod.rs",
        ],
        steps: &[
            Step::Tests("test --release --package dsync-core --features bugs --lib oracle_test"),
            Step::Tests(
                "test --release --package dsync-tests --test simulated --test bugs --test lock_bugs",
            ),
        ],
    },
    Suite {
        name: "power-cut",
        about: "a cut of the power at any moment loses nothing that was acknowledged",
        needs: &[],
        files: &[
            "node/tests/audit_power_cut.rs",
            "node/tests/log_power_cut.rs",
            "node/tests/node_power_cut.rs",
        ],
        steps: &[Step::Tests(
            "test --package dsync-node --features simulated --test audit_power_cut --test log_power_cut --test node_power_cut",
        )],
    },
    Suite {
        name: "process",
        about: "real processes survive kills, pauses and hostile clients",
        needs: &[],
        files: &["tests/tests/process.rs"],
        steps: &[
            Step::Build("build --release --package dsync-node"),
            Step::Tests("test --release --package dsync-tests --test process"),
        ],
    },
    Suite {
        name: "api",
        about: "a live node keeps to its own OpenAPI description, whatever it is asked",
        needs: &[PYTHON],
        files: &["tests/tests/api.rs"],
        steps: &[
            Step::Build("build --release --package dsync-node"),
            Step::Tests("test --release --package dsync-tests --test api"),
        ],
    },
    Suite {
        name: "fencing",
        about: "real Redis, PostgreSQL, MariaDB and SQLite refuse a holder that comes too late",
        needs: &[REDIS, POSTGRES, MARIADB],
        files: &["tests/tests/fencing.rs"],
        steps: &[
            Step::Build("build --release --package dsync-node"),
            Step::Tests("test --package dsync-client --features redis"),
            Step::Tests("test --release --package dsync-tests --test fencing"),
        ],
    },
    Suite {
        name: "kubernetes",
        about: "on a real Kubernetes, pods and machines that are lost take no lock with them",
        needs: &[],
        files: &["tests/tests/kubernetes.rs", "tests/kube/cluster"],
        steps: &[Step::Kubernetes],
    },
];

/// Tells the process suite which program to start.
pub const PROGRAM_VARIABLE: &str = "DSYNC_BIN";

impl Suite {
    /// The first of its files that does not exist.
    #[must_use]
    pub fn missing_file(&self) -> Option<&'static str> {
        self.files.iter().copied().find(|file| !workspace::root().join(file).exists())
    }
}

impl Step {
    /// The command, with the long tests too if `full`.
    #[must_use]
    pub fn call(self, full: bool) -> Call {
        match self {
            Self::Verify => Call::cargo("xtask verify"),
            Self::Build(arguments) => Call::cargo(arguments),
            Self::Kubernetes if full => Call::cargo("xtask e2e --full"),
            Self::Kubernetes => Call::cargo("xtask e2e"),
            Self::Tests(arguments) => {
                // Every suite has its say: one that fails must not hide the ones behind it.
                let call = Call::cargo(arguments).arg("--no-fail-fast");
                if full { call.arg("--").arg("--include-ignored") } else { call }
            }
        }
    }
}
