//! Simulator, checkers and suites.

mod checkers;
pub mod process;
pub mod simulator;
pub mod xtask;
