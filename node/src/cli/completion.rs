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

/// The generators would offer hidden commands too.
fn visible() -> clap::Command {
    let all = super::Cli::command();
    let shown = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned();
    clap::Command::new("dsync").version(crate::VERSION).subcommands(shown)
}

/// Prints the script.
pub(super) fn run(args: &CompletionArgs) -> anyhow::Result<ExitCode> {
    // By way of memory, since the generator panics when its output is closed.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut visible(), "dsync", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
