//! Developer commands: `cargo xtask help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dsync_tests::xtask::main()
}
