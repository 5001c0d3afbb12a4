//! Times that were measured, and how they are printed.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

/// From how many on the 99th percentile says something.
const ENOUGH_FOR_P99: usize = 100;

/// Says what a suite measured. Goes round the test harness, which would show it only when the test fails.
pub fn measured(line: &str) {
    let _ = io::stderr().write_all(format!("measured: {line}\n").as_bytes());
}

/// Some durations of the same thing.
#[derive(Clone, Debug, Default)]
pub struct Percentiles(Vec<Duration>);

impl Percentiles {
    /// One more.
    pub fn add(&mut self, time: Duration) {
        let at = self.0.partition_point(|other| *other <= time);
        self.0.insert(at, time);
    }

    /// The time that `percent` of them do not exceed (nearest rank); zero if there is none.
    #[must_use]
    pub fn at(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.at(100)
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p50 {:.1?}", self.at(50))?;
        if self.0.len() >= ENOUGH_FOR_P99 {
            write!(f, ", p99 {:.1?}", self.at(99))?;
        }
        write!(f, ", max {:.1?}, n {}", self.max(), self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_by_nearest_rank() {
        let mut times = Percentiles::default();
        for ms in (1..=100).rev() {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!(times.to_string(), "p50 50.0ms, p99 99.0ms, max 100.0ms, n 100");
        assert_eq!(Percentiles::default().max(), Duration::ZERO);
    }
}
