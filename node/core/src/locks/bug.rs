//! Mistakes that are easily made in these rules. Each can be put back, one at a time, to show that the
//! simulator notices it (`tests/tests/lock_bugs.rs`). None exists in a shipped build.

use super::table::LockTable;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A grant looks at holders only, and passes whoever waits already.
    GrantPassesWaiters,
    /// A reader passes a holder that waits to be alone.
    ReaderPassesUpgrade,
    /// A renewal for a shorter time moves the end to an earlier one.
    RenewShortens,
    /// An upgrade keeps the readers' token.
    UpgradeKeepsToken,
    /// An upgrade does not wait for the other readers.
    UpgradeIgnoresReaders,
    /// A second upgrade of the same lock is queued.
    SecondUpgradeQueued,
    /// A claim is answered as a hold, without becoming one.
    ClaimIsHold,
    /// Leave says that the wait is over, and leaves it in its queue.
    LeaveKeepsPlace,
    /// Who waits behind somebody who leaves is not looked at.
    LeaveWakesNobody,
    /// One Leave undoes a hold, though somebody else may have told its owner.
    AnyLeaveUndoes,
    /// A hold stays though everybody has left who was to tell of it.
    LastLeaveKeepsHold,
    /// An owner that asks again is taken to have heard, whatever becomes of that ask.
    AskedAgainIsHeard,
    /// A repeated acquire is answered as the first copy was, whatever has become of its hold.
    GrantPlayedBack,
    /// A repeated renewal is answered as the first copy was: with what was left then.
    RenewalPlayedBack,
    /// A command's age is counted by cluster time, also while nothing is timed.
    AgeRunsWhileQuiet,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::GrantPassesWaiters,
        Self::ReaderPassesUpgrade,
        Self::RenewShortens,
        Self::UpgradeKeepsToken,
        Self::UpgradeIgnoresReaders,
        Self::SecondUpgradeQueued,
        Self::ClaimIsHold,
        Self::LeaveKeepsPlace,
        Self::LeaveWakesNobody,
        Self::AnyLeaveUndoes,
        Self::LastLeaveKeepsHold,
        Self::AskedAgainIsHeard,
        Self::GrantPlayedBack,
        Self::RenewalPlayedBack,
        Self::AgeRunsWhileQuiet,
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
