//! Is there an order in which the answers make sense?
//!
//! Each operation must seem to happen at one moment between its request and its answer. The search of
//! Wing and Gong tries the orders that real time allows, one operation after the other; Lowe's memory
//! of what was tried (the set of operations done, and the state) keeps it from walking the same ground
//! twice. An operation without an answer may happen at any time after its request, or never.
//!
//! A read that fits the present state and teaches nothing about it is put in order at once, and nothing
//! else is tried in its place: it changes nothing, so whatever can follow without it can follow with it.
//! That keeps many reads that overlap from multiplying.
//!
//! Linearizability is local (Herlihy and Wing): each lock is searched alone. The search is exponential
//! in what overlaps and in what was never answered, so [`history`](super::history) keeps both small by
//! going on to a fresh name. A search that grows all the same fails the test instead of hanging it.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::Duration;

use super::lock_model::{LockModel, Operation};
use super::locks::Answer;

/// Configurations after which a search is given up.
const CONFIGURATIONS_MAX: usize = 3_000_000;

/// One operation of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// When, since the history began.
    pub invoked: Duration,
    /// When there was which answer; `None`: never.
    pub returned: Option<(Duration, Answer)>,
}

/// Why a history is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No order makes sense. The most operations that could be put in order.
    NoOrder {
        /// How many.
        longest: usize,
    },
    /// Too much overlaps.
    TooLarge,
}

/// Looks for an order that makes sense.
///
/// # Errors
/// If there is none, or the search grows too large.
pub fn check(calls: &[Call]) -> Result<(), Refused> {
    let mut calls = calls.to_vec();
    calls.sort_by_key(|call| call.invoked);
    let start =
        Configuration { done: vec![0; calls.len().div_ceil(64)], state: LockModel::default() };
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    let mut longest = 0;
    while let Some(configuration) = open.pop() {
        longest = longest.max(configuration.count());
        if configuration.answers_are_explained(&calls) {
            return Ok(());
        }
        for next in configuration.successors(&calls) {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
        if seen.len() > CONFIGURATIONS_MAX {
            return Err(Refused::TooLarge);
        }
    }
    Err(Refused::NoOrder { longest })
}

/// What was put in order, and the state after it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Configuration {
    /// One bit for each call.
    done: Vec<u64>,
    state: LockModel,
}

impl Configuration {
    fn is_done(&self, at: usize) -> bool {
        self.done[at / 64] & (1 << (at % 64)) != 0
    }

    fn count(&self) -> usize {
        self.done.iter().map(|word| word.count_ones() as usize).sum()
    }

    fn answers_are_explained(&self, calls: &[Call]) -> bool {
        calls.iter().enumerate().all(|(at, call)| call.returned.is_none() || self.is_done(at))
    }

    /// Whatever was asked before the first answer that is still to be explained may come next.
    fn successors(&self, calls: &[Call]) -> Vec<Self> {
        let undone = || calls.iter().enumerate().filter(|(at, _)| !self.is_done(*at));
        let first_answer = undone().filter_map(|(_, call)| Some(call.returned.as_ref()?.0)).min();
        let may_be_next = |call: &Call| first_answer.is_none_or(|first| call.invoked <= first);
        let mut candidates: Vec<_> = undone().take_while(|(_, call)| may_be_next(call)).collect();
        // The stack turns this round: who was answered first is tried first, who was never last.
        candidates.sort_by_key(|(_, call)| {
            Reverse(call.returned.as_ref().map_or(Duration::MAX, |r| r.0))
        });
        let mut successors = Vec::new();
        for (at, call) in candidates {
            let answer = call.returned.as_ref().map(|(_, answer)| answer);
            for state in self.state.step(&call.operation, answer) {
                let mut done = self.done.clone();
                done[at / 64] |= 1 << (at % 64);
                let next = Self { done, state };
                if call.operation == Operation::Look && next.state == self.state {
                    return vec![next];
                }
                successors.push(next);
            }
        }
        successors
    }
}

#[cfg(test)]
mod tests {
    use super::super::locks::Mode;
    use super::*;

    fn call(operation: Operation, from: u64, returned: Option<(u64, Answer)>) -> Call {
        let returned = returned.map(|(at, answer)| (Duration::from_millis(at), answer));
        Call { operation, invoked: Duration::from_millis(from), returned }
    }

    fn acquire(owner: &str, from: u64, returned: Option<(u64, Answer)>) -> Call {
        call(Operation::Acquire { owner: owner.to_owned(), mode: Mode::Exclusive }, from, returned)
    }

    fn release(owner: &str, from: u64, returned: Option<(u64, Answer)>) -> Call {
        call(Operation::Release { owner: owner.to_owned() }, from, returned)
    }

    fn token(token: u64) -> Answer {
        Answer::Granted { token }
    }

    #[test]
    fn operations_that_overlap_may_come_in_any_order() {
        let waits = acquire("b", 0, Some((9, Answer::Waiting)));
        let holds = acquire("a", 1, Some((8, token(1))));
        assert_eq!(check(&[waits, holds]), Ok(()));
    }

    #[test]
    fn real_time_is_respected() {
        let waits = acquire("b", 0, Some((2, Answer::Waiting)));
        let holds = acquire("a", 3, Some((4, token(1))));
        assert_eq!(check(&[waits, holds]), Err(Refused::NoOrder { longest: 0 }));
    }

    #[test]
    fn a_release_that_was_never_answered_may_have_happened_late_or_not_at_all() {
        let held = acquire("a", 0, Some((1, token(1))));
        let open = release("a", 2, None);
        let next = acquire("b", 7, Some((8, token(2))));
        let waits = acquire("b", 5, Some((6, Answer::Waiting)));
        assert_eq!(check(&[held.clone(), open.clone(), waits.clone(), next.clone()]), Ok(()));
        assert_eq!(check(&[held.clone(), open, waits.clone()]), Ok(()));
        assert_eq!(check(&[held, waits, next]), Err(Refused::NoOrder { longest: 2 }));
    }

    #[test]
    fn a_stale_read_is_found_among_many_that_overlap() {
        let mut history = Vec::new();
        for round in 0..20 {
            let (owner, at) = (format!("o{round}"), 10 * round);
            history.push(acquire(&owner, at, Some((at + 1, token(round + 1)))));
            history.push(release(&owner, at + 2, Some((at + 3, Answer::Released))));
        }
        let free = Answer::Seen(super::super::locks::View::default());
        let look = |from| call(Operation::Look, from, Some((1_000, free.clone())));
        history.extend((0..40).map(|number| look(3 * number)));
        assert_eq!(check(&history), Ok(()));
        history.push(acquire("last", 300, Some((301, token(100)))));
        history.push(look(400));
        assert_eq!(check(&history), Err(Refused::NoOrder { longest: 81 }));
    }

    #[test]
    fn a_stale_read_is_found() {
        let seen = Answer::Seen(super::super::locks::View::default());
        let history = [
            acquire("a", 0, Some((1, token(1)))),
            call(Operation::Look, 2, Some((3, seen.clone()))),
        ];
        assert!(check(&history).is_err());
        let overlaps = [history[0].clone(), call(Operation::Look, 0, Some((3, seen)))];
        assert_eq!(check(&overlaps), Ok(()));
    }
}
