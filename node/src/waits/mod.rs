//! The runtime's side of waiting for locks: the story itself is `dsync_core::waits`, where a simulator
//! can run it.
//!
//! What is left here is what needs a runtime: a clock and timers for the futures (`site.rs`), and the
//! task that does what the upkeep decides (`upkeep.rs`).

mod patience;
mod site;
mod upkeep;

#[cfg(test)]
mod tests;

pub use dsync_core::waits::{Answer, Listeners, WaitOutcome};
pub(crate) use dsync_core::waits::{ask, stop_listening};
pub use patience::Patience;
pub(crate) use site::HandleClock;
pub(crate) use upkeep::UpkeepTask;
