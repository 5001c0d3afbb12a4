//! What the log is made of, and what of it goes to disk.
//!
//! Changing a type of this file changes the disk and the wire. Checklist: never touch a published
//! variant; add one to the versioned enum in `wire.rs`; add its golden bytes; gate what older
//! members would apply differently behind the feature level.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::boots::HeldBoot;
use super::membership::{Founding, Membership};
use crate::types::{ClusterTime, Index, NodeId, Term};

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Term of the leader that created it.
    pub term: Term,
    /// Its place in the log.
    pub index: Index,
    /// Cluster time at which the leader created it. Never falls along the log.
    pub stamp: ClusterTime,
    /// What it says.
    pub payload: Payload,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Nothing but its stamp: a leader's first entry of its term, or a time mark.
    Empty,
    /// A command of the machine, opaque to Raft (`machine::Command`, encoded).
    Command(Bytes),
    /// A configuration. It counts from the moment it stands in the log, committed or not.
    Membership(Membership),
    /// Entry 1 of every log, and only that.
    Founding(Founding),
    /// The disk of a node holds the registration of its process. True from the moment it stands in the
    /// log, committed or not: see `boots.rs`.
    BootHeld {
        /// Which node.
        node: NodeId,
        /// Which process, and up to where.
        boot: HeldBoot,
    },
}

impl Entry {
    /// What this entry counts for in windows and caps, in bytes: its payload and a fixed overhead.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        32 + match &self.payload {
            Payload::Command(bytes) => bytes.len(),
            Payload::Empty | Payload::BootHeld { .. } => 0,
            Payload::Membership(_) | Payload::Founding(_) => 512,
        }
    }
}

/// What a node must remember besides its log. Written whole whenever a field changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HardState {
    /// The highest term this node has seen.
    pub term: Term,
    /// Whom it voted for in that term. Tied to `term`: cleared when the term rises.
    pub vote: Option<NodeId>,
    /// All founders named in entry 1 are known to hold it, so this node may start elections.
    pub founded: bool,
}

/// Names a snapshot: the machine's state after applying `index`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotMeta {
    /// Last entry that the snapshot contains.
    pub index: Index,
    /// Term of that entry.
    pub term: Term,
    /// Stamp of that entry: a leader whose whole log is compacted takes its time base from here.
    pub stamp: ClusterTime,
    /// The configuration as of that entry.
    pub membership: Membership,
    /// The newest process of each node that is known to hold the log, as of that entry.
    pub boots: BTreeMap<NodeId, HeldBoot>,
}

/// One thing to write, in order, into the log on disk.
///
/// Reading them back in order gives the state of the disk: a later record wins over an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Replaces the hard state.
    HardState(HardState),
    /// Replaces every earlier entry with this index or a higher one.
    Entry(Entry),
    /// A snapshot of this node's machine is on disk. Entries below `log_start` may be deleted; a
    /// restart loads the snapshot and applies the log from `meta.index + 1`.
    Snapshot {
        /// Which snapshot.
        meta: SnapshotMeta,
        /// First entry that the log still keeps (older ones than the snapshot stay a while for slow
        /// followers).
        log_start: Index,
        /// Term of the entry before `log_start`, for the consistency check of an append there.
        log_start_prev_term: Term,
        /// The snapshot came from the leader and the log does not reach or contradicts it: every
        /// entry is void.
        discard_log: bool,
    },
}

/// Everything that a restarted node gets back from its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last hard state.
    pub hard_state: HardState,
    /// The last snapshot, if there was one.
    pub snapshot: Option<SnapshotMeta>,
    /// Term of the entry before the first of `entries` (0 before the founding entry).
    pub log_start_prev_term: Term,
    /// First index the log keeps; `entries[0].index` if there are any. 1 on an empty disk.
    pub log_start: Index,
    /// The log from `log_start`, without gaps.
    pub entries: Vec<Entry>,
}

impl Default for Recovered {
    /// What an empty disk gives.
    fn default() -> Self {
        Self {
            hard_state: HardState::default(),
            snapshot: None,
            log_start_prev_term: Term(0),
            log_start: Index(1),
            entries: Vec::new(),
        }
    }
}
