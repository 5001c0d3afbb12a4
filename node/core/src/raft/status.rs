//! What a node shows of its consensus.

use serde::{Deserialize, Serialize};

use crate::types::{ClusterTime, Index, NodeId, Term};

/// A node's part in its term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RoleKind {
    /// Follows, or waits for a leader.
    Follower,
    /// Stands for election (a pre-vote counts).
    Candidate,
    /// Leads.
    Leader,
}

/// Role, term and cursors of one node: `log_start <= applied + 1`, `applied <= commit <= last`,
/// `durable <= last`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// Its part.
    pub role: RoleKind,
    /// Its term.
    pub term: Term,
    /// Who leads that term, if known.
    pub leader: Option<NodeId>,
    /// First entry still in the log.
    pub log_start: Index,
    /// Last entry in the log.
    pub last: Index,
    /// Last entry known to be synced here.
    pub durable: Index,
    /// Last entry known to be committed.
    pub commit: Index,
    /// Last entry applied.
    pub applied: Index,
    /// Cluster time: the leader's own, or what the leader said last. Never part of any decision; see
    /// `clock.rs`.
    pub time: ClusterTime,
    /// May start elections: holds a founding entry that all founders are known to hold.
    pub founded: bool,
}
