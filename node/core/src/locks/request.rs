//! What is asked of the lock table.
//!
//! Three kinds of names say *what* a request means, and none can be mistaken for another:
//!
//! - an [`Owner`] says who wants: one sequential agent;
//! - a [`HoldId`] says which grant: everything that gives back, renews or changes a grant names it, so
//!   that a late message never touches the grant after it;
//! - an [`Attachment`] says which open connection listens: whoever ends that connection's request
//!   (time-out, hang-up) names it, so that it never ends a request that was asked again elsewhere.

use serde::{Deserialize, Serialize};

use crate::types::{BootId, Index};

/// How a lock is held.
///
/// A name lives either as a plain lock (exclusive and shared) or as a semaphore (permits), whichever
/// its first request says, until nobody holds it or waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By one owner alone.
    Exclusive,
    /// Beside other shared holders.
    Shared,
    /// Some of the lock's permits, beside others who have theirs.
    Permits,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LockItem {
    /// The lock.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// How many permits it takes; 1 for a plain lock.
    pub permits: u32,
    /// How many permits the lock has, fixed by the first request while the name lives; 1 for a plain
    /// lock.
    pub permits_max: u32,
}

/// Names one hold for ever: the log index of its grant and its position among what that entry made.
/// Also names a wait, by the entry that queued it; the two never meet in one field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HoldId {
    /// Entry that granted it.
    pub index: Index,
    /// Which of the things that this entry granted or queued, from 0.
    pub position: u32,
}

/// A connection that waits for the answer, at the node that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attachment {
    /// The node's process. Its listeners are lost together.
    pub boot: BootId,
    /// Which of this process's requests; never used twice.
    pub number: u64,
}

/// Asks for locks, all of them or none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acquire {
    /// For whom.
    pub owner: Owner,
    /// Which.
    pub items: Vec<LockItem>,
    /// Lease in milliseconds of cluster time; 0: none; `None`: the default of the settings.
    pub ttl_ms: Option<u64>,
    /// Wait for what cannot be granted at once.
    pub queue: bool,
    /// Who listens. A waiter without a listener (the original routes answer at once) keeps its place
    /// for a window after each of its asks.
    pub attachment: Option<Attachment>,
}

/// Gives a lock back, or a place in its queue, by name and owner (the original routes).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Whose.
    pub owner: Owner,
    /// Which lock.
    pub name: String,
}

/// Which hold is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRef {
    /// Who asks: another principal's hold is none.
    pub principal: String,
    /// The hold.
    pub hold: HoldId,
    /// A lock that has to be one of the hold's, if the request names one.
    pub name: Option<String>,
}

/// Moves a hold's end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renew {
    /// Which.
    pub hold: HoldRef,
    /// The lease from now on, as in [`Acquire`]; `None`: what the hold was granted with.
    pub ttl_ms: Option<u64>,
}

/// Moves the ends of everything that an owner holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewAll {
    /// Whose.
    pub owner: Owner,
    /// The lease from now on; `None`: what each hold was granted with.
    pub ttl_ms: Option<u64>,
    /// What the owner believes to hold; those it does not hold any more are named in the answer.
    pub expected: Vec<HoldId>,
}

/// Makes one shared lock of a hold exclusive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Which hold; its `name` is the lock, and has to be there.
    pub hold: HoldRef,
    /// As in [`Renew`].
    pub ttl_ms: Option<u64>,
    /// Wait for the other readers.
    pub queue: bool,
    /// Who listens.
    pub attachment: Option<Attachment>,
}

/// Ends somebody else's hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForceRelease {
    /// Who asks for it.
    pub principal: String,
    /// The lock. Without `hold`, every hold of it is meant.
    pub name: String,
    /// One hold of it.
    pub hold: Option<HoldId>,
    /// Why; it goes into the audit trail.
    pub reason: String,
    /// Ends it now. Otherwise it is revoked: it cannot be renewed, and ends with its lease.
    pub now: bool,
}
