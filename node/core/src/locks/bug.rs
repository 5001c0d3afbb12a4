//! Mistakes that are easily made in these rules. Each can be put back, one at a time, to show that the
//! simulator notices it (`tests/tests/lock_bugs.rs`). None exists in a shipped build.

use super::table::LockTable;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A grant looks at the holders only, and passes earlier waiters.
    GrantPassesWaiters,
    /// A renewal after the end brings the hold back, if nobody has cleared it yet.
    RenewAfterEnd,
    /// A renewal moves the end to where the new lease ends, also if that is earlier.
    RenewShortens,
    /// A release takes whatever the owner of that hold holds now on its lock.
    ReleaseByOwner,
    /// An upgrade keeps the readers' token.
    UpgradeKeepsToken,
    /// A claim is answered as a hold.
    ClaimIsHold,
    /// Leave ends a request whoever listens to it by now.
    LeaveIgnoresLaterListener,
    /// A second upgrade of the same lock is queued.
    SecondUpgradeQueued,
    /// A request that is repeated under its id is applied again.
    RepeatApplied,
    /// A grant to a dead process is a full hold.
    LostListenerHolds,
    /// Who waits behind somebody who leaves is not looked at.
    LeaveWakesNobody,
    /// A repeated renewal is answered as the first one was.
    RenewalPlayedBack,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::GrantPassesWaiters,
        Self::RenewAfterEnd,
        Self::RenewShortens,
        Self::ReleaseByOwner,
        Self::UpgradeKeepsToken,
        Self::ClaimIsHold,
        Self::LeaveIgnoresLaterListener,
        Self::SecondUpgradeQueued,
        Self::RepeatApplied,
        Self::LostListenerHolds,
        Self::LeaveWakesNobody,
        Self::RenewalPlayedBack,
    ];
}

impl LockTable {
    /// True if `bug` has been put back. Always false in a shipped build.
    #[cfg(feature = "bugs")]
    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "bugs"))]
    #[allow(clippy::unused_self)]
    pub(crate) const fn has(&self, _bug: Bug) -> bool {
        false
    }

    /// Puts a mistake back.
    #[cfg(feature = "bugs")]
    pub(crate) fn put_back(&mut self, bug: Option<Bug>) {
        self.bug = bug;
    }
}
