//! The one clock that safety may hang on: time since boot, counting while the machine sleeps.
//!
//! A monotonic clock that stops during suspension would let a laptop wake up and believe that a lease
//! or a leader's silence is younger than it is. Two machines' readings mean nothing to each other, and
//! no reading goes into the log.

use dsync_core::types::LocalTime;

/// Reads the clock.
#[cfg(all(target_os = "linux", not(feature = "simulated")))]
#[must_use]
pub fn now() -> LocalTime {
    let reading = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(reading.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(reading.tv_nsec).unwrap_or(0);
    LocalTime(seconds * 1_000 + nanoseconds / 1_000_000)
}

/// Reads the clock: elsewhere the best there is in the standard library, and in a simulation the
/// simulated one.
#[cfg(any(not(target_os = "linux"), feature = "simulated"))]
#[must_use]
pub fn now() -> LocalTime {
    use std::sync::OnceLock;
    static START: OnceLock<tokio::time::Instant> = OnceLock::new();
    let start = *START.get_or_init(tokio::time::Instant::now);
    let elapsed = tokio::time::Instant::now().saturating_duration_since(start);
    LocalTime(1_000_000 + u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
