//! The pure heart of dsync.
//!
//! Nothing in this crate does I/O, reads a clock, rolls dice or iterates in hash order: time,
//! randomness and the results of I/O come in as arguments, work to do goes out as values. So a whole
//! cluster fits into a unit test, and a simulated run replays bit for bit.
//!
//! Reading order: [`types`], then [`raft`] (its essay first), [`locks`], [`queue`], [`machine`].

pub mod audit;
pub mod cache;
pub mod contract;
#[cfg(test)]
mod dice;
pub mod encoding;
#[cfg(test)]
#[path = "../testing/golden.rs"]
mod golden;
pub mod locks;
pub mod machine;
pub mod proposer;
pub mod queue;
pub mod quorum;
pub mod raft;
pub mod ring;
pub mod types;
pub mod waits;
pub mod wire;
#[cfg(test)]
mod wire_test;

/// True if published bugs can be put back: the feature `bugs`, which no shipped build has.
pub const HAS_BUGS: bool = cfg!(feature = "bugs");
