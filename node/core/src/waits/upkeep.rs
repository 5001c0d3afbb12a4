//! What has to be done for the listeners though no client asks for it: leaving orphans, raising the mark
//! that says when nothing can come of them, saying that this process listens after all, and looking
//! around every second.
//!
//! Decided here, done by the node: it submits what [`Upkeep::next_chore`] hands out, each with
//! [`PATIENCE_MS`], and brings the answer to [`Upkeep::done`]. What had no answer is tried again when
//! it next looks around, not at once: a node that is refused everything would do nothing else.

use std::sync::Arc;

use super::listeners::Listeners;
use super::site::SubmitError;
use crate::locks::{LockOperation, LockOutcome};
use crate::machine::{Applied, Machine, NodeOperation, NodeOutcome, Operation, Outcome};

/// Leaves under way at a time. More would only fill the proposer's window, which clients need.
const LEAVES_MAX: usize = 256;
/// A command of the upkeep is given up, and repeated at a later sweep, after this many milliseconds.
pub const PATIENCE_MS: u64 = 5_000;
/// A node looks around this often, in milliseconds.
pub const SWEEP_MS: u64 = 1_000;

/// See the module.
#[derive(Debug)]
pub struct Upkeep {
    listeners: Arc<Listeners>,
    leaving: usize,
    resuming: Progress,
    raising: Progress,
}

/// How far something has come of which one is under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Idle,
    UnderWay,
    /// Not before the next look around.
    Rests,
}

/// Something to be submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// The client of this number is gone.
    Leave(u64),
    /// This process listens.
    Resume,
    /// What was given up shall be void.
    RaiseLowWater,
}

impl Upkeep {
    /// Nothing is under way.
    #[must_use]
    pub fn new(listeners: Arc<Listeners>) -> Self {
        Self { listeners, leaving: 0, resuming: Progress::Idle, raising: Progress::Rests }
    }

    /// What to submit now; it is under way from then on. To be asked after each [`Listeners::work`],
    /// [`Upkeep::sweep`] and [`Upkeep::done`], until there is nothing more.
    pub fn next_chore(&mut self) -> Option<(Chore, Operation)> {
        if self.resuming == Progress::Idle && self.listeners.has_to_resume() {
            self.resuming = Progress::UnderWay;
            return Some((Chore::Resume, Operation::Node(NodeOperation::ResumeListeners)));
        }
        if self.raising == Progress::Idle {
            // Once after each look around: what is parked now has had time to show.
            self.raising = Progress::Rests;
            if self.listeners.ask_for_mark() {
                self.raising = Progress::UnderWay;
                return Some((Chore::RaiseLowWater, Operation::Node(NodeOperation::RaiseLowWater)));
            }
        }
        if self.leaving >= LEAVES_MAX {
            return None;
        }
        let number = self.listeners.take_due()?;
        self.leaving += 1;
        Some((
            Chore::Leave(number),
            Operation::lock(LockOperation::Leave(self.listeners.attachment(number))),
        ))
    }

    /// What came of it.
    pub fn done(&mut self, chore: Chore, answer: Result<Applied, SubmitError>) {
        match chore {
            Chore::Leave(number) => {
                self.leaving -= 1;
                let said = answer.ok().and_then(|applied| match applied.outcome {
                    Outcome::Lock(LockOutcome::Leave(said)) => Some(said),
                    _ => None,
                });
                self.listeners.left(number, said);
            }
            // Claims wait for this to be attached.
            Chore::Resume => {
                self.resuming = if answer.is_ok() { Progress::Idle } else { Progress::Rests };
                self.listeners.wake_all();
            }
            Chore::RaiseLowWater => {
                self.raising = Progress::Rests;
                let sequence = answer.ok().and_then(|applied| match applied.outcome {
                    Outcome::Node(NodeOutcome::LowWaterRaised { sequence }) => Some(sequence),
                    _ => None,
                });
                self.listeners.mark_raised(sequence);
            }
        }
    }

    /// Looks around; `machine` is the published state. Every [`SWEEP_MS`].
    pub fn sweep(&mut self, machine: &Machine) {
        for progress in [&mut self.resuming, &mut self.raising] {
            if *progress == Progress::Rests {
                *progress = Progress::Idle;
            }
        }
        self.listeners.sweep(machine);
    }
}
