//! One request that may wait, from its call to its answer.
//!
//! ```text
//!  register ─> entry ──┬── granted, refused, ... ───────────────────────────────> answer
//!                      └── waiting ─> look ──┬── hold ──> read barrier, look ───> answer
//!                              ^             ├── claim ─> Attach ───────────────> answer
//!                       news ──┘             ├── ended, superseded, stopping ───> answer
//!                                            └── time-out ─> Leave ─────────────> answer
//! ```
//!
//! Why a read barrier before a grant is answered: this node may be cut off, and the grant that it has
//! applied may have ended since, and been followed by another. The barrier shows a state that is as
//! new as anything answered anywhere; what is left of the lease is counted from there.
//!
//! A grant that its own entry says (it did not wait) needs none: its lease counts from that entry's
//! stamp, which came after the call.

use std::sync::Arc;
use std::time::Duration;

use dsync_core::locks::{Attached, Attachment, HoldView, LeaveOutcome};
use dsync_core::machine::{Machine, Operation, Outcome, RequestId};
use dsync_core::types::{ClusterTime, Index};
use dsync_core::waits::WaitOutcome;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::answer::{Answer, Patience, Said};
use super::listeners::{End, Listener, Listeners};
use crate::handle::{Applied, NodeHandle, SubmitError};

/// Longer than anybody waits, and short enough to be added to any time.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3_600);

/// What is asked, without its attachment.
pub(crate) struct Asked<F> {
    pub(crate) request: Option<RequestId>,
    /// Makes the operation that carries the attachment.
    pub(crate) operation: F,
    pub(crate) patience: Patience,
}

/// Asks, waits, and says what came of it. Dropped before it is done: the client has hung up.
pub(crate) async fn ask<F: FnOnce(Attachment) -> Operation>(
    node: &NodeHandle,
    listeners: &Arc<Listeners>,
    asked: Asked<F>,
) -> Result<Answer, SubmitError> {
    let Asked { request, operation, patience } = asked;
    let began = Instant::now();
    let asking = Asking {
        node,
        listener: listeners.open()?,
        began,
        until: began + patience.wait.min(FOR_EVER),
        step: patience.deadline.saturating_duration_since(began.into_std()),
    };
    let operation = operation(asking.listener.attachment());
    asking.run(request, operation).await
}

struct Asking<'a> {
    node: &'a NodeHandle,
    listener: Listener,
    began: Instant,
    /// When the wait ends.
    until: Instant,
    /// How long each step may take.
    step: Duration,
}

/// What to answer, and as of when.
struct Verdict {
    outcome: WaitOutcome,
    index: Index,
    stamp: ClusterTime,
    /// It is no grant, but the attachment has one that has to be undone.
    leave: bool,
}

/// What the state says of an attachment.
enum Found {
    Hold(HoldView),
    Claim,
}

