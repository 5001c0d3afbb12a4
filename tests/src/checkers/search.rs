//! Searching for a linearization (Wing and Gong 1993, with the memory of Lowe 2017).
//!
//! Take any operation that nothing unfinished precedes, apply it to the model, go on; when stuck, go
//! back. What makes it fast is to remember which sets of finished operations were left in which state
//! before: a second way into the same situation cannot succeed where the first failed.

use std::collections::BTreeSet;

use stateright::semantics::SequentialSpec;

use super::history::Record;
use super::lock_model::{LockModel, LockRet};

/// Most operations of one history.
const MOST: usize = 512;

/// Operations already placed, as bits.
type Placed = [u64; MOST / 64];

/// True if some order of these operations respects real time and the model. Operations that never
/// returned may be placed anywhere after their call, or left out.
pub(super) fn is_linearizable(records: &[Record]) -> bool {
    let had_no_effect = |record: &&Record| {
        record.returned.as_ref().is_some_and(|(_, ret, _)| *ret == LockRet::Nothing)
    };
    let mut order: Vec<&Record> = records.iter().filter(|r| !had_no_effect(r)).collect();
    assert!(order.len() <= MOST, "histories are kept short");
    // What returned early comes early, what never returned last: mostly the first try is right.
    order.sort_by_key(|record| record.returned.as_ref().map_or(u64::MAX, |(at, _, _)| *at));
    Search { order, dead_ends: BTreeSet::new() }.place([0; MOST / 64], &LockModel::default())
}

struct Search<'a> {
    order: Vec<&'a Record>,
    dead_ends: BTreeSet<(Placed, LockModel)>,
}

impl Search<'_> {
    fn place(&mut self, placed: Placed, model: &LockModel) -> bool {
        let open = |at: usize| placed[at / 64] & 1 << (at % 64) == 0;
        let unfinished = (0..self.order.len()).filter(|at| open(*at));
        let returns = unfinished.filter_map(|at| self.order[at].returned.as_ref().map(|r| r.0));
        let Some(earliest_return) = returns.min() else { return true };
        if !self.dead_ends.insert((placed, model.clone())) {
            return false;
        }
        (0..self.order.len()).any(|at| {
            let record = self.order[at];
            if !open(at) || record.invoked > earliest_return {
                return false;
            }
            let mut next = model.clone();
            let accepted = match &record.returned {
                Some((_, ret, _)) => next.is_valid_step(&record.op, ret),
                None => {
                    next.invoke(&record.op);
                    true
                }
            };
            let mut then = placed;
            then[at / 64] |= 1 << (at % 64);
            accepted && self.place(then, &next)
        })
    }
}
