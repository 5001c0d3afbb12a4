//! What is asked of the lock table and what it answers.

use serde::{Deserialize, Serialize};

use crate::types::Index;

/// Most holders that an answer names, so that a lock with 100,000 readers answers in one frame.
pub const HOLDERS_NAMED_MAX: usize = 16;
/// Most owners of a cycle that an answer names; a search finds a shortest cycle, so longer ones are
/// rare.
pub const CYCLE_NAMED_MAX: usize = 256;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By one owner alone.
    Exclusive,
    /// Beside other shared holders.
    Shared,
}

/// One sequential agent: the unit that holds and waits, scoped by who it authenticated as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// Who it authenticated as; `anonymous` until client tokens exist.
    pub principal: String,
    /// The name that the client gave.
    pub name: String,
}

/// One name of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockItem {
    /// The lock.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock. (More than 1 is refused for now.)
    pub permits: u32,
}

/// Names one hold for ever: the log index of its grant and its position among that entry's grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldId {
    /// Entry that granted it.
    pub index: Index,
    /// Which of that entry's grants, from 0.
    pub position: u32,
}

/// Asks for locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// For whom.
    pub owner: Owner,
    /// Which. One name for now; several are refused.
    pub items: Vec<LockItem>,
    /// Lease in milliseconds of cluster time; 0: no lease.
    pub ttl_ms: u64,
}

/// Gives a lock back, or a place in its queue, by name and owner (the original routes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Whose.
    pub owner: Owner,
    /// Which lock.
    pub name: String,
}

/// What became of an [`Acquire`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AcquireOutcome {
    /// Held, from now or already.
    Granted {
        /// The hold.
        hold: HoldId,
        /// Its fencing token.
        token: u64,
        /// Milliseconds of lease left at this entry's stamp; `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// Queued; the place is kept for 10 s after each ask.
    Waiting {
        /// How many waiters stand before it.
        ahead: u32,
        /// Who holds the lock now: in the order of their names, at most [`HOLDERS_NAMED_MAX`].
        holders: Vec<Owner>,
    },
    /// This request would close a cycle, so it was not queued.
    Deadlock {
        /// The owners in order, each waiting for the next, the last for the first; the asker is
        /// first. Beside each, the lock it waits for. At most [`CYCLE_NAMED_MAX`] are named.
        cycle: Vec<(Owner, String)>,
    },
    /// Not taken; nothing changed.
    Refused(LockRefusal),
}

/// Why a lock request was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum LockRefusal {
    /// A shared holder asked for exclusive.
    #[error("upgrade not supported")]
    UpgradeNotSupported,
    /// An exclusive waiter asked for shared, or the other way.
    #[error("this owner already waits for this lock in the other mode")]
    WaitsInOtherMode,
    /// More than one name, or more than one permit.
    #[error("{0} is not supported yet")]
    NotSupported(String),
    /// A limit of the settings is reached.
    #[error("limit reached: {setting} = {limit}")]
    Limit {
        /// The setting's name.
        setting: String,
        /// Its value.
        limit: u64,
    },
    /// A lock's or an owner's name is empty or holds a control character.
    #[error("{0} must have at least one byte and no control characters")]
    BadName(String),
}

/// What became of a [`Release`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReleaseOutcome {
    /// The hold ended.
    Released,
    /// The owner did not hold it but waited for it; it waits no longer.
    LeftQueue,
    /// The owner neither holds nor waits for it.
    NotHolder,
}
