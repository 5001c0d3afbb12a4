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

/// With simulated files and sockets there is nothing for a command to do but to say so.
#[cfg(feature = "simulated")]
fn main() -> ExitCode {
    use std::io::Write;
    let said = writeln!(std::io::stdout(), "dsync {}", dsync_node::VERSION);
    let asked = std::env::args_os().nth(1).is_some_and(|argument| argument == "--version");
    if asked && said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
