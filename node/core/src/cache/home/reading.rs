//! What gets see.

use super::directory::Entry;
use super::{EXPIRIES_PER_TICK_MAX, Home};
use crate::cache::bug::Bug;
use crate::cache::coherence::Output;
use crate::cache::message::{CacheMessage, Found};
use crate::cache::placement::{Placement, Process};
use crate::cache::store::{Source, Store};
use crate::cache::value::Key;
use crate::types::LocalTime;

impl<P: Placement> Home<P> {
    pub(super) fn get<S: Store>(
        &mut self,
        now: LocalTime,
        from: Process,
        (request, session): (u64, Option<u64>),
        key: &Key,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        let home = self.me;
        if !self.serves(now, key) {
            return out.push(Output::send(from, CacheMessage::Refused { home, request }));
        }
        let found = self.visible(now, key, store);
        let of = self.sessions.of(from).filter(|(_, of)| session == Some(of.number));
        let slot = of.map(|(slot, _)| slot).filter(|_| from != self.me.process);
        let entry = self.directory.get_mut(key);
        let during_write = !self.bugs.has(Bug::KeptDuringWrite);
        let entry = entry.filter(|entry| entry.round.is_none() || !during_write);
        let cacheable = match (entry, slot, &found) {
            (Some(entry), Some(slot), Some(_)) => {
                entry.sharers.insert(slot);
                true
            }
            _ => false,
        };
        out.push(Output::send(from, CacheMessage::Value { home, request, found, cacheable }));
    }

    pub(super) fn visible<S: Store>(
        &self,
        now: LocalTime,
        key: &Key,
        store: &mut S,
    ) -> Option<Found> {
        let copy = store.get(key)?;
        let mine = copy.source == Source { home: self.me, session: None };
        let lives = copy.expires.is_none_or(|expires| now < expires);
        (mine && lives).then(|| Found {
            value: copy.value,
            version: copy.version,
            ttl_left_ms: copy.expires.map(|expires| expires.since(now)),
        })
    }

    /// A key without value, sharer and round needs no entry: its next version is higher anyway.
    pub(super) fn forget_empty<S: Store>(&mut self, key: &Key, store: &mut S) {
        let Some(entry) = self.directory.get(key) else { return };
        let mine = Source { home: self.me, session: None };
        let kept = store.get(key).is_some_and(|copy| copy.source == mine);
        if entry.round.is_none() && entry.sharers.is_empty() && !kept {
            self.forget(key);
        }
    }

    /// Takes a key out of the directory.
    pub(super) fn forget(&mut self, key: &Key) -> Option<Entry> {
        self.set_expiry(key, None);
        self.directory.remove(key)
    }

    /// The key's value goes by itself then; what was said before of a former value is void.
    pub(super) fn set_expiry(&mut self, key: &Key, at: Option<LocalTime>) {
        let Some(entry) = self.directory.get_mut(key) else { return };
        if let Some(former) = std::mem::replace(&mut entry.expires, at) {
            self.expiries.remove(&(former, key.clone()));
        }
        self.expiries.extend(at.map(|at| (at, key.clone())));
    }

    pub(super) fn expire_values<S: Store>(
        &mut self,
        now: LocalTime,
        store: &mut S,
        out: &mut Vec<Output>,
    ) {
        for _ in 0..EXPIRIES_PER_TICK_MAX {
            let Some((at, _)) = self.expiries.first() else { return };
            if *at > now {
                return;
            }
            let Some((_, key)) = self.expiries.pop_first() else { return };
            self.directory.get_mut(&key).into_iter().for_each(|entry| entry.expires = None);
            let over = store.get(&key).is_some_and(|copy| {
                copy.source == Source { home: self.me, session: None }
                    && copy.expires.is_some_and(|expires| expires <= now)
            });
            if over {
                store.remove(&key);
                self.evicted(now, &key, store, out);
            }
        }
    }
}
