//! Simulator, checkers and suites.

pub mod cache_model;
mod checkers;
pub mod process;
pub mod simulator;
pub mod xtask;
