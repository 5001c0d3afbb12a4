//! Table and oracle side by side, entry by entry.

use super::laws::Laws;
use super::oracle::{Oracle, bit};
use super::replay::Replay;
use super::seen::Seen;
use super::world::{Act, OWNERS, Said, Step, TOKEN_BASE};
use super::{same, shown};
use crate::locks::{AcquireOutcome, ForceOutcome, LockTable, Rules};
use crate::types::ClusterTime;

/// Of how many owners the holds are compared; the others have no part in random histories.
const OWNERS_SHOWN: usize = 6;

pub(super) struct Stage {
    pub oracle: Oracle,
    table: LockTable,
    replay: Replay,
    laws: Laws,
}

impl Stage {
    pub(super) fn new(rules: Rules) -> Self {
        let (oracle, table) = (Oracle::new(rules), LockTable::new(TOKEN_BASE));
        Self { oracle, table, replay: Replay::default(), laws: Laws::default() }
    }

    /// Applies an entry to both.
    ///
    /// # Errors
    /// What differs; the words before the first colon say what kind of difference it is.
    pub(super) fn play(&mut self, step: &Step, seen: &mut Seen) -> Result<Said, String> {
        let mut turn = step.turn(self.oracle.rules);
        self.table.advance(&mut turn);
        self.oracle.advance(step.index, step.now);
        let before = seen.note_state(&self.oracle, &step.act);
        let said = step.act.apply(&mut self.table, &mut turn);
        let expected = self.oracle.apply(&step.act);
        self.check_said(step, &said, &expected)?;
        let events = turn.take_events();
        for event in &events {
            self.replay.hear(event)?;
        }
        self.check(&events)?;
        seen.note(&self.oracle, &step.act, &said, &events, before);
        Ok(said)
    }

    fn check_said(&self, step: &Step, said: &Said, expected: &Said) -> Result<(), String> {
        let outcome = |said: &Said| match said {
            Said::Acquire(AcquireOutcome::Deadlock { .. }) => {
                Said::Acquire(AcquireOutcome::Deadlock { cycle: Vec::new() })
            }
            // In which order they are named is open.
            Said::Force(ForceOutcome::Forced { count, holds }) => {
                let (count, mut holds) = (*count, holds.clone());
                holds.sort_unstable();
                Said::Force(ForceOutcome::Forced { count, holds })
            }
            said => said.clone(),
        };
        same(step.act.kind(), &outcome(said), &outcome(expected))?;
        let Said::Acquire(AcquireOutcome::Deadlock { cycle }) = said else { return Ok(()) };
        let Some(asker) = cycle.first().and_then(|(owner, _)| super::world::who(owner)) else {
            return Err("cycle: it has no asker".to_owned());
        };
        let Some(knot) = &self.oracle.knot else {
            return Err("cycle: there is no knot".to_owned());
        };
        let asks = match &step.act {
            Act::Ask(ask) => ask.who == asker,
            Act::Upgrade { which, .. } => {
                let hold = self.oracle.holds.iter().find(|hold| hold.id == which.hold);
                hold.is_some_and(|hold| hold.who == asker)
            }
            _ => false,
        };
        if !asks {
            return Err(format!("cycle: {} did not ask", OWNERS[asker]));
        }
        knot.check_cycle(asker, cycle)
    }

    fn check(&mut self, events: &[crate::locks::LockEvent]) -> Result<(), String> {
        let now = ClusterTime(self.oracle.now);
        shown::check(&self.table, &self.oracle, OWNERS_SHOWN)?;
        self.replay.check(&self.oracle)?;
        self.laws.check(&self.table, events, now)?;
        self.table.check_invariants(now).map_err(|broken| format!("invariant: {broken}"))?;
        let stuck = self.oracle.stuck();
        let names: Vec<&str> =
            (0..OWNERS.len()).filter(|who| stuck & bit(*who) != 0).map(|who| OWNERS[who]).collect();
        if names.is_empty() { Ok(()) } else { Err(format!("knot: {names:?} will never go on")) }
    }
}
