//! What has to be done for the listeners though no client asks for it: leaving orphans, saying that
//! this process listens after all, and looking around every second.
//!
//! Decided here, done by the node: it submits what [`Upkeep::next_chore`] hands out, each with
//! [`PATIENCE_MS`], and brings the answer to [`Upkeep::done`]. What had no answer is tried again when
//! it next looks around, not at once: a node that is refused everything would do nothing else.

use std::sync::Arc;

use super::listeners::Listeners;
use super::site::SubmitError;
use crate::machine::{Applied, Machine, Operation, Outcome};

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
    resuming: Resuming,
}

/// How far saying that this process listens has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resuming {
    Idle,
    UnderWay,
    Failed,
}

/// Something to be submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chore {
    /// The client of this number is gone.
    Leave(u64),
    /// This process listens.
    Resume,
}

impl Upkeep {
    /// Nothing is under way.
    #[must_use]
    pub fn new(listeners: Arc<Listeners>) -> Self {
        Self { listeners, leaving: 0, resuming: Resuming::Idle }
    }

    /// What to submit now; it is under way from then on. To be asked after each [`Listeners::work`],
    /// [`Upkeep::sweep`] and [`Upkeep::done`], until there is nothing more.
    pub fn next_chore(&mut self) -> Option<(Chore, Operation)> {
        if self.resuming == Resuming::Idle && self.listeners.has_to_resume() {
            self.resuming = Resuming::UnderWay;
            return Some((Chore::Resume, Operation::ResumeListeners));
        }
        if self.leaving >= LEAVES_MAX {
            return None;
        }
        let number = self.listeners.take_due()?;
        self.leaving += 1;
        Some((Chore::Leave(number), Operation::Leave(self.listeners.attachment(number))))
    }

    /// What came of it.
    pub fn done(&mut self, chore: Chore, answer: Result<Applied, SubmitError>) {
        match chore {
            Chore::Leave(number) => {
                self.leaving -= 1;
                let said = answer.ok().and_then(|applied| match applied.outcome {
                    Outcome::Leave(said) => Some(said),
                    _ => None,
                });
                self.listeners.left(number, said);
            }
            // Claims wait for this to be attached.
            Chore::Resume => {
                self.resuming = if answer.is_ok() { Resuming::Idle } else { Resuming::Failed };
                self.listeners.wake_all();
            }
        }
    }

    /// Looks around; `machine` is the published state. Every [`SWEEP_MS`].
    pub fn sweep(&mut self, machine: &Machine) {
        if self.resuming == Resuming::Failed {
            self.resuming = Resuming::Idle;
        }
        self.listeners.sweep(machine);
    }
}
