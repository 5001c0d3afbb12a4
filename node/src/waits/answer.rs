//! What a request that may wait is asked with and answered.

use std::time::{Duration, Instant};

use dsync_core::locks::{AcquireOutcome, HoldId, HoldOutcome, LockRefusal, Owner};
use dsync_core::machine::{Outcome, RequestRefusal};
use dsync_core::types::{ClusterTime, Index};

use super::listeners::Listener;

/// How long a client waits, and for what.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the grant, from the call on. Zero: try only, and do not queue.
    pub wait: Duration,
    /// Until when the request's entry must be applied. Each later step (leaving the queue, proving a
    /// grant) gets as long as this is away at the call.
    pub deadline: Instant,
}

/// What a request that may wait is answered. If it is a grant, it must be delivered.
#[derive(Debug)]
#[must_use = "a grant that is dropped without `deliver` is undone"]
pub struct Answer {
    /// What came of it.
    pub outcome: WaitOutcome,
    /// The state that the answer is from has applied this far.
    pub index: Index,
    /// That state's time.
    pub stamp: ClusterTime,
    /// From the call to the answer.
    pub waited: Duration,
    /// Undoes a grant that nobody is told.
    pub(super) undelivered: Option<Listener>,
}

/// What came of a request that may wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// Held.
    Granted {
        /// The hold.
        hold: HoldId,
        /// Its fencing tokens, one for each lock in the order of the names.
        tokens: Vec<u64>,
        /// Milliseconds of lease left at [`Answer::stamp`]; `None`: no lease.
        remaining_ms: Option<u64>,
    },
    /// Not granted, and the request does not wait.
    Held {
        /// Who is in the way, as in [`AcquireOutcome::Held`].
        holders: Vec<Owner>,
    },
    /// It would have closed a cycle, so it was not queued.
    Deadlock {
        /// As in [`AcquireOutcome::Deadlock`].
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

/// What applying a request's own entry says about going on.
pub(super) enum Said {
    /// This is the answer.
    Final(WaitOutcome),
    /// It waits.
    Waits,
    /// An outcome of another kind of operation: a bug.
    Nonsense(Outcome),
}

impl Answer {
    /// The answer is about to be written: from now on a grant is the client's.
    pub fn deliver(mut self) -> WaitOutcome {
        if let Some(listener) = self.undelivered.take() {
            listener.close();
        }
        self.outcome
    }
}

impl From<Outcome> for Said {
    fn from(outcome: Outcome) -> Self {
        Self::Final(match outcome {
            Outcome::Acquire(AcquireOutcome::Granted { hold, tokens, remaining_ms }) => {
                WaitOutcome::Granted { hold, tokens, remaining_ms }
            }
            Outcome::Acquire(AcquireOutcome::Waiting { .. }) => return Self::Waits,
            Outcome::Acquire(AcquireOutcome::Held { holders }) => WaitOutcome::Held { holders },
            Outcome::Acquire(AcquireOutcome::Deadlock { cycle }) => WaitOutcome::Deadlock { cycle },
            Outcome::Acquire(AcquireOutcome::Ended) | Outcome::Hold(HoldOutcome::NotHeld) => {
                WaitOutcome::Ended
            }
            Outcome::Acquire(AcquireOutcome::Revoked { reason })
            | Outcome::Hold(HoldOutcome::Revoked { reason }) => WaitOutcome::Revoked { reason },
            Outcome::Acquire(AcquireOutcome::Refused(refusal))
            | Outcome::Hold(HoldOutcome::Refused(refusal)) => WaitOutcome::Refused(refusal),
            Outcome::RequestRefused(refusal) => WaitOutcome::RequestRefused(refusal),
            Outcome::Void => WaitOutcome::Void,
            other => return Self::Nonsense(other),
        })
    }
}
