//! `cargo xtask verify`: everything that can be checked without running tests. Changes nothing.

use anyhow::bail;

use super::build::{self, Features};
use super::checks;
use super::command::Call;
use super::generate;
use super::kube;
use super::outcome::Counts;
use super::workspace::{self, files};

/// One check: nothing to say, or what is wrong, a line each.
type Check = fn() -> anyhow::Result<Vec<String>>;

/// Quick ones first.
const CHECKS: [(&str, Check); 11] = [
    ("top level", || checks::top_level::check(workspace::root())),
    ("layering", || checks::layering::check(workspace::root())),
    ("links", || Ok(checks::links::check(workspace::root(), &files(workspace::root(), &[".md"])?))),
    ("stray words", || Ok(checks::words::check(&files(workspace::root(), &[".rs"])?))),
    ("file length", || Ok(checks::length::check(&files(workspace::root(), &[".rs"])?))),
    ("images", kube::check_dockerfiles),
    ("format", || cargo("fmt --all --check -- -l", "")),
    ("lints", || lint(Features::Shipped)),
    ("lints of tests", || lint(Features::Test)),
    ("docs", || {
        // Examples make it a build with the tests' dependencies, as all others are.
        cargo("doc --quiet --workspace --no-deps --lib --bins --examples", "-D warnings")
    }),
    ("generated files", generate::stale),
];

/// Runs every check.
///
/// # Errors
/// If one of them has something to say.
pub fn run() -> anyhow::Result<()> {
    match count().failed {
        0 => Ok(()),
        failed => bail!("{failed} of {} checks failed", CHECKS.len()),
    }
}

/// Runs every check and counts.
#[must_use]
pub fn count() -> Counts {
    let mut counts = Counts::default();
    for (name, check) in CHECKS {
        let complaints = check().unwrap_or_else(|error| vec![format!("{error:#}")]);
        println!("{:<16} {}", name, if complaints.is_empty() { "ok" } else { "FAILED" });
        for complaint in &complaints {
            println!("  {complaint}");
        }
        if complaints.is_empty() {
            counts.passed += 1;
        } else {
            counts.failed += 1;
        }
    }
    counts
}

fn lint(features: Features) -> anyhow::Result<Vec<String>> {
    let clippy = build::cargo("clippy", features).args("--quiet --all-targets -- -D warnings");
    clippy.run().map(|()| Vec::new())
}

fn cargo(arguments: &str, rustdoc_flags: &str) -> anyhow::Result<Vec<String>> {
    let call = match rustdoc_flags {
        "" => Call::cargo(arguments),
        flags => Call::cargo(arguments).env("RUSTDOCFLAGS", flags),
    };
    call.run().map(|()| Vec::new())
}