impl Asking<'_> {
    async fn run(
        mut self,
        request: Option<RequestId>,
        operation: Operation,
    ) -> Result<Answer, SubmitError> {
        let said = self.send(request, operation).await;
        let verdict = match said {
            Ok((Said::Waits, _)) => self.wait().await?,
            Ok((Said::Final(outcome), applied)) => {
                // Its owner had it before, and may know: then it is not this request's to undo.
                if !self.listener.got_it() {
                    self.listener.forsake();
                }
                Verdict::of(outcome, &applied)
            }
            Ok((Said::Nonsense(outcome), _)) => {
                tracing::error!(?outcome, "a lock request was answered by something else");
                return Err(SubmitError::Unknown);
            }
            Err(error) => return Err(error),
        };
        Ok(self.answer(verdict))
    }

    /// Sends a command of this attachment, and keeps book of what is at stake.
    async fn send(
        &mut self,
        request: Option<RequestId>,
        operation: Operation,
    ) -> Result<(Said, Applied), SubmitError> {
        let deadline = (Instant::now() + self.step).into_std();
        let before = self.listener.sending();
        match self.node.submit_as(request, operation, deadline).await {
            Ok(applied) => {
                self.listener.sent();
                Ok((Said::from(applied.outcome.clone()), applied))
            }
            Err(error) => {
                if error.is_certain() {
                    self.listener.not_sent(before);
                }
                Err(error)
            }
        }
    }

    async fn wait(&mut self) -> Result<Verdict, SubmitError> {
        self.listener.waits();
        loop {
            let proven = match self.look(&self.node.machine()) {
                Some(Found::Claim) => return self.take_up().await,
                Some(Found::Hold(_)) => self.prove().await?,
                None => None,
            };
            if let Some(verdict) = proven {
                return Ok(verdict);
            }
            if let Some(end) = self.listener.end() {
                return self.ended(end);
            }
            tokio::select! {
                biased;
                () = self.listener.news() => {}
                () = sleep_until(self.until) => return self.time_out().await,
            }
        }
    }

    fn look(&self, machine: &Machine) -> Option<Found> {
        match machine.locks().attached(self.listener.attachment())? {
            Attached::Waits => None,
            Attached::Holds(hold) if hold.claim => Some(Found::Claim),
            Attached::Holds(hold) => Some(Found::Hold(hold)),
        }
    }

    /// The grant that this node has seen, as of a state that is as new as anything answered anywhere.
    /// `None`: it is not there any more, or is a claim.
    async fn prove(&mut self) -> Result<Option<Verdict>, SubmitError> {
        let deadline = (Instant::now() + self.step).into_std();
        let machine = match self.node.read(deadline).await {
            Ok(machine) => machine,
            Err(error) => return Err(self.unproven(error)),
        };
        let Some(Found::Hold(hold)) = self.look(&machine) else { return Ok(None) };
        let (leave, outcome) = match hold.revoked {
            Some(reason) => (true, WaitOutcome::Revoked { reason }),
            None => (false, granted(&hold, machine.time())),
        };
        let (index, stamp) = (machine.applied(), machine.time());
        Ok(Some(Verdict { outcome, index, stamp, leave }))
    }

    /// A grant without a proof is not answered. It is left, unless this node stops: then nothing can
    /// be left here any more, and its client gets it where it asks again.
    fn unproven(&mut self, error: SubmitError) -> SubmitError {
        if error == SubmitError::Stopping {
            self.listener.forsake();
            return error;
        }
        SubmitError::Unknown
    }

    /// A claim: this process was declared lost when it was granted. Once it is not any more, an entry
    /// makes it a hold. If that does not come about, the client shall ask again; the claim is kept
    /// for it, and lapses by itself.
    async fn take_up(&mut self) -> Result<Verdict, SubmitError> {
        let limit = Instant::now() + self.step;
        loop {
            if !self.wait_until_found_again(limit).await {
                self.listener.forsake();
                return Err(SubmitError::NoLeader { sent: false });
            }
            if self.listener.end() == Some(End::Stopping) {
                return self.ended(End::Stopping);
            }
            let attach = Operation::Attach(self.listener.attachment());
            match self.send(None, attach).await {
                Ok((Said::Final(outcome), applied)) => return Ok(Verdict::of(outcome, &applied)),
                Ok((Said::Waits, _)) => {}
                Ok((Said::Nonsense(_), _)) => return Err(SubmitError::Unknown),
                Err(error) => {
                    if error.is_certain() {
                        self.listener.forsake();
                    }
                    return Err(error);
                }
            }
        }
    }

    /// False if this process is still taken to be lost at `limit`.
    async fn wait_until_found_again(&self, limit: Instant) -> bool {
        let boot = self.listener.attachment().boot;
        while self.node.machine().locks().is_lost(boot) && self.listener.end().is_none() {
            if timeout_at(limit, self.listener.news()).await.is_err() {
                return false;
            }
        }
        Instant::now() < limit
    }

    /// The client's patience is at its end; it is told what leaving says.
    async fn time_out(&mut self) -> Result<Verdict, SubmitError> {
        let deadline = (Instant::now() + self.step).into_std();
        let leave = Operation::Leave(self.listener.attachment());
        match self.node.submit(leave, deadline).await {
            Ok(Applied { outcome: Outcome::Leave(said), index, stamp }) => {
                self.listener.forsake();
                if said == LeaveOutcome::NotAttached {
                    let end = self.listener.end().unwrap_or_else(|| self.listener.vanished());
                    return self.ended(end);
                }
                Ok(Verdict { outcome: WaitOutcome::TimedOut, index, stamp, leave: false })
            }
            Ok(_) => Err(SubmitError::Unknown),
            Err(SubmitError::Stopping) => self.ended(End::Stopping),
            Err(_) => Err(SubmitError::Unknown),
        }
    }

    /// There is nothing to wait for any more.
    fn ended(&mut self, end: End) -> Result<Verdict, SubmitError> {
        let outcome = match end {
            End::Ended | End::Vanished { skipped: true } => WaitOutcome::Ended,
            End::Superseded | End::Vanished { skipped: false } => WaitOutcome::Superseded,
            // The machine keeps the place; the client takes it with it to another node.
            End::Stopping => {
                self.listener.forsake();
                return Err(SubmitError::Stopping);
            }
            End::CutOff => return Err(SubmitError::Unknown),
        };
        let machine = self.node.machine();
        let (index, stamp) = (machine.applied(), machine.time());
        Ok(Verdict { outcome, index, stamp, leave: false })
    }

    fn answer(self, verdict: Verdict) -> Answer {
        let Verdict { outcome, index, stamp, leave } = verdict;
        let (waited, listener) = (self.began.elapsed(), self.listener);
        let undelivered = if matches!(outcome, WaitOutcome::Granted { .. }) {
            Some(listener)
        } else {
            // Dropped as it is, it is left.
            if !leave {
                listener.close();
            }
            None
        };
        Answer { outcome, index, stamp, waited, undelivered }
    }
}

impl Verdict {
    fn of(outcome: WaitOutcome, applied: &Applied) -> Self {
        Self { outcome, index: applied.index, stamp: applied.stamp, leave: false }
    }
}

fn granted(hold: &HoldView, now: ClusterTime) -> WaitOutcome {
    WaitOutcome::Granted {
        hold: hold.hold,
        tokens: hold.items.iter().map(|item| item.token).collect(),
        remaining_ms: hold.ends_at.map(|end| end.since(now)),
    }
}
