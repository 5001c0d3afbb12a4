//! Simulator, checkers and suites.

pub mod process;
pub mod xtask;
