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
//!
//! No token at or above 2^53 is ever given: long before, no new request is taken ([`USED_UP_AT`]). That
//! is a last resort. A founder whose clock is far off is refused when it founds; see the node's
//! `founding_clock.rs`.
//!
//! A hold of several locks mints at most one number, for all that need a new one. Permits of a
//! semaphore get a number for each hold; they exclude nobody, so it says only that the hold was live
//! at some time, which the check endpoint can tell.

use super::lock::Item;
use super::request::Mode;
use super::table::LockTable;
use crate::types::ClusterTime;

/// From this token on no new request is taken. Those that wait already may still mint one each, and
/// there are fewer of them than numbers from here to 2^53.
pub(super) const USED_UP_AT: u64 = (1 << 53) - (1 << 40);

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

    /// Too few are left for new requests.
    pub(super) fn are_used_up(self) -> bool {
        self.next >= USED_UP_AT
    }

    pub(super) fn mint(&mut self) -> u64 {
        let token = self.next;
        self.next += 1;
        token
    }
}

impl LockTable {
    /// The token of a grant that a lock is about to get: the group's if it joins readers, else the
    /// one that this grant has minted.
    pub(super) fn token(&mut self, item: &Item, minted: &mut Option<u64>, now: ClusterTime) -> u64 {
        let lock = self.locks.get(&item.name).filter(|_| item.mode == Mode::Shared);
        let reader = lock.and_then(|lock| self.live_holders(lock, now).next());
        match reader {
            Some((_, share)) => share.token,
            None => *minted.get_or_insert_with(|| self.tokens.mint()),
        }
    }
}
