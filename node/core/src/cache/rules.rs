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
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            session_ms: 1_000,
            home_lease_ms: 1_500,
            drift_ppm: 1_000,
            rounding_ms: 2,
            patience_ms: 5_000,
        }
    }
}

impl Rules {
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
