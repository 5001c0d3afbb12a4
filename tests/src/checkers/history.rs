//! Recorded histories of locks, and whether some order of them makes sense.
//!
//! An operation that timed out stays open: it may take effect at any later time, or never. Searching
//! for an order is exponential in what overlaps, so histories are kept short: a lock is used for a
//! couple of dozen operations, or until a few have timed out, and then a fresh name takes its place.
//! Locks do not act on each other (each client of these histories holds one at a time), so each name is
//! checked alone (Herlihy and Wing: linearizability is local).
//!
//! Most histories are settled by a witness: the order of the log positions at which the operations
//! were answered. If that order respects real time and the model accepts it, it *is* a linearization,
//! whoever proposed it. All others are searched (`search.rs`). A sample also goes through stateright's
//! tester: an independent judge of both. It remembers nothing while it searches and can take longer than
//! the universe has, so it gets a budget of steps, and its word counts if it comes to an end within it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use dsync_core::types::Index;
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

use super::lock_model::{LockModel, LockOp, LockRet};
use super::search::is_linearizable;
use super::{Verdict, demand};

/// Operations after which a name is not used for new work.
const OPERATIONS_MAX: usize = 24;
/// Open operations after which a name is not used for new work.
const OPEN_MAX: usize = 3;
/// Every so many-th history with at most one open operation goes through stateright's tester.
const SAMPLE: usize = 16;

/// Steps that stateright's tester may try for one history.
const STEPS_MAX: u32 = 20_000;

/// The model, refusing every further step once the budget is spent: then the search ends by itself.
#[derive(Clone, Debug)]
struct Budgeted {
    model: LockModel,
    spent: Rc<Cell<u32>>,
}

impl SequentialSpec for Budgeted {
    type Op = LockOp;
    type Ret = LockRet;

    fn invoke(&mut self, op: &LockOp) -> LockRet {
        self.model.invoke(op)
    }

    fn is_valid_step(&mut self, op: &LockOp, ret: &LockRet) -> bool {
        self.spent.set(self.spent.get() + 1);
        self.spent.get() < STEPS_MAX && self.model.is_valid_step(op, ret)
    }
}

/// One operation.
#[derive(Clone, Debug)]
pub(super) struct Record {
    thread: u64,
    pub(super) op: LockOp,
    pub(super) invoked: u64,
    /// When it returned, with what, and the log position it was answered at.
    pub(super) returned: Option<(u64, LockRet, Index)>,
}

/// One lock's history.
#[derive(Debug, Default)]
struct History {
    records: Vec<Record>,
    open: usize,
    /// Operations that certainly had no effect.
    settled: usize,
}

/// Names a recorded operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordId(usize, usize);

/// How histories were settled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HistoryStats {
    pub(crate) operations: usize,
    pub(crate) witnessed: usize,
    pub(crate) searched: usize,
    pub(crate) judged: usize,
}

/// All histories of a run.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    histories: Vec<History>,
    /// History in use for each of the clients' lock numbers.
    current: BTreeMap<u64, usize>,
    now: u64,
}

impl Histories {
    /// The history, and with it the name, that lock number `lock` stands for now.
    pub(crate) fn current(&mut self, lock: u64) -> usize {
        let at = self.current.get(&lock).copied();
        if let Some(at) = at.filter(|at| !self.histories[*at].is_full()) {
            return at;
        }
        self.histories.push(History::default());
        self.current.insert(lock, self.histories.len() - 1);
        self.histories.len() - 1
    }

    /// A client calls. One call at a time for each thread.
    pub(crate) fn invoked(&mut self, history: usize, thread: u64, op: LockOp) -> RecordId {
        self.now += 1;
        let records = &mut self.histories[history].records;
        records.push(Record { thread, op, invoked: self.now, returned: None });
        RecordId(history, records.len() - 1)
    }

    /// It is answered.
    pub(crate) fn returned(&mut self, id: RecordId, ret: LockRet, at: Index) {
        self.now += 1;
        self.histories[id.0].settled += usize::from(ret == LockRet::Nothing);
        self.histories[id.0].records[id.1].returned = Some((self.now, ret, at));
    }

    /// It timed out and stays open.
    pub(crate) fn timed_out(&mut self, id: RecordId) {
        self.histories[id.0].open += 1;
    }

    /// True if there is an order that makes sense, for every lock.
    pub(crate) fn check(&self) -> (HistoryStats, Verdict) {
        let mut stats = HistoryStats::default();
        for (number, history) in self.histories.iter().enumerate() {
            stats.operations += history.records.len();
            let witnessed = history.has_witness();
            stats.witnessed += usize::from(witnessed);
            let linearizable = witnessed || is_linearizable(&history.records);
            let judged = number.is_multiple_of(SAMPLE) && history.open <= 1;
            let judgement = if judged { history.judged_by_stateright() } else { None };
            let judged = judgement.is_some();
            let agrees = judgement.is_none_or(|passes| passes == linearizable);
            stats.searched += usize::from(!witnessed);
            stats.judged += usize::from(judged);
            let verdict = demand(linearizable && agrees, "histories are linearizable", || {
                format!("lock {number} (checkers agree: {agrees}):\n{}", history.describe())
            });
            if verdict.is_err() {
                return (stats, verdict);
            }
        }
        (stats, Ok(()))
    }
}

