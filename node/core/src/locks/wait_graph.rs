//! Deadlock: found in the very request that would close it.
//!
//! # Problem
//!
//! A holds X and waits for Y; B holds Y and asks for X. Nobody will ever move.
//!
//! # Idea
//!
//! The edges of the wait-for graph are exactly the reasons for not being granted: from a waiter to
//! every live holder that excludes it, and to every live *earlier waiter* that excludes it, since the
//! queue is fair. The second kind is real: a writer queued between two readers makes the later
//! reader wait for the writer.
//!
//! Only a new wait adds edges, and all of them start at the asker: a grant turns edges that pointed
//! at a waiter into edges that point at a holder, a renewal adds nothing, everything else removes.
//! So a graph without cycles stays so if each new waiter finds no path from itself back to itself.
//! If it finds one it is the victim: it is not queued, what it holds stays, and the others wait on.
//! It is told the cycle. The search is breadth-first, so that is a shortest one.
//!
//! A path is enough because every wait needs *all* its reasons gone. Permits will change that.
//!
//! # Cost
//!
//! Most askers that must wait are not waited for by anybody: no search. Otherwise the search looks
//! at each waiter and holder of a reachable lock at most once per mode: what a wait at place 9 saw,
//! a wait at place 10 of the same queue need not look at again.
//!
//! # Rejected
//!
//! Time-outs (they take slow work for deadlock), a detector beside the machine (it sees half-applied
//! states and raises false alarms), choosing the youngest of the cycle as the victim (somebody who
//! was told "you wait" would be thrown out by somebody else's request).

use std::collections::{BTreeMap, VecDeque};

use super::lock::{Arrival, Lock};
use super::presence::Presence;
use super::outcome::CYCLE_NAMED_MAX;
use super::request::{Mode, Owner};
use super::table::LockTable;
use crate::types::ClusterTime;

/// The cycle that would close if `asker` became the last waiter of `name`: the owners in order, each
/// with the lock it waits for, the asker first.
pub(super) fn closes(
    table: &LockTable,
    asker: &Owner,
    name: &str,
    mode: Mode,
    now: ClusterTime,
) -> Option<Vec<(Owner, String)>> {
    if !is_waited_for(table, asker, now) {
        return None;
    }
    let mut search = Search {
        table,
        now,
        origin: asker,
        reached: BTreeMap::new(),
        seen: BTreeMap::new(),
        pending: VecDeque::new(),
    };
    search.follow(asker, Wait { name, mode, before: Arrival::MAX });
    while !search.reached.contains_key(asker) {
        let next = search.pending.pop_front()?;
        search.follow_all(next);
    }
    Some(search.cycle())
}

/// The live waits of an owner.
pub(super) fn waits<'a>(
    table: &'a LockTable,
    owner: &Owner,
    now: ClusterTime,
) -> impl Iterator<Item = (&'a Lock, Wait<'a>)> {
    table.owners.get(owner).into_iter().flatten().filter_map(move |(name, presence)| {
        let Presence::Waits(before) = *presence else { return None };
        let lock = table.locks.get(name)?;
        let waiter = lock.queue.get(&before).filter(|waiter| waiter.live(now))?;
        Some((lock, Wait { name, mode: waiter.mode, before }))
    })
}

/// A place in a queue.
#[derive(Clone, Copy)]
pub(super) struct Wait<'a> {
    pub(super) name: &'a str,
    pub(super) mode: Mode,
    pub(super) before: Arrival,
}

struct Search<'a> {
    table: &'a LockTable,
    now: ClusterTime,
    /// Where the cycle has to come back to.
    origin: &'a Owner,
    /// Owner -> who was found to wait for it, and for which lock: the way back.
    reached: BTreeMap<&'a Owner, (&'a Owner, &'a str)>,
    /// Lock -> how far its queue has been looked at, for an exclusive and for a shared wait.
    seen: BTreeMap<&'a str, [Option<Arrival>; 2]>,
    /// Reached, but its own waits not followed yet.
    pending: VecDeque<&'a Owner>,
}

impl<'a> Search<'a> {
    /// Follows every wait of an owner.
    fn follow_all(&mut self, owner: &'a Owner) {
        for (_, wait) in waits(self.table, owner, self.now) {
            self.follow(owner, wait);
        }
    }

    /// Reaches everybody for whom this wait of `owner` waits.
    fn follow(&mut self, owner: &'a Owner, wait: Wait<'a>) {
        let Some(lock) = self.table.locks.get(wait.name) else { return };
        let from = self.look(wait);
        for reason in reasons(lock, wait, from, self.now) {
            if !self.reached.contains_key(reason) {
                self.reached.insert(reason, (owner, wait.name));
                self.pending.push_back(reason);
            }
        }
    }

    /// Where in the queue this wait has something new to look at (`None`: nothing of the lock was
    /// looked at yet), and remembers that it was. Whom a shared wait sees, an exclusive one sees too.
    fn look(&mut self, wait: Wait<'a>) -> Option<Arrival> {
        let [exclusive, shared] = self.seen.entry(wait.name).or_default();
        let from = match wait.mode {
            Mode::Exclusive | Mode::Permits => *exclusive,
            Mode::Shared => (*exclusive).max(*shared),
        };
        let seen = if wait.mode == Mode::Exclusive { exclusive } else { shared };
        *seen = (*seen).max(Some(wait.before));
        from
    }

    /// The way back from the origin to itself, turned round.
    fn cycle(&self) -> Vec<(Owner, String)> {
        let mut way = Vec::new();
        let mut at = self.origin;
        while let Some((waiter, name)) = self.reached.get(at) {
            way.push((Owner::clone(waiter), (*name).to_owned()));
            at = waiter;
            if at == self.origin {
                break;
            }
        }
        way.reverse();
        way.truncate(CYCLE_NAMED_MAX);
        way
    }
}

/// The edges: who keeps this wait from being granted. With `from`, only waiters from that place on.
pub(super) fn reasons<'a>(
    lock: &'a Lock,
    wait: Wait<'a>,
    from: Option<Arrival>,
    now: ClusterTime,
) -> impl Iterator<Item = &'a Owner> {
    let holders = lock.live_holders(now).map(|(owner, hold)| (owner, hold.mode));
    let holders = holders.take_while(move |_| from.is_none());
    let earlier = lock
        .live_waiters(from.unwrap_or(0), now)
        .take_while(move |(arrival, _)| *arrival < wait.before)
        .map(|(_, waiter)| (&waiter.owner, waiter.mode));
    let in_the_way = holders.chain(earlier).filter(move |(_, mode)| mode.excludes(wait.mode));
    in_the_way.map(|(owner, _)| &**owner)
}

/// Somebody waits on a lock that `owner` holds, or behind a place of it. May say yes too often.
fn is_waited_for(table: &LockTable, owner: &Owner, now: ClusterTime) -> bool {
    let presences = table.owners.get(owner).into_iter().flatten();
    presences.into_iter().any(|(name, presence)| {
        let behind = match *presence {
            Presence::Holds => 0,
            Presence::Waits(arrival) => arrival + 1,
        };
        let lock = table.locks.get(name);
        lock.is_some_and(|lock| lock.live_waiters(behind, now).next().is_some())
    })
}
