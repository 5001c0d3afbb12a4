//! What has to be done for the listeners though no client asks for it: leaving orphans, and saying
//! that this process listens after all. (The third, looking around every second, is
//! [`Listeners::sweep`].)
//!
//! Decided here, done by the node: it submits what [`Upkeep::next_chore`] hands out, each with
//! [`PATIENCE_MS`], and brings the answer to [`Upkeep::done`].

use std::sync::Arc;

use super::listeners::Listeners;
use super::site::{Applied, SubmitError};
use crate::machine::{Operation, Outcome};

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
    resuming: bool,
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
        Self { listeners, leaving: 0, resuming: false }
    }

    /// What to submit now; it is under way from then on. Worth asking after each
    /// [`Listeners::work`], sweep and [`Upkeep::done`], until there is nothing more.
    pub fn next_chore(&mut self) -> Option<(Chore, Operation)> {
        if !self.resuming && self.listeners.has_to_resume() {
            self.resuming = true;
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
                self.resuming = false;
                self.listeners.wake_all();
            }
        }
    }
}
