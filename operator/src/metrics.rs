//! What the operator counts about itself.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a look ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabel {
    /// `ok` or `error`.
    pub result: &'static str,
}

/// All counters. Clones count the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Looks at a cluster.
    pub reconciles: Family<ResultLabel, Counter>,
    /// How long a look took, in seconds.
    pub reconcile_seconds: Histogram,
    /// Writes of children and of the status.
    pub writes: Counter,
    /// Pods that were replaced.
    pub restarts: Counter,
    /// 1: this process is the one that acts.
    pub leader: Gauge,
    /// Seconds since anything was heard from the API server's watches, when last asked.
    pub watch_age_seconds: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            reconciles: Family::default(),
            reconcile_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 12)),
            writes: Counter::default(),
            restarts: Counter::default(),
            leader: Gauge::default(),
            watch_age_seconds: Gauge::default(),
        }
    }
}

impl Metrics {
    /// In the form that Prometheus reads.
    #[must_use]
    pub fn exposition(&self) -> String {
        let mut registry = Registry::with_prefix("dsync_operator");
        registry.register("reconciles", "Looks at a cluster", self.reconciles.clone());
        registry.register(
            "reconcile_seconds",
            "How long a look at a cluster took",
            self.reconcile_seconds.clone(),
        );
        registry.register("writes", "Writes of children and of the status", self.writes.clone());
        registry.register("restarts", "Pods that were replaced", self.restarts.clone());
        registry.register("leader", "1: this process is the one that acts", self.leader.clone());
        registry.register(
            "watch_age_seconds",
            "Seconds since anything was heard from the watches",
            self.watch_age_seconds.clone(),
        );
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_the_names_that_the_documentation_gives() {
        let metrics = Metrics::default();
        metrics.reconciles.get_or_create(&ResultLabel { result: "ok" }).inc();
        let text = metrics.exposition();
        for line in ["dsync_operator_reconciles_total{result=\"ok\"} 1", "dsync_operator_leader 0"]
        {
            assert!(text.contains(line), "{text}");
        }
    }
}
