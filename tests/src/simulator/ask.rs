//! What clients ask of a node, and what they are told.

use dsync_core::locks::{Acquire, LockItem, LockOperation, LockView, Mode, Owner, Release};
use dsync_core::machine::{Operation, Outcome, RequestId};
use dsync_core::types::{ClusterTime, Index};
use dsync_core::waits::WaitOutcome;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Acquire {
        name: String,
        owner: String,
        mode: Mode,
        ttl_ms: u64,
    },
    Release {
        name: String,
        owner: String,
    },
    Read {
        name: String,
    },
    /// One command, answered by its own entry.
    Command {
        request: Option<RequestId>,
        operation: Operation,
    },
    /// An `AcquireLock` or `UpgradeLock` that may wait. Its attachment is left empty: the node opens one.
    Wait {
        request: Option<RequestId>,
        operation: Operation,
        wait_ms: u64,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Applied, with this outcome.
    Outcome(Outcome),
    /// Of a command: what it did, the entry that carried it, and that entry's stamp.
    Applied { outcome: Outcome, index: Index, stamp: ClusterTime },
    /// Of a request that may wait, as of a state that has applied this far, and its time.
    Waited { outcome: WaitOutcome, index: Index, stamp: ClusterTime, waited_ms: u64 },
    /// Certainly without effect here; another node may take it (the node stops, or is overloaded).
    Elsewhere,
    /// Of a read.
    View(Option<LockView>),
    /// Certainly without effect, now and later.
    Failed,
    /// The node cannot say.
    Unknown,
}

impl Ask {
    /// The command that it becomes; `None` for a read.
    pub(crate) fn operation(&self) -> Option<Operation> {
        match self {
            Self::Acquire { name, owner, mode, ttl_ms } => {
                Some(Operation::lock(LockOperation::Acquire(Acquire {
                    owner: named(owner),
                    items: vec![LockItem {
                        name: name.clone(),
                        mode: *mode,
                        permits: 1,
                        permits_max: 1,
                    }],
                    ttl_ms: Some(*ttl_ms),
                    queue: true,
                    attachment: None,
                })))
            }
            Self::Release { name, owner } => {
                Some(Operation::lock(LockOperation::Release(Release {
                    owner: named(owner),
                    name: name.clone(),
                })))
            }
            Self::Read { .. } | Self::Command { .. } | Self::Wait { .. } => None,
        }
    }
}

fn named(owner: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: owner.to_owned() }
}
