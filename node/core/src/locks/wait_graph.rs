//! Deadlock: found in the very request that would close it.
//!
//! # Problem
//!
//! A holds X and waits for Y; B holds Y and asks for X. Nobody will ever move.
//!
//! # Idea
//!
//! The edges of the wait-for graph are exactly the reasons for not being granted: from a waiter to
//! every live holder that it cannot be beside, and to every live *earlier waiter* that it may not
//! pass, since the queue is fair. The second kind is real: a writer queued between two readers makes
//! the later reader wait for the writer.
//!
//! Only a new wait, or a wish to upgrade (also one that is granted at once, since whoever waits there
//! waits for a writer from then on), adds edges that can close a cycle, and every cycle that it closes
//! goes through its owner: a grant turns edges that pointed at a waiter into edges that
//! point at a holder, a renewal adds nothing, everything else removes. So a graph without cycles
//! stays so if each new wait is put in only if no path leads from its owner back to itself. If one
//! does, its request is the victim: it is not queued, what its owner holds stays, and the others wait
//! on. It is told the cycle. The search is breadth-first, so that is a shortest one.
//!
//! # Permits
//!
//! A path is a deadlock where every edge is a necessity: the waiter needs *all* its reasons gone. Who
//! waits for permits does not: it needs enough of them, from whomever. So where a path leads through
//! a wait for permits the test is *reduction* (Holt 1972): an owner whose waits can all be met will
//! end, and give back all it has; take it away, and look who can be met then. If the asker is never
//! taken away, nobody's goodwill helps it. Everything that the asker depends on is in the set that
//! the path search has reached, so only that set is reduced.
//!
//! # Cost
//!
//! Most askers that must wait are not waited for by anybody: no search. Otherwise the search leaves
//! out every edge that leads nowhere new:
//!
//! - a holder that waits for nothing ends every path: it is skipped;
//! - a waiter before us in the same queue, that waits for nothing else, waits for nobody but those
//!   that we wait for ourselves: it is skipped without being looked at, whatever the queue's length.
//!   Only the *crossing* ones are followed (`lock.rs`), whose owners wait elsewhere, too;
//! - a reader behind a writer waits for whatever the last writer before it waits for;
//! - what a wait at place 9 saw of a queue, a wait at place 10 need not look at again.
//!
//! # Rejected
//!
//! Time-outs (they take slow work for deadlock), a detector beside the machine (it sees half-applied
//! states and raises false alarms), choosing the youngest of the cycle as the victim (somebody who
//! was told "you wait" would be thrown out by somebody else's request).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use super::lock::Lock;
use super::outcome::CYCLE_NAMED_MAX;
use super::presence::Presence;
use super::reduction;
use super::request::{HoldId, Mode, Owner};
use super::table::LockTable;
use crate::types::ClusterTime;

/// Owners in order, each with the lock for which it waits for the next; the last waits for the first.
pub(super) type Cycle = Vec<(Owner, String)>;

/// The cycle that goes through `asker`, whose newest wait or wish is in the table already.
pub(super) fn closes(table: &LockTable, asker: &Owner, now: ClusterTime) -> Option<Cycle> {
    if !is_waited_for(table, asker, now) {
        return None;
    }
    let mut search = Search::new(table, asker, now, None);
    if !search.run() {
        return None;
    }
    if !search.met_permits {
        return Some(search.cycle());
    }
    // Who only waits here leads nowhere else, but what it asks for has to be there as well.
    let mut search = Search { skips: false, ..Search::new(table, asker, now, None) };
    search.run_to_end();
    let stuck = reduction::stuck(table, &search.reached_owners(), now);
    if !stuck.contains(asker) {
        return None;
    }
    // The path that was found may lead through somebody who will end: find one that does not.
    let mut search = Search::new(table, asker, now, Some(&stuck));
    search.run();
    Some(search.cycle())
}

/// A cycle as one line of text.
pub(super) fn sentence(cycle: &[(Owner, String)]) -> String {
    let mut line = String::new();
    for (owner, name) in cycle {
        line.push_str(&owner.name);
        line.push_str(" -");
        line.push_str(name);
        line.push_str("-> ");
    }
    line.push_str(cycle.first().map_or("", |(owner, _)| owner.name.as_str()));
    line
}

/// What one owner waits for on one name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want<'a> {
    pub(super) name: &'a str,
    pub(super) mode: Mode,
    pub(super) permits: u32,
    /// Its place in the queue.
    pub(super) before: HoldId,
    /// It holds the lock by this hold, and wishes to be alone: it waits for holders only.
    pub(super) upgrade: Option<HoldId>,
}

