//! The client's clock: time since boot, counting while the machine sleeps.
//!
//! A lease is counted on it. A clock that stops during suspension would let a laptop wake up, hours
//! after its lease ended, with "20 seconds left". Readings of two machines mean nothing to each other;
//! two processes of one machine read the same clock.

use std::time::Duration;

/// A moment on this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootInstant {
    since_boot_ns: u64,
}

impl BootInstant {
    /// Reads the clock.
    #[cfg(target_os = "linux")]
    #[must_use]
    pub fn now() -> Self {
        let reading = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let seconds = u64::try_from(reading.tv_sec).unwrap_or(0);
        let nanoseconds = u64::try_from(reading.tv_nsec).unwrap_or(0);
        Self { since_boot_ns: seconds * 1_000_000_000 + nanoseconds }
    }

    /// Reads the clock: elsewhere the best there is in the standard library. On some systems that one
    /// stops while the machine sleeps.
    #[cfg(not(target_os = "linux"))]
    #[must_use]
    pub fn now() -> Self {
        use std::sync::OnceLock;
        use std::time::Instant;
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        Self { since_boot_ns: 1 + u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX - 1) }
    }

    /// The moment that many nanoseconds after boot: how another process of this machine names one.
    #[must_use]
    pub const fn from_since_boot_ns(since_boot_ns: u64) -> Self {
        Self { since_boot_ns }
    }

    /// Nanoseconds after boot.
    #[must_use]
    pub const fn since_boot_ns(self) -> u64 {
        self.since_boot_ns
    }

    /// That much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { since_boot_ns: self.since_boot_ns.saturating_add(ns) }
    }

    /// That much earlier, not before boot.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { since_boot_ns: self.since_boot_ns.saturating_sub(ns) }
    }

    /// Resolves when it has come; after a suspension of the machine at once, which the timers of an
    /// async runtime do not.
    pub async fn reached(self) {
        crate::alarm::sleep_until(self).await;
    }

    /// From `earlier` to this; zero if that is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.since_boot_ns.saturating_sub(earlier.since_boot_ns))
    }
}
