//! The numbers that the protocol obeys. Replicated settings: two nodes that disagreed about a lease's
//! length would disagree about when it is over.

use serde::{Deserialize, Serialize};

/// The rules in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Rules {
    /// Length of a session's lease. The longest that a write waits for a silent sharer is 1.25 of it.
    pub session_ms: u64,
    /// Length of a home's lease from the leader.
    pub home_lease_ms: u64,
    /// By how much two clocks' rates may differ, in parts per million.
    pub drift_ppm: u64,
    /// What whole milliseconds hide: a reading may be up to one too early, at both ends.
    pub rounding_ms: u64,
    /// How long a request waits for a home that serves.
    pub patience_ms: u64,
    /// How long a home that was suspended stays out of the ring; twice as long each time that it is
    /// suspended soon after it entered.
    pub return_delay_ms: u64,
    /// The longest such time; also, what "soon" means.
    pub return_delay_ms_max: u64,
}

/// Rules that contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RulesError {
    /// A lease that is over before it can be renewed.
    #[error("caches.{field} = {ms} must be between {min} and {max}")]
    OutOfRange {
        /// Which.
        field: &'static str,
        /// What it is.
        ms: u64,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            session_ms: 1_000,
            home_lease_ms: 1_500,
            drift_ppm: 1_000,
            rounding_ms: 2,
            patience_ms: 5_000,
            return_delay_ms: 1_000,
            return_delay_ms_max: 60_000,
        }
    }
}

impl Rules {
    /// Checks what must hold; before a founding entry with them is held.
    ///
    /// # Errors
    /// The first value that is out of range.
    pub fn check(&self) -> Result<(), RulesError> {
        let minute = 60_000;
        within("session_ms", self.session_ms, 30, minute)?;
        within("home_lease_ms", self.home_lease_ms, self.session_ms, minute)?;
        within("drift_ppm", self.drift_ppm, 0, 100_000)?;
        within("rounding_ms", self.rounding_ms, 2, minute)?;
        within("patience_ms", self.patience_ms, 1, minute)?;
        within("return_delay_ms_max", self.return_delay_ms_max, 1, 60 * minute)?;
        within("return_delay_ms", self.return_delay_ms, 0, self.return_delay_ms_max)
    }

    /// How long the giver of a lease of `ms` waits before it takes it to be over: the holder's clock
    /// may be slower than its own.
    #[must_use]
    pub fn stretched(&self, ms: u64) -> u64 {
        let drift = ms.saturating_mul(self.drift_ppm).div_ceil(1_000_000);
        ms.saturating_add(drift).saturating_add(self.rounding_ms)
    }

    /// How often a sharer renews.
    #[must_use]
    pub fn renew_every_ms(&self) -> u64 {
        (self.session_ms / 3).max(1)
    }

    /// An invalidation that is unanswered for so long stops renewals (R10).
    #[must_use]
    pub fn unanswered_max_ms(&self) -> u64 {
        self.session_ms / 4
    }
}

fn within(field: &'static str, ms: u64, min: u64, max: u64) -> Result<(), RulesError> {
    match (min..=max).contains(&ms) {
        true => Ok(()),
        false => Err(RulesError::OutOfRange { field, ms, min, max }),
    }
}
