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
//!
//! What is left of the lease is as of a moment after the last step began that led to the answer: the
//! entry that was sent, or the read. How long after the call that step began is the answer's
//! `waited_ms`: whoever counts what is left from `waited_ms` after it sent its request can only count
//! too little, however long the wait was.

use std::sync::Arc;

use super::answer::{Answer, Said};
use super::listeners::{End, Listener, Listeners};
use super::outcome::WaitOutcome;
use super::race::race;
use super::site::{ReadState, Site, SubmitError};
use crate::locks::{Attached, Attachment, HoldView, LeaveOutcome, LockOperation, LockOutcome};
use crate::machine::{Applied, Machine, Operation, Outcome};
use crate::types::{ClusterTime, Index, LocalTime};

/// What is asked, without its attachment.
#[derive(Debug)]
pub struct Asked<F> {
    /// Makes the operation that carries the attachment: an acquire or an upgrade that queues if
    /// `wait_ms` is not 0.
    pub operation: F,
    /// How long its client waits for the grant, from the call on. Zero: try only.
    pub wait_ms: u64,
    /// How long each step may take: having its entry applied, proving a grant, leaving the queue.
    pub step_ms: u64,
}

/// Asks, waits, and says what came of it. Dropped before it is done: the client has hung up.
///
/// # Errors
/// See [`SubmitError`]. After `Unknown` and `NoLeader { sent: true }` the request is an orphan; after
/// `Stopping` its place is kept for a while, for the same request on another node.
pub async fn ask<S: Site, F: FnOnce(Attachment) -> Operation>(
    site: &S,
    listeners: &Arc<Listeners>,
    asked: Asked<F>,
) -> Result<Answer, SubmitError> {
    let Asked { operation, wait_ms, step_ms } = asked;
    let (began, listener) = (site.now(), listeners.open()?);
    let asking =
        Asking { site, listener, began, until: began.plus(wait_ms), step_ms, step_began: began };
    let operation = operation(asking.listener.attachment());
    asking.run(operation).await
}

struct Asking<'a, S> {
    site: &'a S,
    listener: Listener,
    began: LocalTime,
    /// When the wait ends.
    until: LocalTime,
    /// How long each step may take.
    step_ms: u64,
    /// When the step began that the answer is from.
    step_began: LocalTime,
}

/// Why a waiting request looks up.
#[derive(PartialEq, Eq)]
enum Woken {
    ByNews,
    ByTime,
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

impl<S: Site> Asking<'_, S> {
    async fn run(mut self, operation: Operation) -> Result<Answer, SubmitError> {
        let said = self.send(operation).await;
        let verdict = match said {
            Ok((Said::Waits, _)) => self.wait().await?,
            Ok((Said::Final(outcome), applied)) => Verdict::of(outcome, &applied),
            Ok((Said::Nonsense(outcome), _)) => {
                self.site.answered_by_another(&outcome);
                return Err(SubmitError::Unknown);
            }
            Err(error) => return Err(error),
        };
        Ok(self.answer(verdict))
    }

    /// Sends a command of this attachment, and keeps book of what is at stake.
    async fn send(&mut self, operation: Operation) -> Result<(Said, Applied), SubmitError> {
        let deadline = self.begin_step();
        let before = self.listener.sending();
        match self.site.submit(operation, deadline).await {
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
            let proven = match self.look(&self.site.machine()) {
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
            if self.news_or(self.until).await == Woken::ByTime {
                return self.time_out().await;
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
        let deadline = self.begin_step();
        let ReadState { machine, now } = match self.site.read(deadline).await {
            Ok(state) => state,
            Err(error) => return Err(self.unproven(error)),
        };
        let Some(Found::Hold(hold)) = self.look(&machine) else { return Ok(None) };
        let (leave, outcome) = match hold.revoked {
            Some(reason) => (true, WaitOutcome::Revoked { reason }),
            None => (false, granted(&hold, now)),
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
        let limit = self.step_ends_at();
        loop {
            if !self.wait_until_found_again(limit).await {
                self.listener.forsake();
                return Err(SubmitError::NoLeader { sent: false });
            }
            if self.listener.end() == Some(End::Stopping) {
                return self.ended(End::Stopping);
            }
            let attach = Operation::lock(LockOperation::Attach(self.listener.attachment()));
            match self.send(attach).await {
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
    async fn wait_until_found_again(&self, limit: LocalTime) -> bool {
        let boot = self.listener.attachment().boot;
        while self.site.machine().locks().is_lost(boot) && self.listener.end().is_none() {
            if self.news_or(limit).await == Woken::ByTime {
                return false;
            }
        }
        self.site.now() < limit
    }

    /// News that came in time count first: a grant is not told as a time-out.
    async fn news_or(&self, until: LocalTime) -> Woken {
        let news = async {
            self.listener.news().await;
            Woken::ByNews
        };
        let time = async {
            self.site.sleep_until(until).await;
            Woken::ByTime
        };
        race(news, time).await
    }

    /// Gives back when the step has to be done.
    fn begin_step(&mut self) -> LocalTime {
        self.step_began = self.site.now();
        self.step_ends_at()
    }

    fn step_ends_at(&self) -> LocalTime {
        self.site.now().plus(self.step_ms)
    }

    /// The client's patience is at its end; it is told what leaving says.
    async fn time_out(&mut self) -> Result<Verdict, SubmitError> {
        let deadline = self.begin_step();
        let leave = Operation::lock(LockOperation::Leave(self.listener.attachment()));
        match self.site.submit(leave, deadline).await {
            Ok(Applied { outcome: Outcome::Lock(LockOutcome::Leave(said)), index, stamp }) => {
                self.listener.forsake();
                let end = match said {
                    LeaveOutcome::LeftQueue | LeaveOutcome::Released => {
                        let outcome = WaitOutcome::TimedOut;
                        return Ok(Verdict { outcome, index, stamp, leave: false });
                    }
                    LeaveOutcome::Superseded => End::Superseded,
                    LeaveOutcome::NotAttached => {
                        self.listener.end().unwrap_or_else(|| self.listener.vanished())
                    }
                };
                self.ended(end)
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
        let machine = self.site.machine();
        let (index, stamp) = (machine.applied(), machine.time());
        Ok(Verdict { outcome, index, stamp, leave: false })
    }

    fn answer(self, verdict: Verdict) -> Answer {
        let Verdict { outcome, index, stamp, leave } = verdict;
        // Down: neither reading is of a whole millisecond.
        let waited_ms = self.step_began.since(self.began).saturating_sub(1);
        let listener = self.listener;
        let undelivered = if matches!(outcome, WaitOutcome::Granted { .. }) {
            Some(listener)
        } else {
            // Dropped as it is, it is left.
            if !leave {
                listener.close();
            }
            None
        };
        Answer { outcome, index, stamp, waited_ms, undelivered }
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
