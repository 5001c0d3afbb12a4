//! One lock as a client may understand it: the sequential model for the linearizability checker.
//!
//! # What makes it subtle
//!
//! Asking for a taken lock puts the asker into a queue, and both its place and the claim that it may
//! later be offered end by themselves after a while of *cluster* time, which no client sees. So after
//! "you wait" a client may be nobody, a waiter or the owner of a claim. The model does not guess. It
//! distinguishes three kinds of owners:
//!
//! - *holders*: were told "granted", or asked when nothing could have stood in their way. The locks of
//!   these histories have no lease, so a holder stays one until it releases. This is the strict part.
//! - *asked*: were told "wait" and have not left since. Each may be a waiter, a claimant or forgotten.
//!   A claim is never answered as a hold, so they exclude nobody from being *told* "granted"; they
//!   only excuse others' waiting.
//! - *maybe*: their ask was never answered and others had asked before. Holder or asked, settled by
//!   the next answer that tells.
//!
//! So the model may accept what a stricter one would refuse (that a forgotten place still makes others
//! wait), but never two holders at once, a hold that vanishes, a read that misses or invents a holder,
//! a token that does not rise, a release that did nothing, or an operation that takes effect twice.
//!
//! Rejected: modelling cluster time in the history. It is not observable from outside, and an oracle
//! that reads it from the nodes would believe what it is meant to check. Leases have a check of their
//! own, from their holders' view (`leases.rs`).

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::locks::Mode;
use stateright::semantics::SequentialSpec;

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LockOp {
    Acquire(u32, Mode),
    Release(u32),
    Read,
}

/// What the client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LockRet {
    Granted {
        token: u64,
    },
    Waiting,
    /// Not taken, nothing changed: a limit, or certainly lost on the way.
    Nothing,
    Released,
    LeftQueue,
    NotHolder,
    /// Full holders: owner, mode, token.
    View(Vec<(u32, Mode, u64)>),
}

/// The lock.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LockModel {
    /// Mode, and token if some answer told it.
    holders: BTreeMap<u32, (Mode, Option<u64>)>,
    asked: BTreeSet<u32>,
    maybe: BTreeMap<u32, Mode>,
    last_token: u64,
}

fn compatible(a: Mode, b: Mode) -> bool {
    a == Mode::Shared && b == Mode::Shared
}

impl LockModel {
    /// True if a full holder other than `owner` is against `mode`.
    fn held_against(&self, owner: u32, mode: Mode) -> bool {
        self.holders.iter().any(|(other, (held, _))| *other != owner && !compatible(*held, mode))
    }

    /// True if somebody other than `owner` may stand in the queue or own a claim.
    fn others_asked(&self, owner: u32) -> bool {
        self.asked.iter().chain(self.maybe.keys()).any(|other| *other != owner)
    }

    fn forget(&mut self, owner: u32) {
        self.holders.remove(&owner);
        self.asked.remove(&owner);
        self.maybe.remove(&owner);
    }

    fn granted(&mut self, owner: u32, mode: Mode, token: u64) -> bool {
        if let Some((held, known)) = self.holders.get(&owner) {
            let same = *held == mode && known.is_none_or(|known| known == token);
            self.holders.insert(owner, (mode, Some(token)));
            self.last_token = self.last_token.max(token);
            return same;
        }
        if self.held_against(owner, mode) {
            return false;
        }
        // Who may have held it cannot have, since this owner was granted it.
        let refuted: Vec<u32> = self
            .maybe
            .iter()
            .filter(|(other, held)| **other != owner && !compatible(**held, mode))
            .map(|(other, _)| *other)
            .collect();
        for other in refuted {
            self.maybe.remove(&other);
            self.asked.insert(other);
        }
        let group = self.holders.values().find_map(|(_, token)| *token);
        let own_maybe = self.maybe.contains_key(&owner);
        let fresh = self.holders.is_empty() && self.asked.is_empty() && self.maybe.is_empty();
        let token_fits = match group {
            Some(group) => token == group,
            None if fresh || (mode == Mode::Exclusive && !own_maybe) => token > self.last_token,
            None => token >= self.last_token,
        };
        self.forget(owner);
        self.holders.insert(owner, (mode, Some(token)));
        self.last_token = self.last_token.max(token);
        token_fits
    }

    fn waits(&mut self, owner: u32, mode: Mode) -> bool {
        let reason = self.held_against(owner, mode) || self.others_asked(owner);
        let holds = self.holders.contains_key(&owner);
        self.forget(owner);
        self.asked.insert(owner);
        reason && !holds
    }

    fn released(&mut self, owner: u32, ret: &LockRet) -> bool {
        let holds = self.holders.contains_key(&owner);
        let pending = self.asked.contains(&owner) || self.maybe.contains_key(&owner);
        self.forget(owner);
        match ret {
            LockRet::Released => holds || pending,
            LockRet::LeftQueue => !holds && pending,
            LockRet::NotHolder => !holds,
            _ => false,
        }
    }

