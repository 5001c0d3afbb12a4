//! Numbers whose client is gone and which may still wait or hold: each has to be left.
//!
//! ```text
//!   add ──> due ──> under way ──┬── it left, or nothing can come any more ──> forgotten
//!            ^                  ├── not attached, but an entry of it may still come ──> parked
//!            │                  └── no answer ──> failed
//!            └── parked: seen in an event or in the state; failed: at the next sweep
//! ```

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::locks::{LeaveOutcome, What};
use dsync_core::types::ClusterTime;

use super::listeners::ends;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    all: BTreeMap<u64, Orphan>,
    /// Exactly those in the state `Due`.
    due: BTreeSet<u64>,
}

#[derive(Debug)]
struct Orphan {
    /// All its commands are applied: no entry of it can come any more.
    settled: bool,
    /// Not before its last command was taken in.
    since: ClusterTime,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due,
    /// A Leave is on its way; `again`: something was seen of it meanwhile.
    UnderWay {
        again: bool,
    },
    Parked,
    Failed,
}

impl Orphans {
    pub(super) fn add(&mut self, number: u64, settled: bool, since: ClusterTime) {
        self.all.insert(number, Orphan { settled, since, state: State::Due });
        self.due.insert(number);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// A Leave is due or on its way.
    pub(super) fn is_busy(&self) -> bool {
        let busy = |orphan: &Orphan| matches!(orphan.state, State::Due | State::UnderWay { .. });
        self.all.values().any(busy)
    }

    /// The next one to be left; it is under way now.
    pub(super) fn take_due(&mut self) -> Option<u64> {
        let number = self.due.pop_first()?;
        if let Some(orphan) = self.all.get_mut(&number) {
            orphan.state = State::UnderWay { again: false };
        }
        Some(number)
    }

    /// What its Leave said; `None`: no answer.
    pub(super) fn left(&mut self, number: u64, outcome: Option<LeaveOutcome>) {
        let Some(orphan) = self.all.get_mut(&number) else { return };
        match (outcome, orphan.state) {
            (Some(LeaveOutcome::LeftQueue | LeaveOutcome::Released), _) => self.forget(number),
            (Some(LeaveOutcome::NotAttached), State::UnderWay { again: true }) => {
                self.make_due(number);
            }
            (Some(LeaveOutcome::NotAttached), _) if orphan.settled => self.forget(number),
            (Some(LeaveOutcome::NotAttached), _) => orphan.state = State::Parked,
            (None, _) => orphan.state = State::Failed,
        }
    }

    /// An event names it.
    pub(super) fn seen(&mut self, number: u64, what: What) {
        let Some(orphan) = self.all.get_mut(&number) else { return };
        if ends(what) || matches!(what, What::Refused | What::Deadlock) {
            return;
        }
        match orphan.state {
            State::UnderWay { .. } => orphan.state = State::UnderWay { again: true },
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
        let parked = |orphan: &Orphan| orphan.state == State::Parked;
        self.all.retain(|_, orphan| !parked(orphan) || now.since(orphan.since) <= retention_ms);
        let due = |number: &u64, orphan: &Orphan| match orphan.state {
            State::Failed => true,
            State::Parked => is_attached(*number),
            State::Due | State::UnderWay { .. } => false,
        };
        let found: Vec<u64> =
            self.all.iter().filter(|(number, it)| due(number, it)).map(|(it, _)| *it).collect();
        found.into_iter().for_each(|number| self.make_due(number));
    }

    fn make_due(&mut self, number: u64) {
        if let Some(orphan) = self.all.get_mut(&number) {
            orphan.state = State::Due;
            self.due.insert(number);
        }
    }

    fn forget(&mut self, number: u64) {
        self.all.remove(&number);
        self.due.remove(&number);
    }
}
