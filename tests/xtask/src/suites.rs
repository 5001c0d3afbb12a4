//! The suites of `cargo xtask test`, in the order in which they are worth waiting for.

use super::build::{self, Features, Program, shipped_program, tested_program};
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
    /// What it runs.
    pub steps: &'static [Step],
}

/// One part of a suite.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// `cargo xtask verify`, inside this process.
    Verify,
    /// Tests that cargo builds and runs.
    Tests(Tests),
    /// `cargo xtask e2e`, inside this process.
    Kubernetes,
}

/// Tests of the whole workspace that are built in one way.
#[derive(Clone, Copy, Debug)]
pub struct Tests {
    /// What they are built with.
    pub features: Features,
    /// Which of them.
    pub targets: Targets,
    /// Arguments of the test programs: which tests, by parts of their names.
    pub filter: &'static str,
    /// Variables that they read.
    pub environment: &'static [(&'static str, &'static str)],
    /// The program that they start.
    pub program: Under,
}

/// Which test programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// Unit tests, examples, and the integration tests that no other suite names.
    Rest,
    /// Unit tests of libraries.
    Libraries,
    /// Examples in the documentation.
    Docs,
    /// These integration tests.
    Named(&'static [&'static str]),
}

/// The program under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Under {
    /// None: the test calls the code.
    Nothing,
    /// `dsync` in the test profile; in the long form the one that users get.
    Program,
    /// `dsync` as users get it.
    Shipped,
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

/// Tests of the code as it is shipped.
const SHIPPED: Tests = Tests {
    features: Features::Shipped,
    targets: Targets::Rest,
    filter: "",
    environment: &[],
    program: Under::Nothing,
};
/// Tests of the code with the features that only tests have.
const TEST: Tests = Tests { features: Features::Test, ..SHIPPED };

/// All of them.
pub const SUITES: [Suite; 9] = [
    Suite {
        name: "verify",
        about: "format, lints, docs, generated files and structure are in order",
        needs: &[FORMAT, LINTS],
        steps: &[Step::Verify],
    },
    Suite {
        name: "unit",
        about: "every part does what it says, by itself",
        needs: &[],
        steps: &[
            Step::Tests(Tests { filter: "--skip oracle_test", ..SHIPPED }),
            Step::Tests(Tests { targets: Targets::Docs, ..SHIPPED }),
        ],
    },
    Suite {
        name: "simulation",
        about: "whole clusters keep their promises under every fault, locks agree with their oracle, and bugs put back are caught",
        needs: &[],
        steps: &[
            Step::Tests(Tests {
                targets: Targets::Libraries,
                filter: "oracle_test",
                environment: &[("DSYNC_HISTORIES", "100000")],
                ..SHIPPED
            }),
            Step::Tests(Tests { targets: Targets::Named(&["simulated"]), ..SHIPPED }),
            Step::Tests(Tests {
                targets: Targets::Named(&["bugs", "lock_bugs", "cache_model"]),
                ..TEST
            }),
            Step::Tests(Tests {
                targets: Targets::Libraries,
                filter: "every_bug_put_back",
                ..TEST
            }),
        ],
    },
    Suite {
        name: "power-cut",
        about: "a cut of the power at any moment loses nothing that was acknowledged",
        needs: &[],
        steps: &[
            Step::Tests(Tests {
                targets: Targets::Named(&["audit_power_cut", "log_power_cut", "node_power_cut"]),
                ..TEST
            }),
            Step::Tests(Tests { targets: Targets::Libraries, filter: "simulated_tests", ..TEST }),
        ],
    },
    Suite {
        name: "process",
        about: "real processes survive kills, pauses and hostile clients",
        needs: &[],
        steps: &[Step::Tests(Tests {
            targets: Targets::Named(&["process"]),
            program: Under::Program,
            ..SHIPPED
        })],
    },
    Suite {
        name: "api",
        about: "a live node keeps to its own OpenAPI description, whatever it is asked",
        needs: &[PYTHON],
        steps: &[Step::Tests(Tests {
            targets: Targets::Named(&["api"]),
            program: Under::Program,
            ..SHIPPED
        })],
    },
    Suite {
        name: "fencing",
        about: "real Redis, PostgreSQL, MariaDB and SQLite refuse a holder that comes too late",
        needs: &[REDIS, POSTGRES, MARIADB],
        steps: &[Step::Tests(Tests {
            targets: Targets::Named(&["fencing"]),
            program: Under::Program,
            ..SHIPPED
        })],
    },
    Suite {
        name: "kubernetes",
        about: "the operator installs and keeps clusters on a real Kubernetes, and what is lost comes back",
        needs: &[],
        steps: &[Step::Kubernetes],
    },
    Suite {
        name: "shipped",
        about: "the program that users build is the one that was meant",
        needs: &[],
        steps: &[Step::Tests(Tests {
            targets: Targets::Named(&["shipped"]),
            program: Under::Shipped,
            ..SHIPPED
        })],
    },
];

