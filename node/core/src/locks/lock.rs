//! One lock: its holders and its queue.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::lease::ended;
use super::request::{HoldId, Mode, Owner};
use crate::types::ClusterTime;

/// A place in a lock's queue. Rises along the queue; means nothing outside it, and starts again
/// when the queue has been empty, so it is not part of a snapshot.
pub(super) type Arrival = u64;

/// A lock that somebody holds or waits for.
///
/// What has ended by `now` may still stand in here for a few entries (see `lease.rs`), so everything
/// that decides asks for the *live* ones. All live holders have one mode, and one token.
#[derive(Clone, Debug, Default)]
pub(super) struct Lock {
    pub(super) holders: RedBlackTreeMapSync<Arc<Owner>, Hold>,
    pub(super) queue: RedBlackTreeMapSync<Arrival, Waiter>,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) mode: Mode,
    pub(super) id: HoldId,
    pub(super) token: u64,
    /// Granted to a waiter that has not asked since. `ends_at` is then the end of the claim window,
    /// and always set.
    pub(super) claim: bool,
    /// `None`: never.
    pub(super) ends_at: Option<ClusterTime>,
}

/// One who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiter {
    pub(super) owner: Arc<Owner>,
    pub(super) mode: Mode,
    pub(super) place_ends_at: ClusterTime,
}

impl Mode {
    /// The two cannot hold one lock at the same time.
    #[must_use]
    pub(super) fn excludes(self, other: Self) -> bool {
        self == Self::Exclusive || other == Self::Exclusive
    }
}

impl Hold {
    pub(super) fn live(&self, now: ClusterTime) -> bool {
        !ended(self.ends_at, now)
    }
}

impl Waiter {
    pub(super) fn live(&self, now: ClusterTime) -> bool {
        !ended(Some(self.place_ends_at), now)
    }
}

impl Lock {
    pub(super) fn is_idle(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty()
    }

    pub(super) fn live_holders(
        &self,
        now: ClusterTime,
    ) -> impl Iterator<Item = (&Arc<Owner>, &Hold)> {
        self.holders.iter().filter(move |(_, hold)| hold.live(now))
    }

    /// Live waiters from place `from` on, first come first.
    pub(super) fn live_waiters(
        &self,
        from: Arrival,
        now: ClusterTime,
    ) -> impl Iterator<Item = (Arrival, &Waiter)> {
        let queue = self.queue.range::<Arrival, _>(from..);
        queue.map(|(arrival, waiter)| (*arrival, waiter)).filter(move |(_, w)| w.live(now))
    }

    /// Some live holder excludes `mode`. One is enough to look at: they all have the same mode.
    pub(super) fn held_against(&self, mode: Mode, now: ClusterTime) -> bool {
        self.live_holders(now).next().is_some_and(|(_, hold)| hold.mode.excludes(mode))
    }

    /// The place behind everybody.
    pub(super) fn next_arrival(&self) -> Arrival {
        self.queue.last().map_or(0, |(last, _)| last + 1)
    }
}
