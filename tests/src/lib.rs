//! Simulator, checkers and suites.

pub mod xtask;
