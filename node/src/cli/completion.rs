//! `dsync completion`: a script that completes commands and options in a shell.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

/// `dsync completion`.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(dsync completion bash)
  dsync completion zsh > \"${fpath[1]}/_dsync\"
  dsync completion fish > ~/.config/fish/completions/dsync.fish")]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    // By way of memory, since the generator panics when its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::Cli::command(), "dsync", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
