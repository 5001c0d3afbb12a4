//! `cargo xtask fix`: what `verify` would complain of and a machine can put right.

use super::command::Call;
use super::generate;

/// Rewrites sources and generated files.
///
/// # Errors
/// If a step fails.
pub fn run() -> anyhow::Result<()> {
    let clippy = "clippy --fix --allow-dirty --allow-staged --workspace --all-targets";
    Call::cargo(clippy).run()?;
    Call::cargo("fmt --all").run()?;
    generate::write()
}
