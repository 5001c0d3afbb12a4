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

use dsync_core::locks::{HoldId, LockView, Owner};
use dsync_core::machine::{AppliedEntry, Machine, Outcome};
use dsync_core::types::{BootId, ClusterTime, Index};

use super::answers::{Question, judge_outcome, judge_wait};
use super::{Verdict, demand};
use crate::simulator::Answer;

/// The state behind one entry, and what that entry said.
#[derive(Debug)]
struct Moment {
    machine: Machine,
    outcome: Option<Outcome>,
    /// A copy of this command was applied before: its outcome is that of the first copy, from there.
    first_copy: Option<Index>,
}

/// Every state so far.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    moments: BTreeMap<Index, Moment>,
    copies: BTreeMap<(BootId, u64), Index>,
    answered: Index,
}

impl Witness {
    /// A machine has applied one entry. The first one to do so counts.
    pub(crate) fn applied(&mut self, machine: &Machine, applied: &AppliedEntry) {
        if self.moments.contains_key(&applied.index) {
            return;
        }
        let answer = applied.answer.as_ref();
        let first_copy = answer.and_then(|(origin, _)| {
            let copy = (origin.boot, origin.sequence);
            let first = *self.copies.entry(copy).or_insert(applied.index);
            (first != applied.index).then_some(first)
        });
        let outcome = answer.map(|(_, outcome)| outcome.clone());
        self.moments
            .insert(applied.index, Moment { machine: machine.clone(), outcome, first_copy });
    }

    /// The highest index that anybody has been told of. A call that begins now comes after it.
    pub(crate) fn answered_up_to(&self) -> Index {
        self.answered
    }

    /// The newest state.
    pub(crate) fn newest(&self) -> Option<&Machine> {
        self.moments.last_key_value().map(|(_, moment)| &moment.machine)
    }

    /// Where a grant that is said at `index` is from: there, or where the first copy of the command was
    /// applied, if the hold has ended since.
    pub(crate) fn granted_at(&self, index: Index, owner: &Owner, hold: HoldId) -> Index {
        let Some(moment) = self.moments.get(&index) else { return index };
        let locks = moment.machine.locks();
        let holds = locks.holds_of(owner).any(|it| it.hold == hold);
        moment.first_copy.filter(|_| !holds).unwrap_or(index)
    }

    /// An answer arrives. `at`: how far its node had applied.
    pub(crate) fn answer(&mut self, question: &Question, answer: &Answer, at: Index) -> Verdict {
        match answer {
            Answer::Applied { outcome, index, stamp } => {
                let (moment, spoken_of) = self.moment(question, *index, *stamp)?;
                demand(
                    moment.outcome.as_ref() == Some(outcome),
                    "an answer is its entry's",
                    || format!("{question:?} at {index}: {outcome:?}, not {:?}", moment.outcome),
                )?;
                judge_outcome(question, outcome, spoken_of)?;
                self.answered = self.answered.max(*index);
            }
            Answer::Waited { outcome, index, stamp } => {
                // Of its own entry, which may be a second copy, or of a later state that happens to be
                // behind somebody else's second copy.
                let (moment, spoken_of) = self.moment(question, *index, *stamp)?;
                judge_wait(question, outcome, &moment.machine).or_else(|broken| {
                    match moment.first_copy {
                        Some(_) => judge_wait(question, outcome, spoken_of),
                        None => Err(broken),
                    }
                })?;
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

    /// The entry that an answer names, and the state that it speaks of.
    fn moment(
        &self,
        question: &Question,
        index: Index,
        stamp: ClusterTime,
    ) -> Result<(&Moment, &Machine), super::Broken> {
        let said = || format!("{question:?} is answered at {index}");
        let moment = self.moments.get(&index);
        demand(moment.is_some(), "an answer is from a state that was", said)?;
        let Some(moment) = moment else { unreachable!("demanded above") };
        demand(moment.machine.time() == stamp, "an answer has its entry's stamp", || {
            format!("{question:?} at {index}: {stamp}, not {}", moment.machine.time())
        })?;
        let first = moment.first_copy.unwrap_or(index);
        demand(index > question.after, "an answer is newer than all before its call", || {
            format!("{question:?} at {index}, called after {}", question.after)
        })?;
        Ok((moment, self.moments.get(&first).map_or(&moment.machine, |it| &it.machine)))
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
