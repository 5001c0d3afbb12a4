//! What writes do, once nobody can read the old value any more.

use super::directory::PendingWrite;
use super::{Home, WRITERS_MAX};
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::Placement;
use crate::cache::store::{Copy, Source, Store};
use crate::cache::value::{Key, Version, Write, WriteOutcome};
use crate::types::LocalTime;

impl<P: Placement> Home<P> {
    pub(super) fn write<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        write: PendingWrite,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        if !self.first_time(&write) {
            return;
        }
        let (home, to, request) = (self.me, write.from, write.request);
        if !self.serves(now, key) {
            return out.push(Output::send(to, CacheMessage::Refused { home, request }));
        }
        if let Some(round) = self.directory.entry(key.clone()).or_default().round.as_mut() {
            return round.writes.push(write);
        }
        let current = self.visible(now, key, store).map(|found| found.version);
        if !write.write.condition.holds(current) {
            self.forget_empty(key, store);
            let outcome = WriteOutcome::ConditionFailed(current);
            return out.push(Output::send(to, CacheMessage::Written { home, request, outcome }));
        }
        self.begin_round(now, key, vec![write], store, out);
    }

    /// Of each process every write acts once, and none after a later one.
    pub(super) fn first_time(&mut self, write: &PendingWrite) -> bool {
        if self.written.len() > WRITERS_MAX {
            let sessions = &self.sessions;
            self.written.retain(|process, _| sessions.of(*process).is_some());
        }
        let newest = self.written.entry(write.from).or_default();
        let first = write.request > *newest;
        *newest = write.request.max(*newest);
        first
    }

    pub(super) fn act<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        writes: &[PendingWrite],
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        for pending in writes {
            let current = self.visible(now, key, store).map(|found| found.version);
            let outcome = if pending.write.condition.holds(current) {
                WriteOutcome::Done(self.replace(now, key, &pending.write, store, out))
            } else {
                WriteOutcome::ConditionFailed(current)
            };
            self.answer(pending, outcome, out);
        }
    }

    pub(super) fn replace<S: Store>(
        &mut self,
        now: LocalTime,
        key: &Key,
        write: &Write,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Version {
        let version = self.mint();
        let expires = write.ttl_ms.map(|ttl| now.plus(ttl));
        let Some(value) = write.value.clone() else {
            self.set_expiry(key, None);
            store.remove(key);
            return version;
        };
        self.set_expiry(key, expires);
        let source = Source { home: self.me, session: None };
        for (other, copy) in store.put(key, Copy { value, version, expires, source }) {
            if copy.source == source {
                self.evicted(now, &other, store, out);
            }
        }
        version
    }

    pub(super) fn answer(
        &self,
        write: &PendingWrite,
        outcome: WriteOutcome,
        out: &mut Vec<Output>,
    ) {
        let (home, to, request) = (self.me, write.from, write.request);
        out.push(Output::send(to, CacheMessage::Written { home, request, outcome }));
    }

    pub(super) fn mint(&mut self) -> Version {
        self.minted += 1;
        let epoch = self.placement.as_ref().map_or(0, Placement::epoch);
        Version { epoch, number: self.minted }
    }
}
