//! Virtual time: what the run's clock says, and what each machine's own clock makes of it.

use std::fmt;

use dsync_core::types::LocalTime;

/// A moment of the run, in microseconds since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant(pub(crate) u64);

impl Instant {
    pub(crate) fn plus_us(self, us: u64) -> Self {
        Self(self.0 + us)
    }

    pub(crate) fn plus_ms(self, ms: u64) -> Self {
        Self(self.0 + ms * 1_000)
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>4}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A machine's boot-time clock: an arbitrary start, and a rate that is a little off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    offset_us: u64,
    /// Its rate in millionths of the true one: 1,000,000 is exact.
    rate_ppm: u64,
}

impl Clock {
    /// `drift_ppm` between 0 and 1,000 stands for -500 to +500 millionths: two clocks of a run differ
    /// by at most the 0.1 % that the design allows for.
    pub(crate) fn new(offset_us: u64, drift_ppm: u64) -> Self {
        Self { offset_us, rate_ppm: 999_500 + drift_ppm }
    }

    pub(crate) fn read_us(&self, now: Instant) -> u64 {
        self.offset_us
            + now.0 / 1_000_000 * self.rate_ppm
            + now.0 % 1_000_000 * self.rate_ppm / 1_000_000
    }

    pub(crate) fn read(&self, now: Instant) -> LocalTime {
        LocalTime(self.read_us(now) / 1_000)
    }
}
