//! Waiting for locks, as the node that has the client's connection sees it.

mod outcome;

pub use outcome::WaitOutcome;
