//! What all clients of a run asked and were told, lock by lock.
//!
//! A lock is used until its history is long enough for a search, or too many of its requests were
//! never answered; then a fresh name takes its place. Clients that are on the old name finish there.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::linearizability::{self, Call};
use super::lock_model::Operation;
use super::locks::{Answer, Mode, Trouble};

/// Operations after which a name is not used for new work.
const CALLS_MAX: usize = 150;
/// Operations without an answer after which it is not.
const OPEN_MAX: usize = 3;

/// The histories of a run. Shared by its clients.
#[derive(Debug)]
pub struct Histories {
    began: Instant,
    prefix: String,
    locks: Mutex<Vec<Vec<Lock>>>,
}

/// One name.
#[derive(Debug, Default)]
struct Lock {
    calls: Vec<Call>,
    open: usize,
}

/// Names a lock: which of the clients' locks, and the how many-th name of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockId(usize, usize);

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    /// Operations.
    pub calls: usize,
    /// Those without an answer.
    pub open: usize,
    /// Answers that gave a lock.
    pub grants: usize,
    /// Names.
    pub names: usize,
}

impl Histories {
    /// Empty histories of `locks` locks whose names begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str, locks: usize) -> Self {
        let locks = (0..locks).map(|_| vec![Lock::default()]).collect();
        Self { began: Instant::now(), prefix: prefix.to_owned(), locks: Mutex::new(locks) }
    }

    /// The name that lock number `lock` has now.
    #[must_use]
    pub fn current(&self, lock: usize) -> LockId {
        let mut locks = self.lock();
        let names = &mut locks[lock];
        if names.last().is_some_and(|last| last.calls.len() >= CALLS_MAX || last.open >= OPEN_MAX) {
            names.push(Lock::default());
        }
        LockId(lock, names.len() - 1)
    }

    /// Its name for the nodes.
    #[must_use]
    pub fn name(&self, id: LockId) -> String {
        format!("{}-{}-{}", self.prefix, id.0, id.1)
    }

    /// Every name that was used.
    #[must_use]
    pub fn names(&self) -> Vec<LockId> {
        let locks = self.lock();
        let ids = |(lock, names): (usize, &Vec<Lock>)| {
            (0..names.len()).map(move |name| LockId(lock, name)).collect::<Vec<_>>()
        };
        locks.iter().enumerate().flat_map(ids).collect()
    }

    /// Makes a call and writes down what came of it. One of which nothing came is no part of the
    /// history: if it was applied all the same, the others' answers tell.
    pub fn record(
        &self,
        id: LockId,
        operation: Operation,
        call: impl FnOnce() -> Result<Answer, Trouble>,
    ) -> Result<Answer, Trouble> {
        let invoked = self.began.elapsed();
        let result = call();
        let returned = self.began.elapsed();
        let mut locks = self.lock();
        let lock = &mut locks[id.0][id.1];
        match &result {
            Ok(answer) => {
                let returned = Some((returned, answer.clone()));
                lock.calls.push(Call { operation, invoked, returned });
            }
            Err(Trouble::Nothing) => {}
            // A read without an answer has changed nothing and told nothing.
            Err(Trouble::Unknown) if operation == Operation::Look => {}
            Err(Trouble::Unknown) => {
                lock.open += 1;
                lock.calls.push(Call { operation, invoked, returned: None });
            }
        }
        result
    }

    /// How many answers have given a lock so far.
    #[must_use]
    pub fn grants(&self) -> usize {
        let locks = self.lock();
        locks.iter().flatten().flat_map(|lock| &lock.calls).filter_map(granted).count()
    }

    /// Checks every lock, by rules that anybody can follow and by the search for an order.
    ///
    /// # Panics
    /// If one of them does not hold, with the history of that lock.
    #[must_use]
    pub fn check(&self) -> Checked {
        let mut checked = Checked::default();
        for id in self.names() {
            let calls = self.lock()[id.0][id.1].calls.clone();
            if let Err(why) = holders_exclude_each_other(&calls) {
                panic!("{} {why}:\n{}", self.name(id), describe(&calls));
            }
            if let Err(why) = linearizability::check(&calls) {
                panic!("{} is not linearizable, {why:?}:\n{}", self.name(id), describe(&calls));
            }
            checked.calls += calls.len();
            checked.open += calls.iter().filter(|call| call.returned.is_none()).count();
            checked.grants += calls.iter().filter_map(granted).count();
            checked.names += 1;
        }
        checked
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Lock>>> {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From the answer that gave an exclusive lock to the request that gave it back nobody else has it,
/// and whoever has it later has a higher token.
fn holders_exclude_each_other(calls: &[Call]) -> Result<(), String> {
    let mut holds: Vec<Hold> = Vec::new();
    for call in calls {
        if let Some((owner, Mode::Exclusive, token, from)) = granted(call) {
            holds.push(Hold { owner, token, from, until: given_back(calls, owner, from) });
        }
    }
    holds.sort_by_key(|hold| hold.from);
    for (at, hold) in holds.iter().enumerate() {
        let later = holds[at + 1..].iter().filter(|later| later.owner != hold.owner);
        for other in later {
            if other.from < hold.until {
                return Err(format!("has two holders: {hold:?} and {other:?}"));
            }
            if other.token <= hold.token {
                return Err(format!("has a token that does not rise: {hold:?} and {other:?}"));
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Hold<'a> {
    owner: &'a str,
    token: u64,
    from: Duration,
    until: Duration,
}

fn granted(call: &Call) -> Option<(&str, Mode, u64, Duration)> {
    match (&call.operation, &call.returned) {
        (Operation::Acquire { owner, mode }, Some((at, Answer::Granted { token }))) => {
            Some((owner, *mode, *token, *at))
        }
        _ => None,
    }
}

fn given_back(calls: &[Call], owner: &str, from: Duration) -> Duration {
    let releases = calls.iter().filter(|call| {
        call.invoked >= from
            && matches!(&call.operation, Operation::Release { owner: other } if other == owner)
    });
    releases.map(|call| call.invoked).min().unwrap_or(Duration::MAX)
}

fn describe(calls: &[Call]) -> String {
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|call| call.invoked);
    let mut text = String::new();
    for call in calls {
        let _ = match &call.returned {
            Some((at, answer)) => writeln!(
                text,
                "  {:>12?} - {:>12?}  {:?} -> {answer:?}",
                call.invoked, at, call.operation
            ),
            None => writeln!(text, "  {:>12?} - never  {:?}", call.invoked, call.operation),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted_at(ms: u64, owner: &str, token: u64) -> Call {
        let at = Duration::from_millis(ms);
        let operation = Operation::Acquire { owner: owner.to_owned(), mode: Mode::Exclusive };
        Call { operation, invoked: at, returned: Some((at, Answer::Granted { token })) }
    }

    fn released_at(ms: u64, owner: &str) -> Call {
        let at = Duration::from_millis(ms);
        let operation = Operation::Release { owner: owner.to_owned() };
        Call { operation, invoked: at, returned: Some((at, Answer::Released)) }
    }

    #[test]
    fn two_holders_at_once_are_found() {
        let held = [granted_at(1, "a", 1), granted_at(2, "b", 2), released_at(3, "a")];
        assert!(holders_exclude_each_other(&held).is_err());
        let passed_on = [granted_at(1, "a", 1), released_at(2, "a"), granted_at(3, "b", 2)];
        assert_eq!(holders_exclude_each_other(&passed_on), Ok(()));
    }

    #[test]
    fn a_token_that_falls_is_found() {
        let calls = [granted_at(1, "a", 2), released_at(2, "a"), granted_at(3, "b", 1)];
        assert!(holders_exclude_each_other(&calls).is_err());
    }

    #[test]
    fn a_full_name_gives_way_to_a_fresh_one() {
        let histories = Histories::new("x", 1);
        let first = histories.current(0);
        let release = || Operation::Release { owner: "a".to_owned() };
        for _ in 0..OPEN_MAX {
            assert_eq!(histories.current(0), first);
            let _ = histories.record(first, release(), || Err(Trouble::Unknown));
        }
        assert_eq!(histories.name(histories.current(0)), "x-0-1");
    }
}
