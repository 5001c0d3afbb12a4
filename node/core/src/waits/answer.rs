//! What a request that may wait is answered.

use super::listeners::Listener;
use super::outcome::WaitOutcome;
use crate::locks::{AcquireOutcome, HoldOutcome, LockOutcome};
use crate::machine::Outcome;
use crate::types::{ClusterTime, Index};

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
    /// From the call to the beginning of the step that the answer is from, in milliseconds: what is left
    /// of a lease is as of then, or later. 0: the request's own entry says it.
    pub waited_ms: u64,
    /// Undoes a grant that nobody is told.
    pub(super) undelivered: Option<Listener>,
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
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted {
                hold,
                tokens,
                remaining_ms,
            })) => WaitOutcome::Granted { hold, tokens, remaining_ms },
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Waiting { .. })) => {
                return Self::Waits;
            }
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Held { holders })) => {
                WaitOutcome::Held { holders }
            }
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Deadlock { cycle })) => {
                WaitOutcome::Deadlock { cycle }
            }
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Ended))
            | Outcome::Lock(LockOutcome::Hold(HoldOutcome::NotHeld)) => WaitOutcome::Ended,
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Left)) => WaitOutcome::TimedOut,
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Revoked { reason }))
            | Outcome::Lock(LockOutcome::Hold(HoldOutcome::Revoked { reason })) => {
                WaitOutcome::Revoked { reason }
            }
            Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Refused(refusal)))
            | Outcome::Lock(LockOutcome::Hold(HoldOutcome::Refused(refusal))) => {
                WaitOutcome::Refused(refusal)
            }
            Outcome::RequestRefused(refusal) => WaitOutcome::RequestRefused(refusal),
            Outcome::Void => WaitOutcome::Void,
            other => return Self::Nonsense(other),
        })
    }
}
