//! Simulator, checkers, suites and the bench.

pub mod bench;
#[cfg(feature = "bugs")]
pub mod cache_model;
mod checkers;
#[cfg(feature = "bugs")]
pub mod home_lease_model;
pub mod process;
pub mod simulator;
