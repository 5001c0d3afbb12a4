//! What a node says of itself, as types.

use std::collections::BTreeMap;

use dsync_core::locks::Mode;
use dsync_core::raft::RoleKind;
use serde::{Deserialize, Serialize};

/// A node's own view of itself and the cluster. It may be behind the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The node's name.
    pub node_id: String,
    /// Its random id, in hex.
    pub id: String,
    /// Its role.
    pub state: RoleKind,
    /// Its term.
    pub term: u64,
    /// The leader's name, if one is known.
    pub leader: Option<String>,
    /// Last entry in its log.
    pub log_length: u64,
    /// Last entry that it knows to be committed.
    pub commit_index: u64,
    /// Last entry that it has applied.
    pub applied_index: u64,
    /// The cluster's random id, in hex, once known.
    pub cluster_id: Option<String>,
    /// The members as the node knows them.
    pub members: Option<Vec<Member>>,
    /// Why the node does not take part, if it does not.
    pub outside: Option<String>,
    /// The locks.
    pub locks: Locks,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub node_id: String,
    /// Its random id, in hex.
    pub id: String,
    /// `voter` or `learner`.
    pub part: String,
}

/// The locks of a [`Status`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locks {
    /// Locks that are held, by name.
    pub active_locks: BTreeMap<String, StatusLock>,
    /// Who waits, by lock.
    pub wait_list: BTreeMap<String, Vec<String>>,
    /// The lists were longer than what is shown.
    #[serde(default)]
    pub truncated: bool,
}

/// A held lock of a [`Status`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusLock {
    /// How it is held.
    #[serde(rename = "type")]
    pub mode: Mode,
    /// By whom.
    pub owners: Vec<String>,
}
