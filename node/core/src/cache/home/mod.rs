//! The home of keys: orders their writes, and knows who has copies.
//!
//! ```text
//!                  write, no sharer: at once
//!          ┌───────────────────────────────────────────┐
//!   quiet ─┤                                           ├─> visible, answered ─> quiet
//!          └ write ─> round: Invalidate to each sharer ┘
//!                       each acknowledged, or its lease over and its session ended
//! ```
//!
//! What can be seen at the home is what is in its store. During a round that is the old value: it is
//! handed out, but may not be kept (R8). At the end of the round all writes that share it act in the
//! order of their arrival, if the home's own lease still runs; else nobody can say whether they would
//! be seen, and they are answered so.

#[cfg(feature = "bugs")]
mod canonical;
mod directory;
mod leases;
mod place;
mod reading;
mod rounds;
mod session;
mod writing;

use std::collections::{BTreeMap, BTreeSet};

use crate::cache::bug::{Bug, Bugs};
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Incarnation, Placement, Process};
use crate::cache::rules::Rules;
use crate::cache::store::Store;
use crate::cache::value::Key;
use crate::types::LocalTime;
use directory::{Directory, PendingWrite};
use session::{Sessions, Slot};

#[cfg(feature = "bugs")]
pub(super) use canonical::rename_condition;

/// Processes of which the last write's number is remembered, beyond those with a session.
const WRITERS_MAX: usize = 256;
/// Values that go by themselves in one tick.
const EXPIRIES_PER_TICK_MAX: usize = 1_000;

/// The home's half of a node. One without a place in the ring refuses everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Home<P> {
    me: Incarnation,
    rules: Rules,
    /// The ring in force; `None`: this node is not in it.
    placement: Option<P>,
    /// The ring before it, until it is settled: keys that were not this home's then wait.
    before: Option<P>,
    /// It may serve until then: counted from the sending of what the leader granted (R1).
    lease_over: LocalTime,
    sessions: Sessions,
    directory: Directory,
    /// When values go by themselves: the `expires` of every entry in the directory, and no others.
    expiries: BTreeSet<(LocalTime, Key)>,
    /// The last version's number.
    minted: u64,
    /// The highest write of each process that was acted on.
    written: BTreeMap<Process, u64>,
    /// Nobody has copies of keys that this home lost by this epoch.
    released: u64,
    pub(super) bugs: Bugs,
}

impl<P: Placement> Home<P> {
    pub(super) fn new(me: Incarnation, rules: Rules) -> Self {
        Self {
            me,
            rules,
            placement: None,
            before: None,
            lease_over: LocalTime(0),
            sessions: Sessions::default(),
            directory: Directory::new(),
            expiries: BTreeSet::new(),
            minted: 0,
            written: BTreeMap::new(),
            released: 0,
            bugs: Bugs::default(),
        }
    }

    pub(super) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    #[cfg(test)]
    pub(super) fn expiries(&self) -> usize {
        self.expiries.len()
    }

    /// Which home this is.
    pub(super) fn me(&self) -> Incarnation {
        self.me
    }

    /// The leader has granted what was asked for at `sent_at`.
    pub(super) fn lease_granted(&mut self, home: Incarnation, sent_at: LocalTime) {
        // What an earlier incarnation asked for is not this one's.
        if home != self.me {
            return;
        }
        self.lease_over = self.lease_over.max(sent_at.plus(self.rules.home_lease_ms));
    }

    /// True if it has a place in the ring.
    pub(super) fn is_in_ring(&self) -> bool {
        self.placement.is_some()
    }

    /// When its right to serve ends.
    pub(super) fn lease_over(&self) -> LocalTime {
        self.lease_over
    }

    /// True if the lease runs.
    pub(super) fn has_lease(&self, now: LocalTime) -> bool {
        now < self.lease_over || self.bugs.has(Bug::HomeWithoutLease)
    }

    /// The newest epoch by whose changes no sharer has copies left (R11).
    pub(super) fn released(&self) -> u64 {
        self.released
    }

    /// Any message to this home.
    pub(super) fn receive<S: Store>(
        &mut self,
        now: LocalTime,
        from: Process,
        message: CacheMessage,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        match message {
            CacheMessage::Renew { request, session, seen, epoch, .. } => {
                self.renew(now, from, (request, session, seen, epoch), out);
            }
            CacheMessage::Get { request, session, key, .. } => {
                self.get(now, from, (request, session), &key, store, out);
            }
            CacheMessage::Invalidated { session, number, .. } => {
                self.invalidated(now, from, (session, number), store, out);
            }
            CacheMessage::Write { request, key, write, .. } => {
                self.write(now, &key, PendingWrite { from, request, write }, store, out);
            }
            CacheMessage::Granted { .. }
            | CacheMessage::Value { .. }
            | CacheMessage::Invalidate { .. }
            | CacheMessage::Written { .. }
            | CacheMessage::Refused { .. } => debug_assert!(false, "for a sharer"),
        }
    }

    /// What time brings: leases that are over, invalidations to repeat, values that go by themselves.
    pub(super) fn tick<S: Store>(&mut self, now: LocalTime, store: &mut S, out: &mut Vec<Output>) {
        self.expire_values(now, store, out);
        let slots: Vec<Slot> = self.sessions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            let Some(session) = self.sessions.get(slot) else { continue };
            if session.unacknowledged.is_empty() {
                continue;
            }
            if self.is_over(session.lease_over, now) {
                self.end_session(now, slot, store, out);
            } else {
                self.repeat(now, slot, out);
            }
        }
        self.note_released(now);
    }

    /// The store had no room for the value: no gets find it any more, and its sharers' copies follow
    /// before the key is forgotten (R13).
    pub(super) fn evicted<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.directory.get(key) else { return };
        if entry.round.is_none() {
            self.begin_round(now, key, Vec::new(), store, out);
        }
    }
}