    fn seen(&mut self, view: &[(u32, Mode, u64)]) -> bool {
        let shows = |owner: u32| view.iter().find(|(other, _, _)| *other == owner);
        let all_shown = self.holders.iter().all(|(owner, (mode, token))| {
            shows(*owner).is_some_and(|(_, seen_mode, seen)| {
                seen_mode == mode && token.is_none_or(|token| token == *seen)
            })
        });
        let none_invented = view.iter().all(|(owner, _, _)| {
            self.holders.contains_key(owner) || self.maybe.contains_key(owner)
        });
        for owner in self.maybe.keys().copied().collect::<Vec<_>>() {
            self.maybe.remove(&owner);
            if shows(owner).is_none() {
                self.asked.insert(owner);
            }
        }
        for (owner, mode, token) in view {
            self.holders.insert(*owner, (*mode, Some(*token)));
            self.last_token = self.last_token.max(*token);
        }
        all_shown && none_invented
    }
}

impl SequentialSpec for LockModel {
    type Op = LockOp;
    type Ret = LockRet;

    /// An operation whose answer never came.
    fn invoke(&mut self, op: &LockOp) -> LockRet {
        match op {
            LockOp::Acquire(owner, mode) if !self.holders.contains_key(owner) => {
                if self.held_against(*owner, *mode) {
                    self.maybe.remove(owner);
                    self.asked.insert(*owner);
                } else if self.others_asked(*owner) || self.asked.contains(owner) {
                    self.asked.remove(owner);
                    self.maybe.insert(*owner, *mode);
                } else {
                    self.forget(*owner);
                    self.holders.insert(*owner, (*mode, None));
                }
            }
            LockOp::Acquire(..) | LockOp::Read => {}
            LockOp::Release(owner) => self.forget(*owner),
        }
        LockRet::Nothing
    }

    fn is_valid_step(&mut self, op: &LockOp, ret: &LockRet) -> bool {
        match (op, ret) {
            (_, LockRet::Nothing) => true,
            (LockOp::Acquire(owner, mode), LockRet::Granted { token }) => {
                self.granted(*owner, *mode, *token)
            }
            (LockOp::Acquire(owner, mode), LockRet::Waiting) => self.waits(*owner, *mode),
            (LockOp::Release(owner), ret) => self.released(*owner, ret),
            (LockOp::Read, LockRet::View(view)) => self.seen(view),
            (LockOp::Acquire(..) | LockOp::Read, _) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(steps: &[(LockOp, LockRet)]) -> bool {
        LockModel::default().is_valid_history(steps.iter().cloned())
    }

    const X: Mode = Mode::Exclusive;
    const S: Mode = Mode::Shared;

    #[test]
    fn two_exclusive_holders_are_refused() {
        let first = (LockOp::Acquire(1, X), LockRet::Granted { token: 5 });
        let second = (LockOp::Acquire(2, X), LockRet::Granted { token: 6 });
        let release = (LockOp::Release(1), LockRet::Released);
        assert!(!accepts(&[first.clone(), second.clone()]));
        assert!(accepts(&[first, release, second]));
    }

    #[test]
    fn a_token_that_does_not_rise_is_refused() {
        let held = |owner, token| (LockOp::Acquire(owner, X), LockRet::Granted { token });
        let release = (LockOp::Release(1), LockRet::Released);
        assert!(!accepts(&[held(1, 5), release, held(2, 5)]));
    }

    #[test]
    fn readers_who_overlap_share_a_token() {
        let held = |owner, token| (LockOp::Acquire(owner, S), LockRet::Granted { token });
        assert!(accepts(&[held(1, 5), held(2, 5)]));
        assert!(!accepts(&[held(1, 5), held(2, 6)]));
    }

    #[test]
    fn a_read_that_misses_or_invents_a_holder_is_refused() {
        let held = (LockOp::Acquire(1, X), LockRet::Granted { token: 5 });
        let sees = |view: &[(u32, Mode, u64)]| (LockOp::Read, LockRet::View(view.to_vec()));
        assert!(accepts(&[held.clone(), sees(&[(1, X, 5)])]));
        assert!(!accepts(&[held.clone(), sees(&[])]));
        assert!(!accepts(&[held, sees(&[(1, X, 5), (2, X, 6)])]));
    }

    #[test]
    fn nobody_waits_for_nothing_and_no_release_is_swallowed() {
        assert!(!accepts(&[(LockOp::Acquire(1, X), LockRet::Waiting)]));
        let held = (LockOp::Acquire(1, X), LockRet::Granted { token: 5 });
        assert!(!accepts(&[held, (LockOp::Release(1), LockRet::NotHolder)]));
    }
}
