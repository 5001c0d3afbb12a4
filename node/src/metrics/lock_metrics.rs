//! What is counted of locks: what happens to them, wherever it was asked for.
//!
//! Every node applies everything, so every node counts the same; a dashboard shows one of them (or
//! the maximum), never the sum. Entries that were in the log when the process began are not counted
//! again. Times are cluster time.

use dsync_core::locks::{LockEvent, What};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// What happens to locks.
#[derive(Clone, Debug)]
pub struct LockMetrics {
    /// Requests that were granted, claims included.
    pub grants: Counter,
    /// Requests, and wishes to upgrade, that were queued.
    pub waits: Counter,
    /// Shared locks that became exclusive.
    pub upgrades: Counter,
    /// Exclusive locks that became shared.
    pub downgrades: Counter,
    /// Holds that were given back.
    pub releases: Counter,
    /// Holds that were undone because their client never heard of them.
    pub undone: Counter,
    /// Holds whose lease ended.
    pub expiries: Counter,
    /// Claims that nobody took up.
    pub claims_lapsed: Counter,
    /// Waits that were given up.
    pub waits_left: Counter,
    /// Waits that ended because nobody had listened for too long.
    pub places_lapsed: Counter,
    /// Holds that were revoked.
    pub revocations: Counter,
    /// Holds that were ended by force.
    pub forced_releases: Counter,
    /// Requests that were refused.
    pub refusals: Counter,
    /// Requests that were refused because they would have closed a cycle.
    pub deadlocks: Counter,
    /// Seconds that requests waited for their grant, of those that had to wait.
    pub wait_seconds: Histogram,
    /// Seconds for which locks were held, of holds that have ended.
    pub hold_seconds: Histogram,
    live_holds: Gauge,
    live_waits: Gauge,
    listeners: Gauge,
}

impl Default for LockMetrics {
    fn default() -> Self {
        Self {
            grants: Counter::default(),
            waits: Counter::default(),
            upgrades: Counter::default(),
            downgrades: Counter::default(),
            releases: Counter::default(),
            undone: Counter::default(),
            expiries: Counter::default(),
            claims_lapsed: Counter::default(),
            waits_left: Counter::default(),
            places_lapsed: Counter::default(),
            revocations: Counter::default(),
            forced_releases: Counter::default(),
            refusals: Counter::default(),
            deadlocks: Counter::default(),
            wait_seconds: durations(),
            hold_seconds: durations(),
            live_holds: Gauge::default(),
            live_waits: Gauge::default(),
            listeners: Gauge::default(),
        }
    }
}

impl LockMetrics {
    /// Counts what has happened. The driver calls it for every event that it applies.
    pub fn record(&self, event: &LockEvent) {
        self.counter(event.what).iter().for_each(|counter| {
            counter.inc();
        });
        if let Some(histogram) = self.histogram(event) {
            histogram.observe(seconds(event.elapsed_ms));
        }
    }

    /// What there is now: holds and waits in the whole cluster, and requests open at this node.
    pub fn record_live(&self, holds: usize, waits: usize, listeners: usize) {
        let set = |gauge: &Gauge, value| gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        set(&self.live_holds, holds);
        set(&self.live_waits, waits);
        set(&self.listeners, listeners);
    }

    fn counter(&self, what: What) -> Option<&Counter> {
        Some(match what {
            What::Granted | What::ClaimOpened => &self.grants,
            What::Queued | What::UpgradeQueued => &self.waits,
            What::Upgraded => &self.upgrades,
            What::Downgraded => &self.downgrades,
            What::Released => &self.releases,
            What::Undone => &self.undone,
            What::Expired => &self.expiries,
            What::ClaimLapsed => &self.claims_lapsed,
            What::Left => &self.waits_left,
            What::PlaceLapsed => &self.places_lapsed,
            What::Revoked => &self.revocations,
            What::Forced => &self.forced_releases,
            What::Refused => &self.refusals,
            What::Deadlock => &self.deadlocks,
            What::ClaimTaken => return None,
        })
    }

