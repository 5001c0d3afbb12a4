//! The `dsync` command.

use std::process::ExitCode;

#[cfg(not(feature = "simulated"))]
fn main() -> ExitCode {
    dsync_node::cli::main()
}

/// With simulated files and sockets there is nothing for a command to do.
#[cfg(feature = "simulated")]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
