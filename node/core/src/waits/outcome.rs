//! What came of a request that may wait.

use crate::locks::{HoldId, LockRefusal, Owner};
use crate::machine::RequestRefusal;

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// Held.
    Granted {
        /// The hold.
        hold: HoldId,
        /// Its fencing tokens, one for each lock in the order of the names.
        tokens: Vec<u64>,
        /// Milliseconds of lease left at the answer's stamp or, after a wait, when the grant was proven;
        /// `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// Not granted, and the request does not wait.
    Held {
        /// Who is in the way, as in [`AcquireOutcome::Held`](crate::locks::AcquireOutcome::Held).
        holders: Vec<Owner>,
    },
    /// It would have closed a cycle, so it was not queued.
    Deadlock {
        /// As in [`AcquireOutcome::Deadlock`](crate::locks::AcquireOutcome::Deadlock).
        cycle: Vec<(Owner, String)>,
    },
    /// The wait is over without a grant; the owner does not wait any more.
    TimedOut,
    /// The same request was asked again, here or on another node, and that one gets the answer.
    Superseded,
    /// There is nothing to wait for any more: the hold or the wait has ended otherwise (given back,
    /// expired, its place lapsed), or the request's id was answered by a grant that has ended.
    Ended,
    /// The hold was revoked, and has ended.
    Revoked {
        /// Why.
        reason: String,
    },
    /// Not taken; nothing changed.
    Refused(LockRefusal),
    /// Not applied, because of what its id says; nothing changed.
    RequestRefused(RequestRefusal),
    /// It came too late to be applied; nothing changed.
    Void,
}
