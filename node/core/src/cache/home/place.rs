//! The home's place in the ring: which keys are its own, and when nobody has copies of lost ones.

use super::Home;
use super::directory::Round;
use super::session::Slot;
use crate::cache::bug::Bug;
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Incarnation, Placement};
use crate::cache::store::{Source, Store};
use crate::cache::value::Key;
use crate::types::LocalTime;

impl<P: Placement> Home<P> {
    /// A new ring, or the same one settled. Keys that are another home's now are gone at once; sharers
    /// say by their renewals that their copies are, too.
    pub(in crate::cache) fn install<S: Store>(
        &mut self,
        now: LocalTime,
        placement: &P,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let mine = placement.homes().into_iter().find(|home| home.process == self.me.process);
        match mine {
            Some(mine) if mine == self.me && self.placement.is_some() => {}
            Some(mine) => self.begin(mine, store, out),
            None => return self.leave(store, out),
        }
        self.before = match (placement.settled(), self.placement.take()) {
            (true, _) => None,
            (false, Some(former)) if former.epoch() == placement.epoch() => self.before.take(),
            (false, former) => former,
        };
        self.placement = Some(placement.clone());
        self.drop_lost(store, out);
        self.note_released(now);
    }

    /// A place in the ring, with nothing kept from any earlier one.
    pub(super) fn begin<S: Store>(
        &mut self,
        me: Incarnation,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.leave(store, out);
        let (rules, bugs, written) = (self.rules, self.bugs, std::mem::take(&mut self.written));
        *self = Self { bugs, written, ..Self::new(me, rules) };
    }

    pub(super) fn leave<S: Store>(&mut self, store: &mut S, out: &mut Vec<Output>) {
        let me = self.me;
        store.retain(&mut |_, copy| copy.source != Source { home: me, session: None });
        for (_, entry) in std::mem::take(&mut self.directory) {
            self.refuse_round(entry.round, out);
        }
        self.expiries.clear();
        self.placement = None;
        self.lease_over = LocalTime(0);
    }

    /// Nothing of a round under way was ever visible: its writes can be refused.
    pub(super) fn refuse_round(&self, round: Option<Round>, out: &mut Vec<Output>) {
        for write in round.into_iter().flat_map(|round| round.writes) {
            let (to, request) = (write.from, write.request);
            out.push(Output::send(to, CacheMessage::Refused { home: self.me, request }));
        }
    }

    pub(super) fn drop_lost<S: Store>(&mut self, store: &mut S, out: &mut Vec<Output>) {
        let lost: Vec<Key> =
            self.directory.keys().filter(|key| !self.is_home(key)).cloned().collect();
        for key in lost {
            store.remove(&key);
            let round = self.forget(&key).and_then(|entry| entry.round);
            self.refuse_round(round, out);
        }
    }

    pub(super) fn is_home(&self, key: &Key) -> bool {
        self.placement.as_ref().is_some_and(|ring| ring.home(key) == Some(self.me))
    }

    /// True if gets and writes of the key are this home's to answer, now.
    pub(super) fn serves(&self, now: LocalTime, key: &Key) -> bool {
        let had = |before: &P| before.home(key) == Some(self.me);
        let settled = self.placement.as_ref().is_some_and(Placement::settled);
        self.has_lease(now)
            && self.is_home(key)
            && (settled || self.before.as_ref().is_some_and(had))
    }

    /// Lets go of the keys that this epoch took, if no sharer can serve copies of them. A session that has
    /// not heard of the epoch and is not waited for, since its lease is over, ends for good: renewed, it
    /// would serve them again, beside the next home's values (R9, R11).
    pub(super) fn note_released(&mut self, now: LocalTime) {
        let Some(epoch) = self.placement.as_ref().map(Placement::epoch) else { return };
        let behind = self.sessions.iter().filter(|(_, of)| of.epoch < epoch);
        let behind: Vec<Slot> = behind.map(|(slot, _)| slot).collect();
        let over = |home: &Self, slot: &Slot| {
            // One whose acknowledgement a write waits for ends in the next tick, with the wait.
            let of = home.sessions.get(*slot);
            of.is_some_and(|of| of.unacknowledged.is_empty() && home.is_over(of.lease_over, now))
        };
        if behind.iter().all(|slot| over(self, slot)) {
            if !self.bugs.has(Bug::ReleasedSessionLives) {
                behind.into_iter().for_each(|slot| drop(self.sessions.end(slot)));
            }
            self.released = epoch;
        }
    }
}
