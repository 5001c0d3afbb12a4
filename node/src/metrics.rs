//! What the node counts, as one struct of handles.
//!
//! Every handle is a cheap clone of a shared cell: the driver, the log's writer and the HTTP server
//! each keep a [`Metrics`] and fill their own part; nobody asks a registry for a name at run time, so
//! a misspelt metric does not compile. Names are `dsync_...` in base units (seconds, bytes) and are
//! registered without `_total`: the encoder adds it, and would add it twice.
//!
//! No lock or owner name is ever a label: their number is the users', and every value of a label is
//! a series that lives as long as the process.

mod lock_metrics;
mod queue_metrics;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use dsync_core::raft::RoleKind;
use dsync_core::types::{NodeId, Term};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::audit::AuditMetrics;
use crate::caches::CacheMetrics;
use crate::handle::NodeStatus;
pub use lock_metrics::LockMetrics;
pub use queue_metrics::QueueMetrics;

/// Every metric of a node. Clones share their values.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Consensus; filled by the driver.
    pub raft: RaftMetrics,
    /// The log on disk; filled by its writer.
    pub log: LogMetrics,
    /// Locks, as this node applies them; filled by the driver.
    pub locks: LockMetrics,
    /// Queues; filled when they are asked for.
    pub queues: QueueMetrics,
    /// The HTTP ports; filled by the server.
    pub http: HttpMetrics,
    /// What the audit trail does.
    pub audit: AuditMetrics,
    /// What the caches do.
    pub caches: CacheMetrics,
    registry: Arc<Registry>,
}

/// What consensus does.
#[derive(Clone, Debug)]
pub struct RaftMetrics {
    /// 1 for the role that the node has, 0 for the others.
    pub role: Family<RoleLabel, Gauge>,
    /// Its term.
    pub term: Gauge,
    /// Last entry known to be committed.
    pub commit: Gauge,
    /// Last entry applied.
    pub applied: Gauge,
    /// Last entry in the log.
    pub last: Gauge,
    /// Last entry known to be synced here.
    pub durable: Gauge,
    /// 1 while a leader is known.
    pub has_leader: Gauge,
    /// How often the known leader became another one.
    pub leader_changes: Counter,
    /// Commands that this node handed to a leader.
    pub proposals: Counter,
    /// Those of them that went to a leader on another node.
    pub forwarded: Counter,
    /// Seconds from taking a command in to its being applied here.
    pub commit_seconds: Histogram,
    /// Commands that were not taken, by reason.
    pub refused: Family<ReasonLabel, Counter>,
    /// Seconds to apply one batch of entries.
    pub apply_seconds: Histogram,
    /// Entries applied.
    pub applied_entries: Counter,
    last_leader: Arc<Mutex<Option<(Term, NodeId)>>>,
}

/// What the log on disk does.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Seconds of one fdatasync.
    pub sync_seconds: Histogram,
    /// Records that one fdatasync made durable.
    pub batch_records: Histogram,
    /// Bytes handed to the disk.
    pub written_bytes: Counter,
    /// 1 while there is no room for another segment.
    pub full: Gauge,
}

/// What the HTTP ports do.
#[derive(Clone, Debug)]
pub struct HttpMetrics {
    /// Requests answered.
    pub requests: Family<RequestLabels, Counter>,
    /// Seconds from a request's head to its answer's head, by route.
    pub request_seconds: Family<RouteLabel, Histogram, SecondsOf>,
    /// Open connections.
    pub connections: Family<PortLabel, Gauge>,
    /// Connections turned away because the cap was reached.
    pub connections_refused: Family<PortLabel, Counter>,
    /// Connections cut because the peer was silent or slow.
    pub connections_timed_out: Family<PortLabel, Counter>,
}

/// A node's role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RoleLabel {
    /// `leader`, `follower` or `candidate`.
    pub role: &'static str,
}

/// A reason, as a word of the code's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// The word.
    pub reason: &'static str,
}

