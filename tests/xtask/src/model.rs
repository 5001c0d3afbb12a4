//! `cargo xtask model`: caches under every order of events.

use clap::Args;

use super::build::{Features, cargo};
use super::command::Call;

/// `cargo xtask model`.
#[derive(Args, Debug)]
pub struct ModelArgs {
    /// Only those with this in their name.
    #[arg(default_value = "")]
    name: String,

    /// The long ones too: hours, and several GiB.
    #[arg(long)]
    full: bool,
}

/// Builds the model and runs it.
///
/// # Errors
/// If it does not build, or a rule does not hold.
pub fn run(args: &ModelArgs) -> anyhow::Result<()> {
    call(args).run()
}

/// One at a time: each keeps its states in memory.
fn call(args: &ModelArgs) -> Call {
    let test = cargo("test", Features::Test).args("--test cache_model --");
    let test = test.args("--nocapture --test-threads 1");
    let test = if args.full { test.arg("--include-ignored") } else { test };
    test.args(&args.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_long_models_run_only_if_asked_for() {
        let shown = |full| call(&ModelArgs { name: "one".to_owned(), full }).shown();
        assert!(shown(false).contains("--test cache_model -- --nocapture"), "{}", shown(false));
        assert!(!shown(false).contains("ignored"));
        assert!(shown(true).ends_with("--include-ignored one"), "{}", shown(true));
    }
}
