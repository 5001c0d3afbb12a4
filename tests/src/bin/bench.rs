//! `cargo xtask bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    dsync_tests::bench::main()
}
