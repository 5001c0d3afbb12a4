//! What is counted while it runs. Each thread has its own; at the end they are added up.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// An hour in microseconds: longer than anything here may take.
const LATENCY_US_MAX: u64 = 3_600_000_000;
/// Three digits: the error is below one in a thousand.
const DIGITS: u8 = 3;

/// The time in which everything counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// The end of the warm-up.
    pub(super) from: Instant,
    /// The end.
    pub(super) until: Instant,
}

impl Window {
    /// True from the first moment to before the last one.
    pub(super) fn contains(self, time: Instant) -> bool {
        self.from <= time && time < self.until
    }
}

/// The three times of a cycle that worked.
#[derive(Clone, Copy, Debug)]
pub(super) struct CycleTimes {
    /// When it began, or should have.
    pub(super) planned: Instant,
    /// When the lock was held.
    pub(super) acquired: Instant,
    /// When the release was answered.
    pub(super) released: Instant,
}

/// All counts. Latencies in microseconds.
#[derive(Clone, Debug)]
pub(super) struct Measures {
    pub(super) acquire: Histogram<u64>,
    pub(super) release: Histogram<u64>,
    pub(super) cycle: Histogram<u64>,
    /// Cycles that ended in the window.
    pub(super) finished: u64,
    /// Planned in the window and never begun, or begun and without an end.
    pub(super) unfinished: u64,
    /// Asked again because the lock was held by somebody else.
    pub(super) asked_again: u64,
    /// Cycles that failed, by the code of what failed.
    pub(super) errors: BTreeMap<String, u64>,
}

impl Measures {
    /// Nothing yet.
    ///
    /// # Errors
    /// Never in fact: the bounds are constants that a histogram takes.
    pub(super) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = || Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS);
        Ok(Self {
            acquire: histogram()?,
            release: histogram()?,
            cycle: histogram()?,
            finished: 0,
            unfinished: 0,
            asked_again: 0,
            errors: BTreeMap::new(),
        })
    }

    /// A cycle that worked.
    pub(super) fn cycle(&mut self, window: Window, times: CycleTimes) {
        self.finished += u64::from(window.contains(times.released));
        if !window.contains(times.planned) {
            return;
        }
        record(&mut self.acquire, times.acquired - times.planned);
        record(&mut self.release, times.released - times.acquired);
        record(&mut self.cycle, times.released - times.planned);
    }

    /// A cycle that failed.
    pub(super) fn error(&mut self, window: Window, planned: Instant, code: &str) {
        if window.contains(planned) {
            *self.errors.entry(code.to_owned()).or_default() += 1;
        }
    }

    /// Takes in another thread's counts.
    pub(super) fn add(&mut self, other: &Self) {
        // All histograms have the same bounds, so there is nothing that would not fit.
        let _ = self.acquire.add(&other.acquire);
        let _ = self.release.add(&other.release);
        let _ = self.cycle.add(&other.cycle);
        self.finished += other.finished;
        self.unfinished += other.unfinished;
        self.asked_again += other.asked_again;
        for (code, count) in &other.errors {
            *self.errors.entry(code.clone()).or_default() += count;
        }
    }
}

fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(LATENCY_US_MAX));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_by_the_planned_start_and_the_rate_by_the_end() {
        let zero = Instant::now();
        let at = |ms| zero + Duration::from_millis(ms);
        let window = Window { from: at(100), until: at(200) };
        let times = |planned, acquired, released| CycleTimes {
            planned: at(planned),
            acquired: at(acquired),
            released: at(released),
        };
        let mut measures = Measures::new().unwrap();
        measures.cycle(window, times(90, 95, 110));
        assert_eq!((measures.cycle.len(), measures.finished), (0, 1), "began in the warm-up");
        measures.cycle(window, times(190, 195, 210));
        assert_eq!((measures.cycle.len(), measures.finished), (1, 1), "ended after the end");
        measures.cycle(window, times(100, 150, 160));
        assert_eq!((measures.cycle.len(), measures.finished), (2, 2));
        assert!(measures.acquire.max().abs_diff(50_000) < 100, "from the planned start");
        assert!(measures.cycle.max().abs_diff(60_000) < 100);
        measures.error(window, at(90), "early");
        measures.error(window, at(100), "late");
        assert_eq!(measures.errors.keys().collect::<Vec<_>>(), ["late"]);
    }
}
