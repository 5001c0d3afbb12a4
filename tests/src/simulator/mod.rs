//! Whole clusters of the real core in one thread, under a seeded storm of faults.
//!
//! Nothing here waits: time is a number, and the next event is whatever is due next. All chance comes
//! from one generator, so a seed *is* the run: it replays bit for bit, on any machine, as often as
//! needed. What runs is the shipped core and machine, byte for byte; only what surrounds them (disk,
//! network, clock, clients) is simulated.
//!
//! Reading order: `world.rs` (the loop), `process.rs` (the shell of a node) and `process/serving.rs`
//! (its side of waiting), `disk.rs`, `network.rs`,
//! `faults.rs`, `swarm.rs` (what a seed decides), `clients.rs`, `lockers/`, `heal.rs` (the end of every run), then
//! the rules in `crate::checkers`.

mod ask;
mod clients;
mod command_line;
mod disk;
mod faults;
mod heal;
mod lockers;
mod network;
mod node;
mod process;
mod put_back;
mod queue;
mod rng;
mod run;
#[cfg(test)]
mod serving_test;
mod swarm;
mod time;
mod trace;
mod world;

pub use command_line::{Options, simulate};
pub use run::{Report, Run, Violation};

pub(crate) use ask::Answer;
pub(crate) use disk::{Image, Shape};
pub(crate) use time::Instant;
