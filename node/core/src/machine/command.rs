//! What stands in a log entry's command, and what applying it says.

use serde::{Deserialize, Serialize};

use crate::locks::{
    Acquire, AcquireOutcome, Attachment, ForceOutcome, ForceRelease, HoldOutcome, HoldRef,
    LeaveOutcome, Release, ReleaseOutcome, Renew, RenewAll, RenewAllOutcome, Upgrade,
};
use crate::types::{ActiveTime, BootCount, BootId, ClusterTime, Index, NodeId};

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
    /// Which of its client's requests it is, if the client gave it an id.
    pub request: Option<RequestId>,
    /// What to do.
    pub operation: Operation,
}

/// Names a client's request, so that it may be sent again, to any node, with one effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestId {
    /// The client's own word for it (`Idempotency-Key`). Known within the principal, the operation
    /// and the names; kept for a while after it is settled.
    Key(String),
    /// A client that numbers its requests, and says which of them it will never ask about again.
    Numbered {
        /// The client, random.
        client: u64,
        /// Which of its requests, from 1.
        sequence: u64,
        /// Every number below this is settled at the client, and forgotten at once.
        low_water: u64,
    },
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
    /// The state's [`ActiveTime`] at the node when it took the command in; one that is applied the
    /// retention after it, or later, is void.
    pub taken_at: ActiveTime,
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
    /// Gives a hold back.
    ReleaseHold(HoldRef),
    /// See [`Renew`].
    RenewHold(Renew),
    /// See [`RenewAll`].
    RenewAll(RenewAll),
    /// See [`Upgrade`].
    UpgradeHold(Upgrade),
    /// Makes the exclusive lock `name` of a hold shared.
    DowngradeHold(HoldRef),
    /// See [`ForceRelease`].
    ForceRelease(ForceRelease),
    /// The client of this attachment has given up, or is gone, and has got no byte of a grant: ends
    /// its wait, or undoes its grant, if no later attachment has taken its place.
    Leave(Attachment),
    /// This attachment, of the sending process, listens (again): a claim becomes a full hold.
    Attach(Attachment),
    /// A process is silent: nobody listens there until it says otherwise. Proposed by the leader.
    LoseListeners(BootId),
    /// The sending process listens again.
    ResumeListeners,
    /// The sending process drains: nobody listens there any more.
    StopListening,
    /// Changes nothing, and brings its origin's low-water mark: sent for a command that was given up
    /// and may still lie in somebody's log, so that it is void from then on.
    RaiseLowWater,
}

/// A command that was applied, and where: the first of its copies, if the log holds several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What applying said.
    pub outcome: Outcome,
    /// The entry that carried it.
    pub index: Index,
    /// Cluster time then.
    pub stamp: ClusterTime,
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
    /// Of [`Operation::AcquireLock`], [`Operation::UpgradeHold`] and [`Operation::Attach`].
    Acquire(AcquireOutcome),
    /// Of [`Operation::ReleaseLock`].
    Release(ReleaseOutcome),
    /// Of [`Operation::ReleaseHold`], [`Operation::RenewHold`] and [`Operation::DowngradeHold`].
    Hold(HoldOutcome),
    /// Of [`Operation::RenewAll`].
    RenewAll(RenewAllOutcome),
    /// Of [`Operation::ForceRelease`].
    Force(ForceOutcome),
    /// Of [`Operation::Leave`].
    Leave(LeaveOutcome),
    /// Of [`Operation::LoseListeners`], [`Operation::ResumeListeners`] and
    /// [`Operation::StopListening`].
    ListenersNoted,
    /// The request's id says that it must not be applied.
    RequestRefused(RequestRefusal),
    /// Of [`Operation::RaiseLowWater`].
    LowWaterRaised {
        /// The command's own number: what its process sent before has a lower one.
        sequence: u64,
    },
}

/// What a request's id has against it. Nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestRefusal {
    /// The id was used for a request with another body.
    #[error("this request id was used for another request")]
    OtherBody,
    /// The number is below the client's own low-water mark.
    #[error("this request was settled before, by the client's own word")]
    Forgotten,
    /// As many ids are remembered as the settings allow; none is forgotten early.
    #[error("as many request ids are remembered as the settings allow")]
    Full,
}
