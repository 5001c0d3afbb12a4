//! The `dsync` command.

use std::process::ExitCode;

/// A node allocates in one thread what another one frees, all the time; and musl's own allocator would
/// make a static build many times slower.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[cfg(not(feature = "simulated"))]
fn main() -> ExitCode {
    dsync_node::cli::main()
}

/// With simulated files and sockets there is nothing for a command to do.
#[cfg(feature = "simulated")]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
