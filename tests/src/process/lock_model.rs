//! One lock as a client may understand it: the sequential specification of the checker.
//!
//! What makes it subtle: who was told "wait" keeps a place, and is later offered the lock, for a while
//! of *cluster* time that no client sees. So the model has two kinds of owners:
//!
//! - *holders* were told that they hold the lock. These locks have no lease, so each holds it until it
//!   releases. This is the strict part.
//! - *askers* were told "wait" and have not left since. Each may be a waiter, may be offered the lock,
//!   or may be forgotten. An offer is never answered as a hold, so askers keep nobody from being told
//!   that it holds the lock; they only excuse that others wait.
//!
//! The model therefore accepts that a forgotten place makes others wait, but no second holder, no hold
//! that vanishes, no read that misses or invents a holder, no token that does not rise, no release
//! that did nothing, and nothing that takes effect twice.
//!
//! Compared with the simulator's model (`checkers/lock_model.rs`), this one also judges the waiters and
//! offers that a read shows, and can be compared and hashed, as a search with a memory needs it.
//!
//! An operation without an answer may have had any outcome: a step gives all states that may follow.

use std::collections::{BTreeMap, BTreeSet};

use super::locks::{Answer, Mode, View};

/// What a client asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// For the lock.
    Acquire {
        /// Who.
        owner: String,
        /// How.
        mode: Mode,
    },
    /// To give it back.
    Release {
        /// Who.
        owner: String,
    },
    /// Who holds it.
    Look,
}

/// The lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LockModel {
    /// Mode, and the token if an answer told it.
    holders: BTreeMap<String, (Mode, Option<u64>)>,
    askers: BTreeSet<String>,
    last_token: u64,
}

impl LockModel {
    /// The states that the lock may be in after the operation; none if it cannot be answered so.
    #[must_use]
    pub fn step(&self, operation: &Operation, answer: Option<&Answer>) -> Vec<Self> {
        match (operation, answer) {
            (Operation::Acquire { owner, mode }, Some(Answer::Granted { token })) => {
                self.granted(owner, *mode, *token).into_iter().collect()
            }
            (Operation::Acquire { owner, mode }, Some(Answer::Waiting)) => {
                self.waits(owner, *mode).into_iter().collect()
            }
            (Operation::Acquire { owner, mode }, None) => self.acquired_somehow(owner, *mode),
            (Operation::Release { owner }, answer) => {
                self.released(owner, answer).into_iter().collect()
            }
            (Operation::Look, Some(Answer::Seen(view))) => self.seen(view).into_iter().collect(),
            (Operation::Look, None) => vec![self.clone()],
            (Operation::Acquire { .. } | Operation::Look, Some(_)) => Vec::new(),
        }
    }

    fn granted(&self, owner: &str, mode: Mode, token: u64) -> Option<Self> {
        let fits = match self.holders.get(owner) {
            Some((held, known)) => *held == mode && known.is_none_or(|known| known == token),
            None => !self.held_against(owner, mode) && self.is_next_token(mode, token),
        };
        fits.then(|| self.with_holder(owner, mode, Some(token)))
    }

    /// An exclusive grant, and the first of a group of readers, have a token of their own; who joins
    /// a group shares its token. A group may have begun with an offer that nobody picked up.
    fn is_next_token(&self, mode: Mode, token: u64) -> bool {
        let group = self.holders.values().find_map(|(_, token)| *token);
        match group {
            Some(group) => token == group,
            None if mode == Mode::Shared && !self.is_untouched() => token >= self.last_token,
            None => token > self.last_token,
        }
    }

    fn waits(&self, owner: &str, mode: Mode) -> Option<Self> {
        let has_reason = self.held_against(owner, mode) || self.others_ask(owner);
        (has_reason && !self.holders.contains_key(owner)).then(|| self.with_asker(owner))
    }

    fn acquired_somehow(&self, owner: &str, mode: Mode) -> Vec<Self> {
        if self.holders.contains_key(owner) {
            return vec![self.clone()];
        }
        if self.held_against(owner, mode) {
            return vec![self.with_asker(owner)];
        }
        let mut states = vec![self.with_holder(owner, mode, None)];
        if self.others_ask(owner) {
            states.push(self.with_asker(owner));
        }
        states
    }

    fn released(&self, owner: &str, answer: Option<&Answer>) -> Option<Self> {
        let holds = self.holders.contains_key(owner);
        let asks = self.askers.contains(owner);
        let fits = match answer {
            None => true,
            Some(Answer::Released) => holds || asks,
            Some(Answer::LeftQueue) => asks,
            Some(Answer::NotHolder) => !holds,
            Some(_) => false,
        };
        let mut after = self.clone();
        after.holders.remove(owner);
        after.askers.remove(owner);
        fits.then_some(after)
    }

