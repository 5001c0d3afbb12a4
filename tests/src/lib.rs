//! Simulator, checkers, suites and the bench.

pub mod bench;
mod checkers;
pub mod process;
pub mod simulator;
