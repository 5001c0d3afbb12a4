//! Rules of the protocol left out, one at a time, to show that the model and the simulator notice. None
//! of it exists in a shipped build.

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A fill is kept though an invalidation came before it (R5).
    FillIgnoresPoison,
    /// A write does not wait for acknowledgements (R7).
    WriteWaitsForNobody,
    /// A sharer that was not waited for keeps its session (R9).
    SilentSharerKeepsSession,
    /// A fill asked for in an earlier session is kept in this one (R5).
    FillOutlivesSession,
    /// A silent sharer's lease is taken to be over too early (R7).
    LeaseWaitTooShort,
    /// A sharer counts its lease from the answer, not from its sending (R2).
    LeaseCountedFromAnswer,
    /// A value can be read at its home before all have acknowledged (R7).
    ValueShownEarly,
    /// What is read while a write is under way may be kept (R8).
    KeptDuringWrite,
    /// A home serves though its own lease is over (R1).
    HomeWithoutLease,
    /// A session is as long as ever, however little is left of the home's lease (R2).
    SessionNotNested,
    /// A new epoch drops no copies (R11).
    CopiesOutliveEpoch,
    /// A home lets go of keys when a sharer's lease is over, and renews the same session later (R9, R11).
    ReleasedSessionLives,
    /// Who joins a flight takes a value that may not be kept (R5).
    JoinerTakesOldValue,
    /// A process enters the ring while a former one of its node is in service (R12).
    EntersBesideFormer,
    /// A suspension acts under another leader than the one that found the grant over (R1).
    SuspensionOutlivesTerm,
    /// A leader suspends a home before its grant is over (R1).
    SuspendedBeforeGrantEnds,
    /// A new leader takes it that nobody has granted anything (R1).
    NewLeaderDoesNotWait,
    /// A leader grants without a look at the ring as it is by the round's end (R1).
    GrantedToSuspended,
}

impl Bug {
    /// Those of a node's caches.
    pub const OF_CACHES: [Self; 13] = [
        Self::FillIgnoresPoison,
        Self::WriteWaitsForNobody,
        Self::SilentSharerKeepsSession,
        Self::FillOutlivesSession,
        Self::LeaseWaitTooShort,
        Self::LeaseCountedFromAnswer,
        Self::ValueShownEarly,
        Self::KeptDuringWrite,
        Self::HomeWithoutLease,
        Self::SessionNotNested,
        Self::CopiesOutliveEpoch,
        Self::ReleasedSessionLives,
        Self::JoinerTakesOldValue,
    ];
    /// Those of the ring's members and their leases.
    pub const OF_HOME_LEASES: [Self; 5] = [
        Self::EntersBesideFormer,
        Self::SuspensionOutlivesTerm,
        Self::SuspendedBeforeGrantEnds,
        Self::NewLeaderDoesNotWait,
        Self::GrantedToSuspended,
    ];
}

/// Which rule is left out: none in a shipped build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bugs {
    #[cfg(feature = "bugs")]
    bug: Option<Bug>,
}

impl Bugs {
    /// True if `bug` has been put back.
    #[cfg(feature = "bugs")]
    pub(super) fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "bugs"))]
    #[allow(clippy::unused_self)]
    pub(super) const fn has(self, _bug: Bug) -> bool {
        false
    }

    #[cfg(feature = "bugs")]
    pub(super) fn put_back(&mut self, bug: Option<Bug>) {
        self.bug = bug;
    }
}