impl History {
    fn is_full(&self) -> bool {
        self.records.len() - self.settled >= OPERATIONS_MAX || self.open >= OPEN_MAX
    }

    /// True if the order of log positions is a linearization. Reads and refusals come after the
    /// command at the same position: they were answered from the state behind it.
    fn has_witness(&self) -> bool {
        let mut order: Vec<(Index, bool, u64, &Record)> = self
            .records
            .iter()
            .filter_map(|record| {
                let (at, _, index) = record.returned.as_ref()?;
                let after = matches!(record.op, LockOp::Read);
                Some((*index, after, *at, record))
            })
            .collect();
        order.sort_by_key(|(index, after, at, _)| (*index, *after, *at));
        let mut latest_invocation = 0;
        let mut model = LockModel::default();
        order.iter().all(|(_, _, returned, record)| {
            latest_invocation = latest_invocation.max(record.invoked);
            let in_time = *returned > latest_invocation;
            let ret = record.returned.as_ref().map(|(_, ret, _)| ret);
            in_time && ret.is_some_and(|ret| model.is_valid_step(&record.op, ret))
        })
    }

    /// What stateright's tester says; `None` if its budget was not enough.
    fn judged_by_stateright(&self) -> Option<bool> {
        let spent = Rc::new(Cell::new(0));
        let mut tester = LinearizabilityTester::new(Budgeted {
            model: LockModel::default(),
            spent: spent.clone(),
        });
        let mut events: Vec<(u64, &Record, bool)> = Vec::new();
        for record in &self.records {
            events.push((record.invoked, record, true));
            if let Some((at, _, _)) = &record.returned {
                events.push((*at, record, false));
            }
        }
        events.sort_by_key(|(at, _, _)| *at);
        for (_, record, invoked) in events {
            let fed = if invoked {
                tester.on_invoke(record.thread, record.op.clone()).map(|_| ())
            } else if let Some((_, ret, _)) = &record.returned {
                tester.on_return(record.thread, ret.clone()).map(|_| ())
            } else {
                Ok(())
            };
            if fed.is_err() {
                return Some(false);
            }
        }
        let passes = tester.is_consistent();
        (spent.get() < STEPS_MAX).then_some(passes)
    }

    fn describe(&self) -> String {
        let line = |record: &Record| {
            let Record { thread, op, invoked, returned } = record;
            format!("  {invoked:>5} thread {thread}: {op:?} -> {returned:?}")
        };
        self.records.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use dsync_core::locks::Mode;

    use super::*;

    const X: Mode = Mode::Exclusive;

    /// Calls and answers in this order; `None` for an answer leaves the call open.
    fn history(calls: &[(u64, LockOp, Option<LockRet>)]) -> Histories {
        let mut histories = Histories::default();
        let at = histories.current(0);
        for (number, (thread, op, ret)) in calls.iter().enumerate() {
            let id = histories.invoked(at, *thread, op.clone());
            match ret {
                Some(ret) => histories.returned(id, ret.clone(), Index(number as u64)),
                None => histories.timed_out(id),
            }
        }
        histories
    }

    fn both_agree(histories: &Histories) -> bool {
        let history = &histories.histories[0];
        let found = is_linearizable(&history.records);
        assert_eq!(Some(found), history.judged_by_stateright());
        assert_eq!(found, histories.check().1.is_ok());
        found
    }

    fn granted(token: u64) -> Option<LockRet> {
        Some(LockRet::Granted { token })
    }

    #[test]
    fn a_stale_read_is_not_linearizable() {
        let taken = (1, LockOp::Acquire(1, X), granted(5));
        let read = |view: Vec<(u32, Mode, u64)>| (2, LockOp::Read, Some(LockRet::View(view)));
        assert!(both_agree(&history(&[taken.clone(), read(vec![(1, X, 5)])])));
        assert!(!both_agree(&history(&[taken, read(vec![])])));
    }

    #[test]
    fn an_open_release_explains_the_next_grant_and_a_certain_failure_does_not() {
        let taken = (1, LockOp::Acquire(1, X), granted(5));
        let next = (3, LockOp::Acquire(2, X), granted(6));
        let open = (2, LockOp::Release(1), None);
        let failed = (2, LockOp::Release(1), Some(LockRet::Nothing));
        assert!(both_agree(&history(&[taken.clone(), open, next.clone()])));
        assert!(!both_agree(&history(&[taken, failed, next])));
    }

    #[test]
    fn an_open_operation_takes_effect_at_most_once() {
        let taken = |token| (1, LockOp::Acquire(1, X), granted(token));
        let open = (2, LockOp::Release(1), None);
        let other = |owner, token| (3, LockOp::Acquire(owner, X), granted(token));
        assert!(!both_agree(&history(&[taken(5), open, other(2, 6), other(3, 7)])));
    }
}
