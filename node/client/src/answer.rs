//! What nodes answer, as types.

use std::collections::BTreeMap;

use dsync_core::locks::Mode;
use dsync_core::raft::RoleKind;
use serde::{Deserialize, Serialize};

/// What became of an acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The caller holds the lock.
    Held(Hold),
    /// The caller is queued. The place is kept for some seconds: ask again to keep it, and to learn
    /// that the lock has been granted.
    Waiting(Wait),
    /// Waiting would have closed a cycle of waits; nothing was queued.
    Deadlock(Vec<CycleEdge>),
    /// Not taken for a reason that the caller can mend; nothing changed.
    Refused(Refusal),
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The fencing token: rises over successive holders. Give it to whatever the lock protects.
    pub token: u64,
    /// The hold's own name, never used again.
    pub hold_id: String,
    /// Milliseconds of lease left, counted from the sending of the request; `None`: no lease.
    pub remaining_ms: Option<u64>,
    /// The log entry that answered.
    pub index: u64,
}

/// A place in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// 1 for the next one.
    pub position: u64,
    /// Who holds the lock.
    pub owners: Vec<String>,
    /// For people.
    pub message: String,
}

/// One owner of a cycle of waits; it waits for the next one of the list, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleEdge {
    /// Who.
    pub client_id: String,
    /// The lock that it waits for.
    pub waits_for: String,
}

/// A lock request that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable word.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The hold, or the wait, has ended.
    Ended,
    /// The caller neither held the lock nor waited for it.
    NotHolder,
}

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

/// A lock, read linearizably.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// Who holds it; nobody if it is free.
    pub holders: Vec<Holder>,
    /// Who waits, the next one first.
    pub waiters: Vec<Waiter>,
    /// Last entry that the read contains.
    pub index: u64,
    /// Cluster time at that entry, in milliseconds.
    pub time_ms: u64,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub owner: String,
    /// How.
    pub mode: Mode,
    /// The hold's own name.
    pub hold: String,
    /// Its fencing token.
    pub token: u64,
    /// False while the grant waits to be picked up.
    pub claimed: bool,
    /// Milliseconds of lease left; `None`: no lease.
    pub remaining_ms: Option<u64>,
}

/// Who waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who.
    pub owner: String,
    /// How.
    pub mode: Mode,
}