impl Suite {
    /// True if it starts the program that users get.
    #[must_use]
    pub fn needs_shipped(&self, full: bool) -> bool {
        let tests = self.steps.iter().filter_map(Step::tests);
        let in_tests =
            tests.filter_map(|tests| tests.program.program(full)).any(|it| it == shipped_program());
        in_tests || full && self.needs_kubernetes()
    }

    /// True if it brings up a Kubernetes cluster.
    #[must_use]
    pub fn needs_kubernetes(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Kubernetes))
    }

    /// Integration tests that it runs: no other suite does.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.steps.iter().flat_map(Step::names).copied()
    }
}

impl Step {
    fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Verify => &[],
            Self::Tests(tests) => tests.targets.names(),
            Self::Kubernetes => &["kubernetes"],
        }
    }

    fn tests(&self) -> Option<&Tests> {
        match self {
            Self::Verify | Self::Kubernetes => None,
            Self::Tests(tests) => Some(tests),
        }
    }
}

impl Targets {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Named(names) => names,
            Self::Rest | Self::Libraries | Self::Docs => &[],
        }
    }
}

impl Under {
    fn program(self, full: bool) -> Option<Program> {
        match self {
            Self::Nothing => None,
            Self::Program if !full => Some(tested_program()),
            Self::Program | Self::Shipped => Some(shipped_program()),
        }
    }
}

impl Tests {
    /// What has to be built first, so that running them builds nothing.
    ///
    /// # Errors
    /// If the workspace cannot be read.
    pub fn builds(&self, full: bool) -> anyhow::Result<Vec<Call>> {
        // Rustdoc builds its examples when it runs them.
        let tests = (self.targets != Targets::Docs).then(|| self.cargo_test()).transpose()?;
        let program = self.program.program(full).map(Program::build);
        Ok(program.into_iter().chain(tests.map(|tests| tests.arg("--no-run"))).collect())
    }

    /// The command that runs them, with the long ones too if `full`.
    ///
    /// # Errors
    /// If the workspace cannot be read.
    pub fn call(&self, full: bool) -> anyhow::Result<Call> {
        // Every test program has its say: one that fails must not hide the ones behind it.
        let mut call = self.cargo_test()?.args("--no-fail-fast --").args(self.filter);
        if full {
            call = call.arg("--include-ignored");
        }
        if let Some(program) = self.program.program(full) {
            call = call.env(build::PROGRAM_VARIABLE, &program.path());
        }
        Ok(self.environment.iter().fold(call, |call, (name, value)| call.env(name, value)))
    }

    fn cargo_test(&self) -> anyhow::Result<Call> {
        let test = build::cargo("test", self.features);
        let named = |call: Call, name: &str| call.arg("--test").arg(name);
        Ok(match self.targets {
            Targets::Libraries => test.arg("--lib"),
            Targets::Docs => test.arg("--doc"),
            Targets::Named(names) => names.iter().copied().fold(test, named),
            Targets::Rest => {
                let rest = unclaimed()?;
                let rest = rest.iter().map(String::as_str);
                rest.fold(test.args("--lib --bins --examples"), named)
            }
        })
    }
}

/// Integration tests that no suite names: a new file is run by the first suite that runs tests.
fn unclaimed() -> anyhow::Result<Vec<String>> {
    let claimed: Vec<_> = SUITES.iter().flat_map(Suite::names).collect();
    let mut names = workspace::integration_tests()?;
    names.retain(|name| !claimed.contains(&name.as_str()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_suite_has_a_name_of_its_own_and_something_to_run() {
        let names: BTreeSet<_> = SUITES.iter().map(|suite| suite.name).collect();
        assert_eq!(names.len(), SUITES.len());
        assert!(SUITES.iter().all(|suite| !suite.steps.is_empty()));
    }

    #[test]
    fn every_integration_test_is_run_by_a_suite_and_every_name_is_one() {
        let there = workspace::integration_tests().unwrap();
        for name in SUITES.iter().flat_map(Suite::names) {
            assert!(there.iter().any(|test| test == name), "there is no test {name}");
        }
        let rest = unclaimed().unwrap();
        assert!(rest.contains(&"waits".to_owned()), "{rest:?}");
        assert!(!rest.contains(&"process".to_owned()), "{rest:?}");
    }

    #[test]
    fn all_tests_select_the_workspace_and_only_the_long_form_starts_the_release_everywhere() {
        for tests in SUITES.iter().flat_map(|suite| suite.steps).filter_map(Step::tests) {
            assert!(tests.call(false).unwrap().shown().contains("cargo test --workspace "));
        }
        let shipped = |full| SUITES.iter().filter(|suite| suite.needs_shipped(full)).count();
        assert_eq!((shipped(false), shipped(true)), (1, 5));
    }
}
