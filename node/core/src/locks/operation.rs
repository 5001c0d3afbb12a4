//! What can be done to the lock table by an entry, and what comes of it: the service as one door.

use serde::{Deserialize, Serialize};

use super::outcome::{
    AcquireOutcome, ForceOutcome, HoldOutcome, LeaveOutcome, ReleaseOutcome, RenewAllOutcome,
};
use super::request::{
    Acquire, Attachment, ForceRelease, HoldRef, Release, Renew, RenewAll, Upgrade,
};
use super::table::LockTable;
use super::turn::Turn;

/// What to do. Part of the log's format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockOperation {
    /// See [`Acquire`].
    Acquire(Acquire),
    /// See [`Release`].
    Release(Release),
    /// Gives a hold back.
    ReleaseHold(HoldRef),
    /// See [`Renew`].
    Renew(Renew),
    /// See [`RenewAll`].
    RenewAll(RenewAll),
    /// See [`Upgrade`].
    Upgrade(Upgrade),
    /// Makes the exclusive lock `name` of a hold shared.
    Downgrade(HoldRef),
    /// See [`ForceRelease`].
    Force(ForceRelease),
    /// The client of this attachment has given up, or is gone, and has got no byte of a grant: ends
    /// its wait, or undoes its grant, if no later attachment has taken its place.
    Leave(Attachment),
    /// This attachment, of the sending process, listens (again): a claim becomes a full hold.
    Attach(Attachment),
}

/// What came of it. Part of the snapshot's format: kept until its sender needs it no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockOutcome {
    /// Of [`LockOperation::Acquire`], [`LockOperation::Upgrade`] and [`LockOperation::Attach`].
    Acquire(AcquireOutcome),
    /// Of [`LockOperation::Release`].
    Release(ReleaseOutcome),
    /// Of [`LockOperation::ReleaseHold`], [`LockOperation::Renew`] and [`LockOperation::Downgrade`].
    Hold(HoldOutcome),
    /// Of [`LockOperation::RenewAll`].
    RenewAll(RenewAllOutcome),
    /// Of [`LockOperation::Force`].
    Force(ForceOutcome),
    /// Of [`LockOperation::Leave`].
    Leave(LeaveOutcome),
}

impl LockTable {
    /// Does it.
    pub fn act(&mut self, turn: &mut Turn, operation: &LockOperation) -> LockOutcome {
        match operation {
            LockOperation::Acquire(ask) => LockOutcome::Acquire(self.acquire(turn, ask)),
            LockOperation::Release(release) => LockOutcome::Release(self.release(turn, release)),
            LockOperation::ReleaseHold(hold) => LockOutcome::Hold(self.release_hold(turn, hold)),
            LockOperation::Renew(renew) => LockOutcome::Hold(self.renew(turn, renew)),
            LockOperation::RenewAll(renew) => LockOutcome::RenewAll(self.renew_all(turn, renew)),
            LockOperation::Upgrade(ask) => LockOutcome::Acquire(self.upgrade(turn, ask)),
            LockOperation::Downgrade(hold) => LockOutcome::Hold(self.downgrade(turn, hold)),
            LockOperation::Force(force) => LockOutcome::Force(self.force(turn, force)),
            LockOperation::Leave(attachment) => LockOutcome::Leave(self.leave(turn, *attachment)),
            LockOperation::Attach(attachment) => {
                LockOutcome::Acquire(self.attach(turn, *attachment))
            }
        }
    }
}