    fn seen(&self, view: &View) -> Option<Self> {
        let (holds, offers): (Vec<_>, Vec<_>) = view.holders.iter().partition(|h| !h.claim);
        let asks = |owner: &String| self.askers.contains(owner);
        let known = offers.iter().all(|offer| asks(&offer.owner))
            && view.waiters.iter().all(|waiter| asks(&waiter.owner));
        if !known || holds.len() != self.holders.len() {
            return None;
        }
        let mut after = self.clone();
        for hold in holds {
            let (mode, token) = after.holders.get_mut(&hold.owner)?;
            if *mode != hold.mode || token.is_some_and(|token| token != hold.token) {
                return None;
            }
            *token = Some(hold.token);
            after.last_token = after.last_token.max(hold.token);
        }
        Some(after)
    }

    fn with_holder(&self, owner: &str, mode: Mode, token: Option<u64>) -> Self {
        let mut after = self.clone();
        after.askers.remove(owner);
        after.holders.insert(owner.to_owned(), (mode, token));
        after.last_token = after.last_token.max(token.unwrap_or(0));
        after
    }

    fn with_asker(&self, owner: &str) -> Self {
        let mut after = self.clone();
        after.askers.insert(owner.to_owned());
        after
    }

    fn held_against(&self, owner: &str, mode: Mode) -> bool {
        let excludes = |held: Mode| mode == Mode::Exclusive || held == Mode::Exclusive;
        self.holders.iter().any(|(other, (held, _))| other != owner && excludes(*held))
    }

    fn others_ask(&self, owner: &str) -> bool {
        self.askers.iter().any(|other| other != owner)
    }

    fn is_untouched(&self) -> bool {
        self.holders.is_empty() && self.askers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::super::locks::Holder;
    use super::*;

    const X: Mode = Mode::Exclusive;
    const S: Mode = Mode::Shared;

    type Step = (Operation, Option<Answer>);

    fn asks(owner: &str, mode: Mode, answer: impl Into<Option<Answer>>) -> Step {
        (Operation::Acquire { owner: owner.to_owned(), mode }, answer.into())
    }

    fn gives_back(owner: &str, answer: impl Into<Option<Answer>>) -> Step {
        (Operation::Release { owner: owner.to_owned() }, answer.into())
    }

    fn sees(holders: &[(&str, u64)]) -> Step {
        let holder = |(owner, token): &(&str, u64)| Holder {
            owner: (*owner).to_owned(),
            mode: X,
            token: *token,
            claim: false,
        };
        let holders = holders.iter().map(holder).collect();
        (Operation::Look, Some(Answer::Seen(View { holders, waiters: Vec::new() })))
    }

    fn token(token: u64) -> Answer {
        Answer::Granted { token }
    }

    fn accepts(steps: &[Step]) -> bool {
        let mut states = vec![LockModel::default()];
        for (operation, answer) in steps {
            states = states.iter().flat_map(|s| s.step(operation, answer.as_ref())).collect();
        }
        !states.is_empty()
    }

    #[test]
    fn two_exclusive_holders_are_refused() {
        assert!(!accepts(&[asks("a", X, token(5)), asks("b", X, token(6))]));
        let given_back = gives_back("a", Answer::Released);
        assert!(accepts(&[asks("a", X, token(5)), given_back, asks("b", X, token(6))]));
    }

    #[test]
    fn a_token_that_does_not_rise_is_refused() {
        let given_back = gives_back("a", Answer::Released);
        assert!(!accepts(&[asks("a", X, token(5)), given_back, asks("b", X, token(5))]));
    }

    #[test]
    fn readers_who_overlap_share_a_token() {
        assert!(accepts(&[asks("a", S, token(5)), asks("b", S, token(5))]));
        assert!(!accepts(&[asks("a", S, token(5)), asks("b", S, token(6))]));
    }

    #[test]
    fn a_hold_that_vanishes_and_one_that_nobody_has_are_refused() {
        let held = asks("a", X, token(5));
        assert!(accepts(&[held.clone(), sees(&[("a", 5)])]));
        assert!(!accepts(&[held.clone(), sees(&[])]));
        assert!(!accepts(&[held.clone(), gives_back("a", Answer::Released), sees(&[("a", 5)])]));
        assert!(!accepts(&[held, gives_back("a", Answer::NotHolder)]));
    }

    #[test]
    fn nobody_waits_for_nothing() {
        assert!(!accepts(&[asks("a", X, Answer::Waiting)]));
        assert!(accepts(&[asks("a", X, token(5)), asks("b", X, Answer::Waiting)]));
    }

    #[test]
    fn an_operation_without_an_answer_may_have_had_any_outcome() {
        let maybe = asks("a", X, None);
        assert!(accepts(&[maybe.clone(), asks("b", X, Answer::Waiting)]));
        assert!(accepts(&[maybe.clone(), sees(&[("a", 5)]), gives_back("a", None), sees(&[])]));
        assert!(!accepts(&[maybe, asks("b", X, token(5))]));
    }
}