/// All that an owner waits for, in live waits and wishes.
pub(super) fn wants<'a>(table: &'a LockTable, owner: &Owner, now: ClusterTime) -> Vec<Want<'a>> {
    let Some(presences) = table.owners.get(owner) else { return Vec::new() };
    let wants = presences.wants.iter();
    wants.filter_map(|name| want(table, name, *presences.on.get(name)?, now)).collect()
}

fn want<'a>(
    table: &'a LockTable,
    name: &'a Arc<str>,
    presence: Presence,
    now: ClusterTime,
) -> Option<Want<'a>> {
    match presence {
        Presence::Waits(id) => {
            let place = table.locks.get(name)?.queue.get(&id)?;
            let (mode, permits) = (place.mode, place.permits);
            let live = table.is_live_wait(id, now);
            live.then_some(Want { name, mode, permits, before: id, upgrade: None })
        }
        Presence::Holds(id) => {
            let (mode, before, upgrade) = (Mode::Exclusive, id, Some(id));
            let live = table.is_live_wish(id, now);
            live.then_some(Want { name, mode, permits: 1, before, upgrade })
        }
    }
}

/// The edges, all of them: who keeps this from being granted.
pub(super) fn reasons<'a>(table: &'a LockTable, want: &Want, now: ClusterTime) -> Vec<&'a Owner> {
    let Some(lock) = table.locks.get(want.name) else { return Vec::new() };
    if let Some(hold) = want.upgrade {
        return table.live_others(lock, hold, now).collect();
    }
    if is_met(table, want, now) {
        return Vec::new();
    }
    let mut reasons = holding_reasons(table, lock, want.mode, now);
    let earlier = table.live_earlier(lock, want.before, now);
    let in_the_way = |mode: Mode| want.mode == Mode::Permits || want.mode.excludes(mode);
    let earlier = earlier.filter(|(_, place)| in_the_way(place.mode));
    reasons.extend(earlier.map(|(_, place)| &*place.owner));
    reasons
}

/// Enough permits are there: the wait is for something else.
fn is_met(table: &LockTable, want: &Want, now: ClusterTime) -> bool {
    let lock = table.locks.get(want.name).filter(|_| want.mode == Mode::Permits);
    lock.is_some_and(|lock| table.fits_lock(lock, want.mode, want.permits, want.before, now))
}

fn holding_reasons<'a>(
    table: &'a LockTable,
    lock: &'a Lock,
    mode: Mode,
    now: ClusterTime,
) -> Vec<&'a Owner> {
    let wishes = |hold: HoldId| lock.wishes.contains(&hold) && table.is_live_wish(hold, now);
    let in_the_way =
        |hold: HoldId, held: Mode| mode != Mode::Shared || held == Mode::Exclusive || wishes(hold);
    let holders = table.live_holders(lock, now);
    let reasons = holders.filter(|(_, share)| in_the_way(share.hold, share.mode));
    reasons.map(|(owner, _)| &**owner).collect()
}

struct Search<'a> {
    table: &'a LockTable,
    now: ClusterTime,
    /// Where the cycle has to come back to.
    origin: &'a Owner,
    /// If set, nobody else is looked at.
    among: Option<&'a BTreeSet<&'a Owner>>,
    /// Owner -> who was found to wait for it, and for which lock: the way back.
    reached: BTreeMap<&'a Owner, (&'a Owner, &'a str)>,
    /// Lock -> how far its queue has been looked at, its holders included.
    seen: BTreeMap<&'a str, HoldId>,
    /// Reached, but its own waits not followed yet.
    pending: VecDeque<&'a Owner>,
    /// Some edge was of a wait for permits.
    met_permits: bool,
    /// Waiters that wait for nothing else are left out: right for a path, wrong for a sum of permits.
    skips: bool,
}

impl<'a> Search<'a> {
    fn new(
        table: &'a LockTable,
        origin: &'a Owner,
        now: ClusterTime,
        among: Option<&'a BTreeSet<&'a Owner>>,
    ) -> Self {
        Self {
            table,
            now,
            origin,
            among,
            reached: BTreeMap::new(),
            seen: BTreeMap::new(),
            pending: VecDeque::from([origin]),
            met_permits: false,
            skips: true,
        }
    }

    /// True once the origin is reached again.
    fn run(&mut self) -> bool {
        while !self.reached.contains_key(self.origin) {
            let Some(next) = self.pending.pop_front() else { return false };
            self.follow_all(next);
        }
        true
    }

