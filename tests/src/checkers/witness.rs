//! The log as the witness of every answer.
//!
//! # Problem
//!
//! Searching for an order in which a history makes sense is exponential in what overlaps, and the
//! complete lock service has much that overlaps: several locks in one request, waits, leases, ends by
//! time. A model of all that would be a second lock table.
//!
//! # Idea
//!
//! There *is* an order: the log's. All nodes apply one log (`log.rs`, `machine.rs` check that), and an
//! answer says which state it speaks of: the index and the stamp. So nothing is searched: the state at
//! that index is kept, and the answer has to be what that state says (`answers.rs`). Two more rules make
//! it linearizability: the index is later than everything that was answered before the call began, and
//! it existed when the answer came.
//!
//! # Caveats
//!
//! The states are those of the machine under test. A wrong decision that it takes everywhere alike shows
//! here only where its answer and its state disagree; the decisions themselves are judged by
//! `fairness.rs`, and by what clients believe (`beliefs.rs`).

use std::collections::BTreeMap;

use dsync_core::locks::LockView;
use dsync_core::machine::{AppliedEntry, Machine, Outcome};
use dsync_core::types::{ClusterTime, Index};

use super::answers::{Question, judge_outcome, judge_wait};
use super::{Verdict, demand};
use crate::simulator::Answer;

/// The state behind one entry, and what that entry said.
#[derive(Debug)]
struct Moment {
    machine: Machine,
    /// `None` also for a later copy of a command: answers name the first one.
    outcome: Option<Outcome>,
}

/// Every state so far.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    moments: BTreeMap<Index, Moment>,
    answered: Index,
}

impl Witness {
    /// A machine has applied one entry. The first one to do so counts.
    pub(crate) fn applied(&mut self, machine: &Machine, applied: &AppliedEntry) {
        if self.moments.contains_key(&applied.index) {
            return;
        }
        let answer = applied.answer.as_ref().map(|(_, answer)| answer);
        let here = answer.filter(|answer| answer.index == applied.index);
        let outcome = here.map(|answer| answer.outcome.clone());
        self.moments.insert(applied.index, Moment { machine: machine.clone(), outcome });
    }

    /// The highest index that anybody has been told of. A call that begins now comes after it.
    pub(crate) fn answered_up_to(&self) -> Index {
        self.answered
    }

    /// The newest state.
    pub(crate) fn newest(&self) -> Option<&Machine> {
        self.moments.last_key_value().map(|(_, moment)| &moment.machine)
    }

    /// An answer arrives. `at`: how far its node had applied.
    pub(crate) fn answer(&mut self, question: &Question, answer: &Answer, at: Index) -> Verdict {
        match answer {
            Answer::Applied { outcome, index, stamp } => {
                let moment = self.moment(question, *index, *stamp)?;
                demand(
                    moment.outcome.as_ref() == Some(outcome),
                    "an answer is its entry's",
                    || format!("{question:?} at {index}: {outcome:?}, not {:?}", moment.outcome),
                )?;
                judge_outcome(question, outcome, &moment.machine)?;
                self.answered = self.answered.max(*index);
            }
            Answer::Waited { outcome, index, stamp, .. } => {
                let moment = self.moment(question, *index, *stamp)?;
                judge_wait(question, outcome, &moment.machine)?;
                self.answered = self.answered.max(*index);
            }
            Answer::View(view) => {
                self.judge_view(question, view.as_ref(), at)?;
                self.answered = self.answered.max(at);
            }
            Answer::Outcome(_) => {
                return demand(false, "answers fit their requests", || format!("{answer:?}"));
            }
            Answer::Elsewhere | Answer::Failed | Answer::Unknown => {}
        }
        Ok(())
    }

    /// The state that an answer speaks of.
    fn moment(
        &self,
        question: &Question,
        index: Index,
        stamp: ClusterTime,
    ) -> Result<&Moment, super::Broken> {
        let said = || format!("{question:?} is answered at {index}");
        let moment = self.moments.get(&index);
        demand(moment.is_some(), "an answer is from a state that was", said)?;
        let Some(moment) = moment else { unreachable!("demanded above") };
        demand(moment.machine.time() == stamp, "an answer has its entry's stamp", || {
            format!("{question:?} at {index}: {stamp}, not {}", moment.machine.time())
        })?;
        demand(index > question.after, "an answer is newer than all before its call", || {
            format!("{question:?} at {index}, called after {}", question.after)
        })?;
        Ok(moment)
    }

    /// A read may stand at the very index that was answered last.
    fn judge_view(&self, question: &Question, view: Option<&LockView>, at: Index) -> Verdict {
        demand(at >= question.after, "a read is as new as all before its call", || {
            format!("{question:?} at {at}, called after {}", question.after)
        })?;
        let Some(moment) = self.moments.get(&at) else { return Ok(()) };
        let is = question.name.as_deref().and_then(|name| moment.machine.locks().get(name));
        demand(is.as_ref() == view, "a read is what the log says", || {
            format!("{question:?} at {at}: {view:?}, not {is:?}")
        })
    }
}
