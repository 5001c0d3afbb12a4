//! What the caches count.

use dsync_core::cache::WriteOutcome;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::{CacheError, CacheStats};
use crate::metrics::ReasonLabel;

/// What the caches of a node count. Clones share their values.
#[derive(Clone, Debug)]
pub struct CacheMetrics {
    /// Gets that were served from what is kept here, without a message.
    pub hits: Counter,
    /// Gets that asked a home.
    pub misses: Counter,
    /// Why a look-up found nothing to serve.
    pub missed: Family<ReasonLabel, Counter>,
    /// Writes, by what became of them.
    pub writes: Family<OutcomeLabel, Counter>,
    /// Seconds from taking a write in to its answer: the wait for sharers is in it.
    pub write_seconds: Histogram,
    /// Messages sent to other nodes, by kind.
    pub messages_sent: Family<KindLabel, Counter>,
    /// Messages of other nodes, by kind.
    pub messages_received: Family<KindLabel, Counter>,
    /// Values that are kept.
    pub entries: Gauge,
    /// What they take.
    pub bytes: Gauge,
    /// Values that had to make room for others.
    pub evictions: Gauge,
    /// Sessions with other homes that run.
    pub sessions: Gauge,
    /// 1 while this node serves as a home.
    pub home: Gauge,
    /// Homes in the ring that is installed.
    pub homes: Gauge,
    /// The epoch of that ring.
    pub epoch: Gauge,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `done`, `condition_failed`, `unavailable` or `unknown`.
    pub outcome: &'static str,
}

/// A kind of message.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// The word.
    pub kind: &'static str,
}

impl Default for CacheMetrics {
    fn default() -> Self {
        Self {
            hits: Counter::default(),
            misses: Counter::default(),
            missed: Family::default(),
            writes: Family::default(),
            // From 100 µs, a round trip, to about 6 s, beyond the longest wait.
            write_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 17)),
            messages_sent: Family::default(),
            messages_received: Family::default(),
            entries: Gauge::default(),
            bytes: Gauge::default(),
            evictions: Gauge::default(),
            sessions: Gauge::default(),
            home: Gauge::default(),
            homes: Gauge::default(),
            epoch: Gauge::default(),
        }
    }
}

impl CacheMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        self.register_counters(registry);
        for (name, help, gauge) in [
            ("cache_entries", "Values that are kept", &self.entries),
            ("cache_evicted", "Values that had to make room, since the start", &self.evictions),
            ("cache_sessions", "Sessions with other homes that run", &self.sessions),
            ("cache_home", "1 while this node serves as a home", &self.home),
            ("cache_ring_homes", "Homes in the ring", &self.homes),
            ("cache_ring_epoch", "Epoch of the ring", &self.epoch),
        ] {
            registry.register(name, help, gauge.clone());
        }
        let help = "What the values that are kept take";
        registry.register_with_unit("cache", help, Unit::Bytes, self.bytes.clone());
    }

    fn register_counters(&self, registry: &mut Registry) {
        registry.register("cache_hits", "Gets served without a message", self.hits.clone());
        registry.register("cache_misses", "Gets that asked a home", self.misses.clone());
        let help = "Why look-ups found nothing to serve";
        registry.register("cache_missed", help, self.missed.clone());
        registry.register("cache_writes", "Writes by what became of them", self.writes.clone());
        let help = "From taking a write in to its answer, the wait for sharers included";
        registry.register_with_unit("cache_write", help, Unit::Seconds, self.write_seconds.clone());
        let help = "Messages sent to other nodes' caches";
        registry.register("cache_messages_sent", help, self.messages_sent.clone());
        let help = "Messages of other nodes' caches";
        registry.register("cache_messages_received", help, self.messages_received.clone());
    }

    pub(super) fn missed(&self, reason: &'static str) {
        self.missed.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(super) fn sent(&self, kind: &'static str) {
        self.messages_sent.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn received(&self, kind: &'static str) {
        self.messages_received.get_or_create(&KindLabel { kind }).inc();
    }

    pub(super) fn count_write(&self, outcome: &Result<WriteOutcome, CacheError>) {
        let outcome = match outcome {
            Ok(WriteOutcome::Done(_)) => "done",
            Ok(WriteOutcome::ConditionFailed(_)) => "condition_failed",
            Ok(WriteOutcome::Unknown) | Err(CacheError::Unknown) => "unknown",
            Ok(WriteOutcome::Unavailable) | Err(_) => "unavailable",
        };
        self.writes.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    pub(super) fn measure(&self, stats: &CacheStats) {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.entries.set(number(stats.usage.entries));
        self.bytes.set(number(stats.usage.bytes));
        self.evictions.set(i64::try_from(stats.evictions).unwrap_or(i64::MAX));
        self.sessions.set(number(stats.sessions));
        self.home.set(stats.home.into());
        self.homes.set(number(stats.homes));
        self.epoch.set(i64::try_from(stats.epoch).unwrap_or(i64::MAX));
    }
}