/// A port of the node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PortLabel {
    /// `client` or `admin`.
    pub port: &'static str,
}

/// A route, by its template and never by its path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabel {
    /// The template; `none` for a path that has no route.
    pub route: String,
}

/// A kind of answered request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// The route's template; `none` for a path that has no route.
    pub route: String,
    /// The method; `other` for one that HTTP does not define.
    pub method: &'static str,
    /// The status of the answer.
    pub status: u16,
}

/// Makes the histogram of one route.
type SecondsOf = fn() -> Histogram;

impl Default for RaftMetrics {
    fn default() -> Self {
        Self {
            role: Family::default(),
            term: Gauge::default(),
            commit: Gauge::default(),
            applied: Gauge::default(),
            last: Gauge::default(),
            durable: Gauge::default(),
            has_leader: Gauge::default(),
            leader_changes: Counter::default(),
            proposals: Counter::default(),
            forwarded: Counter::default(),
            commit_seconds: seconds(),
            refused: Family::default(),
            apply_seconds: seconds(),
            applied_entries: Counter::default(),
            last_leader: Arc::default(),
        }
    }
}

impl Default for LogMetrics {
    fn default() -> Self {
        Self {
            sync_seconds: seconds(),
            batch_records: batch_sizes(),
            written_bytes: Counter::default(),
            full: Gauge::default(),
        }
    }
}

impl Default for HttpMetrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(seconds),
            connections: Family::default(),
            connections_refused: Family::default(),
            connections_timed_out: Family::default(),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All of them, at zero.
    #[must_use]
    pub fn new() -> Self {
        let (raft, log) = (RaftMetrics::default(), LogMetrics::default());
        let (locks, http) = (LockMetrics::default(), HttpMetrics::default());
        let mut registry = Registry::with_prefix("dsync");
        registry.register("build", "The running program", build_info());
        raft.register(&mut registry);
        log.register(&mut registry);
        locks.register(&mut registry);
        let queues = QueueMetrics::default();
        queues.register(&mut registry);
        http.register(&mut registry);
        let audit = AuditMetrics::default();
        audit.register(&mut registry);
        let caches = CacheMetrics::default();
        caches.register(&mut registry);
        let registry = Arc::new(registry);
        Self { raft, log, locks, queues, http, audit, caches, registry }
    }

    /// All of them in the OpenMetrics text format, up to and with `# EOF`.
    #[must_use]
    pub fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail; if it ever does, the scraper sees that EOF is missing.
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            let _ = writeln!(text);
        }
        text
    }
}

impl RaftMetrics {
    /// Copies a status into the gauges and counts a change of leader. The driver calls it for every
    /// status that it publishes, the metrics routes call it before they answer.
    pub fn record(&self, status: &NodeStatus) {
        let raft = &status.raft;
        for (role, kind) in [
            ("leader", RoleKind::Leader),
            ("follower", RoleKind::Follower),
            ("candidate", RoleKind::Candidate),
        ] {
            self.role.get_or_create(&RoleLabel { role }).set(i64::from(raft.role == kind));
        }
        set(&self.term, raft.term.0);
        set(&self.commit, raft.commit.0);
        set(&self.applied, raft.applied.0);
        set(&self.last, raft.last.0);
        set(&self.durable, raft.durable.0);
        self.has_leader.set(i64::from(raft.leader.is_some()));
        if let Some(leader) = raft.leader {
            self.record_leader((raft.term, leader));
        }
    }

    fn record_leader(&self, leader: (Term, NodeId)) {
        let mut last = self.last_leader.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_some_and(|last| last != leader) {
            self.leader_changes.inc();
        }
        *last = Some(leader);
    }

