//! What the trail says of itself to the metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::catalog::Catalog;

/// The trail's numbers.
#[derive(Clone, Debug, Default)]
pub struct AuditMetrics {
    /// Number of the last record applied.
    pub head: Gauge,
    /// Number of the last record written.
    pub written: Gauge,
    /// Bytes of all segments.
    pub bytes: Gauge,
    /// Records that are missing.
    pub missing: Gauge,
    /// 1 while nothing is written: the disk is full, or something is wrong with the trail.
    pub stopped: Gauge,
    /// Records that were not handed to the writer, since too many waited.
    pub overflowed: Counter,
    /// Records fetched from peers.
    pub filled: Counter,
}

impl AuditMetrics {
    /// Copies what a catalog says.
    pub fn record(&self, catalog: &Catalog) {
        set(&self.head, catalog.cursor.count);
        set(&self.written, catalog.last());
        set(&self.bytes, catalog.bytes());
        set(&self.missing, catalog.own_gaps().iter().map(|gap| gap.to + 1 - gap.from).sum());
        self.stopped.set(i64::from(catalog.stopped.is_some()));
    }

    /// Enters them.
    pub fn register(&self, to: &mut Registry) {
        to.register("audit_head_number", "Last audit record applied", self.head.clone());
        to.register("audit_written_number", "Last audit record written", self.written.clone());
        let help = "Size of the audit trail";
        to.register_with_unit("audit_trail", help, Unit::Bytes, self.bytes.clone());
        to.register("audit_missing_records", "Audit records missing here", self.missing.clone());
        to.register("audit_stopped", "1 while no audit record is written", self.stopped.clone());
        to.register(
            "audit_overflowed_records",
            "Audit records not written because too many waited",
            self.overflowed.clone(),
        );
        to.register("audit_filled_records", "Audit records from peers", self.filled.clone());
    }
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}
