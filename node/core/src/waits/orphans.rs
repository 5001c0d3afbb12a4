//! Numbers whose client is gone and which may still wait or hold: each has to be left.
//!
//! ```text
//!   add ──> due ──> under way ──┬── it left, or nothing can come any more ──> forgotten
//!    │       ^                  ├── not attached, but an entry of it may still come ──> parked
//!    │       │                  └── no answer ──> failed
//!    └──> parked: it has got something, by an event or the state; failed: at the next sweep
//! ```
//!
//! # Only what it got
//!
//! An owner may ask again for what it holds; the answer is that hold, and the newest attachment is
//! then this ask's. If that connection breaks, Leave would end a hold that its owner was told of long
//! before and relies on. So an orphan is left only if it waits, or if something was granted under its
//! own number. While neither is known it is parked.
//!
//! Events say under which number a grant was made, and the state does not. So the state counts only
//! for holds whose events were skipped by a snapshot, if they are younger than the ask. (Younger than
//! what this node had applied then, that is: it may have lagged, and the owner may have been told of
//! such a hold elsewhere before it asked here. That is accepted, as the other choice would be a hold
//! without a lease that nobody ever ends.)
//!
//! The price: an owner that asked twice and heard neither answer keeps the hold until its lease ends,
//! or until it asks a third time.

use std::collections::{BTreeMap, BTreeSet};

use super::listeners::gets;
use crate::locks::{Attached, LeaveOutcome, What};
use crate::types::{ClusterTime, Index};

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
    /// How far the state was applied before it was asked.
    pub(super) opened_at: Index,
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
            (Some(LeaveOutcome::LeftQueue | LeaveOutcome::Released), _) => self.forget(number),
            (Some(LeaveOutcome::NotAttached), State::UnderWay { again: true }) => {
                self.make_due(number);
            }
            (Some(LeaveOutcome::NotAttached), _) if orphan.settled => self.forget(number),
            (Some(LeaveOutcome::NotAttached), _) => *state = State::Parked,
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

    /// Tries again what failed, looks for what was parked, and forgets what can never come. All
    /// events after `followed_from` were seen.
    pub(super) fn sweep(
        &mut self,
        now: ClusterTime,
        retention_ms: u64,
        followed_from: Index,
        attached: impl Fn(u64) -> Option<Attached>,
    ) {
        let void_after_ms = retention_ms.saturating_add(TAKEN_LATE_MS);
        let is_void = |orphan: &Orphan| now.since(orphan.since) > void_after_ms;
        self.all.retain(|_, (orphan, state)| *state != State::Parked || !is_void(orphan));
        let due = |number: u64, (orphan, state): &(Orphan, State)| match state {
            State::Failed => true,
            State::Parked => attached(number).is_some_and(|it| orphan.has(&it, followed_from)),
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

impl Orphan {
    /// What the state shows is its own, though no event said so: nobody was told of it before.
    fn has(&self, attached: &Attached, followed_from: Index) -> bool {
        match attached {
            Attached::Waits => true,
            Attached::Holds(hold) => {
                let skipped = self.opened_at < hold.hold.index && hold.hold.index <= followed_from;
                hold.claim || skipped
            }
        }
    }
}
