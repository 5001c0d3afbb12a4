//! How long to wait after a failure: each cluster by itself, longer each time, from the beginning
//! after a success. One that always fails costs little and delays nobody.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(120);

/// Failures in a row, by cluster.
#[derive(Debug, Default)]
pub struct Backoffs(Mutex<BTreeMap<String, u32>>);

impl Backoffs {
    /// It went well, or it is gone.
    pub fn reset(&self, cluster: &str) {
        self.lock().remove(cluster);
    }

    /// It failed again. Says how long to wait.
    pub fn failed(&self, cluster: &str) -> Duration {
        let mut all = self.lock();
        let failures = all.entry(cluster.to_owned()).or_default();
        let delay = FIRST.saturating_mul(2_u32.saturating_pow(*failures)).min(LONGEST);
        *failures = failures.saturating_add(1);
        delay
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, u32>> {
        // A map is whole between any two of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_always_fails_is_tried_twelve_times_in_ten_minutes() {
        let backoffs = Backoffs::default();
        let mut tries = 1;
        let mut at = backoffs.failed("a/x");
        while at < Duration::from_secs(600) {
            tries += 1;
            at += backoffs.failed("a/x");
        }
        assert!(tries <= 12, "{tries}");
        assert_eq!(backoffs.failed("a/y"), FIRST, "others are not delayed");
        backoffs.reset("a/x");
        assert_eq!(backoffs.failed("a/x"), FIRST);
    }
}