    fn histogram(&self, event: &LockEvent) -> Option<&Histogram> {
        match event.what {
            What::Granted | What::ClaimOpened => event.wait.is_some().then_some(&self.wait_seconds),
            What::Upgraded => (event.elapsed_ms > 0).then_some(&self.wait_seconds),
            What::Released | What::Expired | What::Forced => Some(&self.hold_seconds),
            _ => None,
        }
    }

    pub(super) fn register(&self, to: &mut Registry) {
        let counters = [
            ("lock_grants", "Requests granted, claims included", &self.grants),
            ("lock_waits", "Requests and wishes to upgrade that were queued", &self.waits),
            ("lock_upgrades", "Shared locks that became exclusive", &self.upgrades),
            ("lock_downgrades", "Exclusive locks that became shared", &self.downgrades),
            ("lock_releases", "Holds given back", &self.releases),
            ("lock_undone", "Holds undone because their client never heard", &self.undone),
            ("lock_expiries", "Holds whose lease ended", &self.expiries),
            ("lock_claims_lapsed", "Claims that nobody took up", &self.claims_lapsed),
            ("lock_waits_left", "Waits given up", &self.waits_left),
            ("lock_places_lapsed", "Waits ended because nobody listened", &self.places_lapsed),
            ("lock_revocations", "Holds revoked", &self.revocations),
            ("lock_forced_releases", "Holds ended by force", &self.forced_releases),
            ("lock_refusals", "Requests refused", &self.refusals),
            ("lock_deadlocks", "Requests that would have closed a cycle", &self.deadlocks),
        ];
        for (name, help, counter) in counters {
            to.register(name, help, counter.clone());
        }
        let (waited, held) = (self.wait_seconds.clone(), self.hold_seconds.clone());
        to.register_with_unit("lock_wait", "Time waited for a grant", Unit::Seconds, waited);
        to.register_with_unit("lock_hold", "Time held", Unit::Seconds, held);
        to.register("lock_live_holds", "Holds now", self.live_holds.clone());
        to.register("lock_live_waits", "Waits now", self.live_waits.clone());
        to.register("lock_listeners", "Open requests of this node", self.listeners.clone());
    }
}

#[allow(clippy::cast_precision_loss)]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// From a millisecond, the unit of cluster time, to 36 hours in factors of three.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 3.0, 18))
}

#[cfg(test)]
mod tests {
    use dsync_core::locks::{HoldId, Owner};
    use dsync_core::types::Index;

    use super::*;
    use crate::metrics::Metrics;

    fn event(what: What, elapsed_ms: u64, waited: bool) -> LockEvent {
        let wait = waited.then_some(HoldId { index: Index(3), position: 0 });
        LockEvent {
            what,
            owner: Owner { principal: "p".into(), name: "o".into() },
            items: Vec::new(),
            hold: None,
            wait,
            attachment: None,
            elapsed_ms,
            detail: String::new(),
        }
    }

    #[test]
    fn every_kind_of_event_is_counted_once_and_the_times_are_seconds() {
        let metrics = Metrics::new();
        let events = [
            event(What::Granted, 0, false),
            event(What::Granted, 1_500, true),
            event(What::Released, 2_500, false),
            event(What::Deadlock, 0, false),
        ];
        events.iter().for_each(|event| metrics.locks.record(event));
        metrics.locks.record_live(7, 8, 9);
        let text = metrics.open_metrics();
        for line in [
            "dsync_lock_grants_total 2\n",
            "dsync_lock_releases_total 1\n",
            "dsync_lock_deadlocks_total 1\n",
            "dsync_lock_refusals_total 0\n",
            "dsync_lock_wait_seconds_count 1\n",
            "dsync_lock_wait_seconds_sum 1.5\n",
            "dsync_lock_hold_seconds_sum 2.5\n",
            "dsync_lock_live_holds 7\n",
            "dsync_lock_live_waits 8\n",
            "dsync_lock_listeners 9\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
