//! What stands in a log entry's command, and what applying it says.

use serde::{Deserialize, Serialize};

use crate::locks::{Acquire, AcquireOutcome, Release, ReleaseOutcome};
use crate::types::{BootCount, BootId, ClusterTime, NodeId};

/// A command of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredCommand {
    /// First format.
    V1(Command),
}

/// A command and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Which node sent it, and which of its commands it is.
    pub origin: Origin,
    /// What to do.
    pub operation: Operation,
}

/// Makes a command exactly-once: it may stand in the log several times, and is applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node that took it in.
    pub node: NodeId,
    /// Its process. A command whose boot is not its node's newest registered one changes nothing.
    pub boot: BootId,
    /// Its number within the process, from 1.
    pub sequence: u64,
    /// Every number below this is settled at the node: it may be forgotten, and is void from now on.
    pub low_water: u64,
    /// Cluster time at the node when it took the command in; one that is applied later than the
    /// retention after it is void.
    pub taken_at: ClusterTime,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// A process introduces itself before its first other command.
    RegisterBoot {
        /// How many processes its disk has seen, this one included.
        count: BootCount,
    },
    /// See [`Acquire`].
    AcquireLock(Acquire),
    /// See [`Release`].
    ReleaseLock(Release),
}

/// What applying a command says to the one who sent it. Kept in the state, and in snapshots, until
/// its sender says that it needs it no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// The boot is registered.
    BootRegistered,
    /// Another process of the same disk has used this boot count or a later one: the disk was copied
    /// or restored, and this node must stop. Also the answer to any later command of a process that
    /// was registered once and is no longer the newest: whether an earlier copy of that command was
    /// applied is then forgotten, so it cannot be called void.
    DiskRefused,
    /// Not applied and never will be: too late, or below the low-water mark.
    Void,
    /// Of [`Operation::AcquireLock`].
    Acquire(AcquireOutcome),
    /// Of [`Operation::ReleaseLock`].
    Release(ReleaseOutcome),
}
