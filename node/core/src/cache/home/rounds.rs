//! Invalidation rounds.

use std::collections::BTreeMap;

use super::Home;
use super::directory::{PendingWrite, Round};
use super::session::{Slot, Unacknowledged};
use crate::cache::bug::Bug;
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::Placement;
use crate::cache::store::Store;
use crate::cache::value::{Key, Version, WriteOutcome};
use crate::types::LocalTime;

impl<P: Placement> Home<P> {
    /// Takes back all copies of `key`; then the writes act.
    pub(super) fn begin_round<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        writes: Vec<PendingWrite>,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        self.end_sessions_of(now, key, store, out);
        // The end of a session can end other keys' rounds, and a value that these bring can evict this
        // key's: then a round is under way by now.
        if let Some(round) = self.round(key) {
            return round.writes.extend(writes);
        }
        let below = self.mint();
        if self.bugs.has(Bug::ValueShownEarly) {
            self.act(now, key, &writes, store, &mut Vec::new());
        }
        let Some(entry) = self.directory.get_mut(key) else { return };
        let sharers = entry.sharers;
        entry.round = Some(Round { below, waiting: BTreeMap::new(), writes });
        for slot in sharers.iter() {
            self.invalidate(now, slot, key, below, out);
        }
        self.end_round_if_over(now, key, store, out);
    }

    /// The round of `key` that is under way.
    pub(super) fn round(&mut self, key: &Key) -> Option<&mut Round> {
        self.directory.get_mut(key)?.round.as_mut()
    }

    /// Ends the sessions of the key's sharers whose leases are over: nobody has to wait for them (R9).
    fn end_sessions_of<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let sharers = self.directory.get(key).map(|entry| entry.sharers).unwrap_or_default();
        for slot in sharers.iter() {
            let session = self.sessions.get(slot);
            if session.is_some_and(|session| self.is_over(session.lease_over, now)) {
                self.end_session(now, slot, store, out);
            }
        }
    }

    /// Sends one session an invalidation, and has the round wait for it.
    fn invalidate(
        &mut self,
        now: LocalTime,
        slot: Slot,
        key: &Key,
        below: Version,
        out: &mut Vec<Output>,
    ) {
        let (home, over) =
            (self.me, self.sessions.get(slot).map(|of| self.is_over(of.lease_over, now)));
        let Some(session) = self.sessions.get_mut(slot).filter(|_| over == Some(false)) else {
            return;
        };
        session.sent += 1;
        let (process, session_number, number) = (session.process, session.number, session.sent);
        let waits = Unacknowledged { key: key.clone(), since: now, repeated: now };
        session.unacknowledged.insert(number, waits);
        let key = key.clone();
        if let Some(round) = self.round(&key) {
            round.waiting.insert(slot, number);
        }
        let message =
            CacheMessage::Invalidate { home, session: session_number, number, key, below };
        out.push(Output::send(process, message));
    }

    /// One sharer can serve the key's old value no more.
    pub(super) fn accounted_for<S: Store>(
        &mut self,
        now: LocalTime,
        slot: Slot,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        if let Some(round) = self.round(key) {
            round.waiting.remove(&slot);
            self.end_round_if_over(now, key, store, out);
        }
    }

    fn end_round_if_over<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let nobody = self.bugs.has(Bug::WriteWaitsForNobody);
        if self.round(key).is_some_and(|round| round.waiting.is_empty() || nobody) {
            self.end_round(now, key, store, out);
        }
    }

    /// Nobody can read the old value anywhere else: now it is replaced.
    pub(super) fn end_round<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(entry) = self.directory.get_mut(key) else { return };
        let Some(round) = entry.round.take() else { return };
        entry.sharers = Default::default();
        if round.writes.is_empty() {
            store.remove(key);
        } else if self.has_lease(now) {
            self.act(now, key, &round.writes, store, out);
        } else {
            for write in &round.writes {
                self.answer(write, WriteOutcome::Unknown, out);
            }
        }
        self.forget_empty(key, store);
    }
}
