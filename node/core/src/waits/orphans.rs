//! Numbers whose client is gone and which may still wait or hold: each has to be left.
//!
//! ```text
//!   add ──> due ──> under way ──┬── it left, or nothing can come any more ──> forgotten
//!    │       ^                  ├── not attached, but an entry of it may still come ──> parked
//!    │       │                  └── no answer ──> failed
//!    └──> parked: it has got something, by an event or the state; failed: at the next sweep
//!            └── every command of it has taken effect or is void ──> forgotten
//! ```
//!
//! What the Leave does is the machine's matter: it knows who else may have told the owner of the same
//! hold (`locks/tellers.rs`). Here only one thing counts: that it is said after everything that can come
//! of the request. While an entry of it may still be applied, it is parked: until an event names it, the
//! state shows it, or the low-water mark of this process has passed all its commands.
//!
//! Which numbers those commands have is not known here. But a process hands its commands over in
//! order: one that is sent after the client is gone has a higher number than all of them. So the upkeep
//! sends one that only brings the mark ([`Operation::RaiseLowWater`](crate::machine::Operation)), and
//! its answer says its number: once the applied mark is above that, nothing can come any more. Rejected:
//! a time after which an entry would be too old. Age stands still on a quiet cluster.

use std::collections::{BTreeMap, BTreeSet};

use super::listeners::gets;
use crate::locks::{LeaveOutcome, What};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    all: BTreeMap<u64, (Orphan, State)>,
    /// Exactly those in the state `Due`.
    due: BTreeSet<u64>,
}

/// What is known of one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Orphan {
    /// All its commands are applied: no entry of it can come any more.
    pub(super) settled: bool,
    /// It waits, or has got something.
    pub(super) due: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due,
    /// A Leave is on its way; `again`: it has got something meanwhile.
    UnderWay {
        again: bool,
    },
    Parked(Bound),
    Failed,
}

/// What is known of the numbers of a parked one's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    /// Nothing.
    Unknown,
    /// They are below that of a command which is on its way.
    Asked,
    /// They are below this.
    Below(u64),
}

impl Orphans {
    pub(super) fn add(&mut self, number: u64, orphan: Orphan) {
        self.all.insert(number, (orphan, State::Parked(Bound::Unknown)));
        if orphan.due {
            self.make_due(number);
        }
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A Leave is due or on its way.
    pub(super) fn is_busy(&self) -> bool {
        let busy = |state: &State| matches!(state, State::Due | State::UnderWay { .. });
        self.all.values().any(|(_, state)| busy(state))
    }

    /// The next one to be left; it is under way now.
    pub(super) fn take_due(&mut self) -> Option<u64> {
        let number = self.due.pop_first()?;
        if let Some((_, state)) = self.all.get_mut(&number) {
            *state = State::UnderWay { again: false };
        }
        Some(number)
    }

    /// What its Leave said; `None`: no answer.
    pub(super) fn left(&mut self, number: u64, outcome: Option<LeaveOutcome>) {
        let Some((orphan, state)) = self.all.get_mut(&number) else { return };
        match (outcome, *state) {
            (Some(said), _) if said != LeaveOutcome::NotAttached => self.forget(number),
            (Some(_), State::UnderWay { again: true }) => self.make_due(number),
            (Some(_), _) if orphan.settled => self.forget(number),
            (Some(_), _) => *state = State::Parked(Bound::Unknown),
            (None, _) => *state = State::Failed,
        }
    }

    /// An event names it.
    pub(super) fn seen(&mut self, number: u64, what: What) {
        let Some((_, state)) = self.all.get_mut(&number).filter(|_| gets(what)) else { return };
        match state {
            State::UnderWay { .. } => *state = State::UnderWay { again: true },
            State::Parked(_) => self.make_due(number),
            State::Due | State::Failed => {}
        }
    }

    /// Tries again what failed, looks for what was parked, and forgets what can never come. The state
    /// has applied the mark `low_water` of this process.
    pub(super) fn sweep(&mut self, low_water: u64, is_attached: impl Fn(u64) -> bool) {
        let due = |number: u64, (_, state): &(Orphan, State)| match state {
            State::Failed => true,
            State::Parked(_) => is_attached(number),
            State::Due | State::UnderWay { .. } => false,
        };
        let all = self.all.iter();
        let found: Vec<u64> = all.filter(|(n, it)| due(**n, it)).map(|(n, _)| *n).collect();
        found.into_iter().for_each(|number| self.make_due(number));
        let over =
            |state: &State| matches!(state, State::Parked(Bound::Below(n)) if *n < low_water);
        self.all.retain(|_, (_, state)| !over(state));
    }

    /// True if some are parked: the mark decides when they are forgotten. Those of whose numbers
    /// nothing is known wait for what [`Orphans::mark_raised`] says.
    pub(super) fn ask_for_mark(&mut self) -> bool {
        let mut parked = false;
        for (_, state) in self.all.values_mut() {
            parked |= matches!(state, State::Parked(_));
            if *state == State::Parked(Bound::Unknown) {
                *state = State::Parked(Bound::Asked);
            }
        }
        parked
    }

    /// The number of the command that was sent for [`Orphans::ask_for_mark`]; `None`: no answer.
    pub(super) fn mark_raised(&mut self, sequence: Option<u64>) {
        for (_, state) in self.all.values_mut() {
            if *state == State::Parked(Bound::Asked) {
                *state = State::Parked(sequence.map_or(Bound::Unknown, Bound::Below));
            }
        }
    }

    fn make_due(&mut self, number: u64) {
        if let Some((_, state)) = self.all.get_mut(&number) {
            *state = State::Due;
            self.due.insert(number);
        }
    }

    fn forget(&mut self, number: u64) {
        self.all.remove(&number);
        self.due.remove(&number);
    }
}