    /// Reaches all that can be reached.
    fn run_to_end(&mut self) {
        while let Some(next) = self.pending.pop_front() {
            self.follow_all(next);
        }
    }

    fn reached_owners(&self) -> Vec<&'a Owner> {
        self.reached.keys().copied().collect()
    }

    /// Reaches everybody for whom this owner waits, but for those who lead nowhere new.
    fn follow_all(&mut self, owner: &'a Owner) {
        for want in wants(self.table, owner, self.now) {
            let Some(lock) = self.table.locks.get(want.name) else { continue };
            if want.upgrade.is_some() {
                self.reach_holders(owner, &want, lock);
            } else if want.mode == Mode::Shared {
                self.follow_reader(owner, &want, lock);
            } else if !is_met(self.table, &want, self.now) {
                self.met_permits |= want.mode == Mode::Permits;
                self.follow_queue(owner, &want, lock);
            }
        }
    }

    /// A reader waits for a writer that holds or wishes to, and for the last writer before it. What
    /// that one waits for is followed in its turn.
    fn follow_reader(&mut self, owner: &'a Owner, want: &Want<'a>, lock: &'a Lock) {
        let (table, now) = (self.table, self.now);
        let first = table.live_holders(lock, now).next();
        let writer = first.filter(|(_, share)| share.mode == Mode::Exclusive);
        let wisher = lock.wishes.iter().filter(|id| table.is_live_wish(**id, now));
        let wisher = wisher.filter_map(|id| table.holds.get(id)).map(|hold| &*hold.owner);
        let before = lock.writers.range::<HoldId, _>(..want.before).rev();
        let last = before.copied().find(|id| table.is_live_wait(*id, now));
        let last = last.and_then(|id| lock.queue.get(&id)).map(|place| &*place.owner);
        let writer = writer.map(|(owner, _)| &**owner);
        for reason in writer.into_iter().chain(wisher).chain(last) {
            self.reach(owner, want.name, reason);
        }
    }

    /// Who waits for all before it: the holders, and the waiters from where the last look ended.
    fn follow_queue(&mut self, owner: &'a Owner, want: &Want<'a>, lock: &'a Lock) {
        let seen = self.seen.get(want.name).copied();
        if seen.is_none() {
            self.reach_holders(owner, want, lock);
        }
        let from = seen.unwrap_or(HoldId::FIRST);
        if want.before <= from {
            return;
        }
        self.seen.insert(want.name, want.before);
        let range = from..want.before;
        let ids: Vec<HoldId> = if self.skips {
            lock.crossing.range::<HoldId, _>(range).copied().collect()
        } else {
            lock.queue.range::<HoldId, _>(range).map(|(id, _)| *id).collect()
        };
        for id in ids {
            let place = lock.queue.get(&id).filter(|_| self.table.is_live_wait(id, self.now));
            if let Some(place) = place {
                self.reach(owner, want.name, &place.owner);
            }
        }
    }

    fn reach_holders(&mut self, owner: &'a Owner, want: &Want<'a>, lock: &'a Lock) {
        for (holder, _) in self.table.live_holders(lock, self.now) {
            let waits = self.table.owners.get(holder).is_some_and(|it| !it.wants.is_empty());
            if waits {
                self.reach(owner, want.name, holder);
            }
        }
    }

    fn reach(&mut self, owner: &'a Owner, name: &'a str, reason: &'a Owner) {
        let looked_at = self.among.is_none_or(|among| among.contains(reason));
        if looked_at && reason != owner && !self.reached.contains_key(reason) {
            self.reached.insert(reason, (owner, name));
            self.pending.push_back(reason);
        }
    }

    /// The way back from the origin to itself, turned round.
    fn cycle(&self) -> Cycle {
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

/// Somebody waits on a lock that `owner` holds, or behind a place of it. May say yes too often.
fn is_waited_for(table: &LockTable, owner: &Owner, now: ClusterTime) -> bool {
    let mut presences = table.owners.get(owner).into_iter().flat_map(|it| &it.on);
    presences.any(|(name, presence)| {
        let Some(lock) = table.locks.get(name) else { return false };
        let from = match *presence {
            Presence::Holds(_) => Unbounded,
            Presence::Waits(id) => Excluded(id),
        };
        let mut behind = lock.queue.range::<HoldId, _>((from, Unbounded));
        let mut wishes = lock.wishes.iter();
        let wished = wishes.any(|other| matches!(*presence, Presence::Holds(id) if id != *other));
        wished || behind.any(|(id, _)| table.is_live_wait(*id, now))
    })
}
