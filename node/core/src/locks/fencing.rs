//! Fencing tokens: numbers by which a resource refuses a holder that is late.
//!
//! A stopped process may wake up after its lease has ended and still believe that it holds the
//! lock. If it sends its token with every write, the resource can refuse a token that is lower than
//! one it has seen. For that, tokens must rise over successive *incompatible* holders. Readers who
//! overlap do not exclude each other, so the readers of one group share the token of its first:
//! with a number each, the resource would refuse the older reader though it still holds the lock.
//!
//! One counter serves the whole cluster, so a lock that vanished and came back never repeats a
//! token. Its first value comes with the founding entry and grows with real time (2^22 a second
//! since 2025), so a cluster founded anew starts above everything the old one can have minted. It
//! stays below 2^53, which JavaScript can still count, until the year 2093.

use super::lock::Lock;
use super::request::Mode;
use crate::types::ClusterTime;

/// The counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    next: u64,
}

impl Tokens {
    pub(super) fn starting_at(base: u64) -> Self {
        Self { next: base }
    }

    /// What the next incompatible grant will get.
    pub(super) fn next(self) -> u64 {
        self.next
    }

    /// The token of a grant in `mode` that `lock` is about to get: the group's if it joins readers,
    /// else a new one.
    pub(super) fn for_grant(&mut self, lock: &Lock, mode: Mode, now: ClusterTime) -> u64 {
        match (mode, lock.live_holders(now).next()) {
            (Mode::Shared, Some((_, reader))) => reader.token,
            _ => self.mint(),
        }
    }

    fn mint(&mut self) -> u64 {
        let token = self.next;
        self.next += 1;
        token
    }
}
