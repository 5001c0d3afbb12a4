//! The `dsync` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    dsync_node::cli::main()
}