    fn register(&self, to: &mut Registry) {
        to.register("raft_role", "1 for the role that the node has", self.role.clone());
        to.register("raft_term", "Current term", self.term.clone());
        to.register("raft_commit_index", "Last committed entry", self.commit.clone());
        to.register("raft_applied_index", "Last applied entry", self.applied.clone());
        to.register("raft_last_index", "Last entry in the log", self.last.clone());
        to.register("raft_durable_index", "Last entry synced here", self.durable.clone());
        to.register("raft_has_leader", "1 while a leader is known", self.has_leader.clone());
        to.register(
            "raft_leader_changes",
            "How often the leader became another one",
            self.leader_changes.clone(),
        );
        to.register("raft_proposals", "Commands handed to a leader", self.proposals.clone());
        to.register(
            "raft_forwarded",
            "Commands handed to a leader on another node",
            self.forwarded.clone(),
        );
        to.register_with_unit(
            "raft_commit",
            "Time from taking a command in to its being applied",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        to.register("raft_refused", "Commands that were not taken", self.refused.clone());
        to.register_with_unit(
            "raft_apply",
            "Time to apply one batch of entries",
            Unit::Seconds,
            self.apply_seconds.clone(),
        );
        to.register("raft_applied_entries", "Entries applied", self.applied_entries.clone());
    }
}

impl LogMetrics {
    fn register(&self, to: &mut Registry) {
        let sync = self.sync_seconds.clone();
        to.register_with_unit("log_sync", "Time of one fdatasync", Unit::Seconds, sync);
        to.register(
            "log_batch_records",
            "Records that one fdatasync made durable",
            self.batch_records.clone(),
        );
        to.register_with_unit(
            "log_written",
            "Bytes handed to the disk",
            Unit::Bytes,
            self.written_bytes.clone(),
        );
        let full = self.full.clone();
        to.register("log_full", "1 while the disk has no room for another log segment", full);
    }
}

impl HttpMetrics {
    fn register(&self, to: &mut Registry) {
        to.register("http_requests", "Requests answered", self.requests.clone());
        to.register_with_unit(
            "http_request",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            self.request_seconds.clone(),
        );
        to.register("http_connections", "Open connections", self.connections.clone());
        to.register(
            "http_connections_refused",
            "Connections turned away at the cap",
            self.connections_refused.clone(),
        );
        to.register(
            "http_connections_timed_out",
            "Connections cut because the peer was silent or slow",
            self.connections_timed_out.clone(),
        );
    }
}

fn build_info() -> Info<Vec<(&'static str, &'static str)>> {
    Info::new(vec![("version", crate::VERSION)])
}

fn set(gauge: &Gauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// From 50 microseconds to 26 seconds in doublings: a sync on a good disk stands in the first
/// buckets, a request that waited out its deadline in the last.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 2.0, 20))
}

/// From 1 to 4096 in doublings.
fn batch_sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 13))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_prefix_the_unit_and_one_total() {
        let metrics = Metrics::new();
        metrics.log.sync_seconds.observe(0.001);
        metrics.raft.leader_changes.inc();
        let text = metrics.open_metrics();
        for line in [
            "dsync_build_info{version=",
            "dsync_log_sync_seconds_count 1\n",
            "dsync_log_written_bytes_total 0\n",
            "dsync_raft_leader_changes_total 1\n",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!text.contains("_total_total") && !text.contains("_seconds_seconds"));
        let foreign =
            text.lines().find(|line| !line.starts_with('#') && !line.starts_with("dsync_"));
        assert_eq!(foreign, None);
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn clones_share_their_values() {
        let metrics = Metrics::new();
        metrics.clone().locks.grants.inc();
        assert!(metrics.open_metrics().contains("dsync_lock_grants_total 1\n"));
    }

    #[test]
    fn only_another_leader_is_a_change_of_leader() {
        let metrics = RaftMetrics::default();
        metrics.record_leader((Term(1), NodeId(1)));
        metrics.record_leader((Term(1), NodeId(1)));
        assert_eq!(metrics.leader_changes.get(), 0);
        metrics.record_leader((Term(2), NodeId(1)));
        metrics.record_leader((Term(3), NodeId(2)));
        assert_eq!(metrics.leader_changes.get(), 2);
    }
}
