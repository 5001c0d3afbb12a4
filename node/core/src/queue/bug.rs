//! Mistakes that are easily made in these rules. Each can be put back, one at a time, to show that it is
//! noticed: by the oracle (`oracle_test/`), later by the simulator. None exists in a shipped build.

use super::table::QueueTable;

/// A mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// Whoever names the message can acknowledge it, whatever has become of the delivery.
    LateAckAccepted,
    /// A message is delivered again before its delivery has ended.
    RedeliveredEarly,
    /// A delivery that was given back counts.
    UndeliveredCounted,
    /// A message that failed goes behind the others of its group.
    FailedHeadToTail,
    /// What is in flight does not count for the length limit.
    LimitIgnoresInFlight,
    /// A deduplication key is known, whatever message it comes with.
    KeyIgnoresContent,
    /// A purge takes what was pushed since it began.
    PurgeTakesNewer,
    /// A redrive keeps the count of deliveries.
    RedriveKeepsCount,
    /// An extension for a shorter time moves the end to an earlier one.
    ExtendShortens,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::LateAckAccepted,
        Self::RedeliveredEarly,
        Self::UndeliveredCounted,
        Self::FailedHeadToTail,
        Self::LimitIgnoresInFlight,
        Self::KeyIgnoresContent,
        Self::PurgeTakesNewer,
        Self::RedriveKeepsCount,
        Self::ExtendShortens,
    ];
}

/// The mistake that is put back, if any. Takes no room in a shipped build.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mistake {
    #[cfg(feature = "bugs")]
    bug: Option<Bug>,
}

impl Mistake {
    /// True if `bug` has been put back. Always false in a shipped build.
    #[cfg(feature = "bugs")]
    pub(super) fn is(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "bugs"))]
    #[allow(clippy::unused_self)]
    pub(super) const fn is(self, _bug: Bug) -> bool {
        false
    }
}

impl QueueTable {
    /// Puts a mistake back.
    #[cfg(feature = "bugs")]
    pub fn put_back(&mut self, bug: Option<Bug>) {
        self.mistake = Mistake { bug };
    }
}
