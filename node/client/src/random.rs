//! Chance: for names that nobody else has, and for pauses that are never the same.

use std::hash::{BuildHasher, RandomState};

/// A number that no other client has.
pub(crate) fn number() -> u64 {
    // Without the system's source (a machine just booting), the standard library's keys are the next
    // best: they differ between processes and between calls.
    getrandom::u64().unwrap_or_else(|_| RandomState::new().hash_one(std::process::id()))
}

/// From 0 to below 1.
pub(crate) fn fraction() -> f64 {
    f64::from(u32::try_from(number() >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}
