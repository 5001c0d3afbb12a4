//! How long a client waits, and for what.

use std::time::{Duration, Instant};

use dsync_core::waits::Asked;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the grant, from the call on. Zero: try only, and do not queue.
    pub wait: Duration,
    /// Until when the request's entry must be applied. Each later step (leaving the queue, proving a
    /// grant) gets as long as this is away at the call.
    pub deadline: Instant,
}

impl Patience {
    /// A request with this patience, which begins now.
    pub(crate) fn asks<F>(self, operation: F) -> Asked<F> {
        let now = tokio::time::Instant::now().into_std();
        let step = self.deadline.saturating_duration_since(now);
        Asked { operation, wait_ms: whole_ms(self.wait), step_ms: whole_ms(step) }
    }
}

/// Rounded up: a wait of half a millisecond is a wait.
fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
