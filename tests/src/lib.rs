//! Simulator, checkers and suites.

mod checkers;
pub mod simulator;
pub mod xtask;
