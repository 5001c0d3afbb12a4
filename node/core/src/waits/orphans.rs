//! Numbers whose client is gone and which may still wait or hold: each has to be left.
//!
//! ```text
//!   add ──> due ──> under way ──┬── it left, or nothing can come any more ──> forgotten
//!    │       ^                  ├── not attached, but an entry of it may still come ──> parked
//!    │       │                  └── no answer ──> failed
//!    └──> parked: it has got something, by an event or the state; failed: at the next sweep
//! ```
//!
//! What the Leave does is the machine's matter: it knows who else may have told the owner of the same
//! hold (`locks/tellers.rs`). Here only one thing counts: that it is said after everything that can come
//! of the request. While an entry of it may still be applied, it is parked: until an event names it, the
//! state shows it, or such an entry would be void by its age.

use std::collections::{BTreeMap, BTreeSet};

use super::listeners::gets;
use crate::locks::{LeaveOutcome, What};
use crate::types::ClusterTime;

/// A command may be taken in a little later than its client is gone.
const TAKEN_LATE_MS: u64 = 10_000;

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
    /// When its client was gone.
    pub(super) since: ClusterTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due,
    /// A Leave is on its way; `again`: it has got something meanwhile.
    UnderWay {
        again: bool,
    },
    Parked,
    Failed,
}

impl Orphans {
    pub(super) fn add(&mut self, number: u64, orphan: Orphan) {
        self.all.insert(number, (orphan, State::Parked));
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
            (Some(_), _) => *state = State::Parked,
            (None, _) => *state = State::Failed,
        }
    }

    /// An event names it.
    pub(super) fn seen(&mut self, number: u64, what: What) {
        let Some((_, state)) = self.all.get_mut(&number).filter(|_| gets(what)) else { return };
        match state {
            State::UnderWay { .. } => *state = State::UnderWay { again: true },
            State::Parked => self.make_due(number),
            State::Due | State::Failed => {}
        }
    }

    /// Tries again what failed, looks for what was parked, and forgets what can never come.
    pub(super) fn sweep(
        &mut self,
        now: ClusterTime,
        retention_ms: u64,
        is_attached: impl Fn(u64) -> bool,
    ) {
        let void_after_ms = retention_ms.saturating_add(TAKEN_LATE_MS);
        let is_void = |orphan: &Orphan| now.since(orphan.since) > void_after_ms;
        self.all.retain(|_, (orphan, state)| *state != State::Parked || !is_void(orphan));
        let due = |number: u64, (_, state): &(Orphan, State)| match state {
            State::Failed => true,
            State::Parked => is_attached(number),
            State::Due | State::UnderWay { .. } => false,
        };
        let all = self.all.iter();
        let found: Vec<u64> = all.filter(|(n, it)| due(**n, it)).map(|(n, _)| *n).collect();
        found.into_iter().for_each(|number| self.make_due(number));
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
