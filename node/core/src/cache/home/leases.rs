//! Leases of the sharers' sessions: given, refused, over.

use super::Home;
use super::session::Slot;
use crate::cache::bug::Bug;
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Placement, Process};
use crate::cache::store::Store;
use crate::types::LocalTime;

impl<P: Placement> Home<P> {
    pub(super) fn is_over(&self, lease_over: LocalTime, now: LocalTime) -> bool {
        let early = u64::from(self.bugs.has(Bug::LeaseWaitTooShort));
        now.plus(early) >= lease_over
    }

    pub(super) fn renew(
        &mut self,
        now: LocalTime,
        from: Process,
        (request, session, seen, epoch): (u64, Option<u64>, u64, u64),
        out: &mut Vec<Output>,
    ) {
        if self.placement.is_none() || !self.has_lease(now) {
            return;
        }
        if let Some(worn) = self.sessions.take_worn() {
            self.directory.values_mut().for_each(|entry| entry.sharers.remove(worn));
        }
        let Some(slot) = self.sessions.open(from, now) else { return };
        let length_ms = self.extension(now, slot);
        let stretched = self.rules.stretched(length_ms);
        let Some(of) = self.sessions.get_mut(slot) else { return };
        if length_ms > 0 {
            of.lease_over = of.lease_over.max(now.plus(stretched));
        }
        of.epoch = of.epoch.max(epoch);
        let (number, sent) = (of.number, of.sent);
        let granted =
            CacheMessage::Granted { home: self.me, request, session: number, length_ms, sent };
        if session == Some(number) && seen < sent {
            self.send_again(now, slot, 0, out);
        }
        out.push(Output::send(from, granted));
        self.note_released(now);
    }

    /// By how much a session's lease may grow: never beyond the home's own (R2), and not at all while
    /// the sharer leaves an invalidation unanswered (R10).
    pub(super) fn extension(&self, now: LocalTime, slot: Slot) -> u64 {
        let mute = |limit| self.sessions.get(slot).is_some_and(|of| of.is_mute(now, limit));
        if mute(self.rules.unanswered_max_ms()) {
            return 0;
        }
        if self.bugs.has(Bug::SessionNotNested) {
            return self.rules.session_ms;
        }
        self.rules.session_ms.min(self.lease_over.since(now))
    }

    pub(super) fn repeat(&mut self, now: LocalTime, slot: Slot, out: &mut Vec<Output>) {
        self.send_again(now, slot, self.rules.unanswered_max_ms().max(1), out);
    }

    pub(super) fn send_again(
        &mut self,
        now: LocalTime,
        slot: Slot,
        rest_ms: u64,
        out: &mut Vec<Output>,
    ) {
        let home = self.me;
        let Some(session) = self.sessions.get_mut(slot) else { return };
        for (number, waits) in &mut session.unacknowledged {
            if now.since(waits.repeated) < rest_ms {
                continue;
            }
            waits.repeated = now;
            let round = self.directory.get(&waits.key).and_then(|entry| entry.round.as_ref());
            let Some(below) = round.map(|round| round.below) else { continue };
            let (number, key) = (*number, waits.key.clone());
            let message =
                CacheMessage::Invalidate { home, session: session.number, number, key, below };
            out.push(Output::send(session.process, message));
        }
    }

    pub(super) fn invalidated<S: Store>(
        &mut self,
        now: LocalTime,
        from: Process,
        (number, invalidation): (u64, u64),
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some((slot, _)) = self.sessions.of(from).filter(|(_, of)| of.number == number) else {
            return;
        };
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let Some(waits) = session.unacknowledged.remove(&invalidation) else { return };
        self.accounted_for(now, slot, &waits.key, store, out);
    }

    /// The session's lease is over, and somebody waits for it: it is gone for good (R9).
    pub(super) fn end_session<S: Store>(
        &mut self,
        now: LocalTime,
        slot: Slot,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        let waited_for = std::mem::take(&mut session.unacknowledged);
        if !self.bugs.has(Bug::SilentSharerKeepsSession) {
            self.sessions.end(slot);
        }
        for waits in waited_for.into_values() {
            self.accounted_for(now, slot, &waits.key, store, out);
        }
    }
}
