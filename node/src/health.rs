//! What the probes need to know and nobody else tells: is the process stuck, is the disk stuck, has
//! it started, is it leaving.
//!
//! The driver's loop beats once per turn, the log's writer says when a sync begins and ends. A probe
//! compares ages only, so neither can be made to wait by a probe, and none of it depends on other
//! nodes: a liveness probe that asks for a quorum kills the very nodes that a quorum is waiting for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A loop that has not turned, or a sync that has not returned, for this long is stuck. Far above
/// any election timeout: consensus has stopped counting on such a node long before.
pub const STUCK_AFTER: Duration = Duration::from_secs(30);

/// Shared by those who report and those who probe. Clones are the same thing.
#[derive(Clone, Debug)]
pub struct Health(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    began: Instant,
    /// Milliseconds since `began`, plus 1; 0: never.
    beat: AtomicU64,
    /// Milliseconds since `began`, plus 1, of the oldest sync under way; 0: none.
    sync: AtomicU64,
    started: AtomicBool,
    draining: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// Nothing has been reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            began: Instant::now(),
            beat: AtomicU64::new(0),
            sync: AtomicU64::new(0),
            started: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }))
    }

    /// The driver's loop has turned. It must do so every few seconds even when nothing happens.
    pub fn beat(&self) {
        self.0.beat.store(self.now(), Ordering::Relaxed);
    }

    /// A sync of the log begins.
    pub fn sync_begins(&self) {
        self.0.sync.store(self.now(), Ordering::Relaxed);
    }

    /// It has returned.
    pub fn sync_ended(&self) {
        self.0.sync.store(0, Ordering::Relaxed);
    }

    /// The log is recovered and the ports are open.
    pub fn set_started(&self) {
        self.0.started.store(true, Ordering::Release);
    }

    /// The node is on its way out: it must get no new clients.
    pub fn set_draining(&self) {
        self.0.draining.store(true, Ordering::Release);
    }

    /// See [`set_started`](Self::set_started).
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.0.started.load(Ordering::Acquire)
    }

    /// See [`set_draining`](Self::set_draining).
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.0.draining.load(Ordering::Acquire)
    }

    /// Since when the driver's loop has not turned; `None` before its first turn.
    #[must_use]
    pub fn beat_age(&self) -> Option<Duration> {
        self.age(self.0.beat.load(Ordering::Relaxed))
    }

    /// Since when a sync is under way; `None` if none is.
    #[must_use]
    pub fn sync_age(&self) -> Option<Duration> {
        self.age(self.0.sync.load(Ordering::Relaxed))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1) + 1
    }

    fn age(&self, mark: u64) -> Option<Duration> {
        (mark != 0).then(|| Duration::from_millis(self.now().saturating_sub(mark)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_old_before_it_has_happened_or_after_it_has_ended() {
        let health = Health::new();
        assert_eq!((health.beat_age(), health.sync_age()), (None, None));
        health.sync_begins();
        health.beat();
        assert!(health.sync_age().is_some() && health.beat_age().is_some());
        health.sync_ended();
        assert_eq!(health.sync_age(), None);
    }
}
