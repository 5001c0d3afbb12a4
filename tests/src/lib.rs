//! Simulator, checkers, suites and the bench.

pub mod bench;
#[cfg(feature = "bugs")]
pub mod cache_model;
mod checkers;
pub mod process;
pub mod simulator;
