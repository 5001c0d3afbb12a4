//! Leases of this sharer's sessions with the homes.

use std::collections::BTreeSet;

use super::{HomeSession, Sharer};
use crate::cache::bug::Bug;
use crate::cache::coherence::Output;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Incarnation, Placement};
use crate::cache::store::{Source, Store};
use crate::types::LocalTime;

impl<P: Placement> Sharer<P> {
    /// Until when copies of this source may be read; `None`: not at all.
    pub(in crate::cache) fn lease_over(&self, source: &Source) -> Option<LocalTime> {
        let home = self.homes.get(&source.home)?;
        (source.session.is_some() && home.number == source.session).then_some(home.lease_over)
    }

    /// All of them, by what they are for.
    pub(in crate::cache) fn leases(&self) -> impl Iterator<Item = (Source, LocalTime)> {
        let homes = self.homes.iter().filter(|(_, of)| of.number.is_some());
        homes.map(|(home, of)| (Source { home: *home, session: of.number }, of.lease_over))
    }

    pub(super) fn renew(&mut self, now: LocalTime, home: Incarnation, out: &mut Vec<Output>) {
        let epoch = self.placement.as_ref().map_or(0, Placement::epoch);
        let (keep_ms, every_ms) = (self.rules.session_ms, self.rules.renew_every_ms());
        let request = self.next_request();
        let Some(session) = self.homes.get_mut(&home) else { return };
        session.renewals.retain(|_, sent_at| now.since(*sent_at) < keep_ms);
        session.renewals.insert(request, now);
        session.renew_at = now.plus(every_ms);
        let (number, seen) = (session.number, session.seen);
        let message = CacheMessage::Renew { home, request, session: number, seen, epoch };
        out.push(Output::send(home.process, message));
    }

    pub(super) fn granted<S: Store>(
        &mut self,
        now: LocalTime,
        (home, request): (Incarnation, u64),
        (number, length_ms, sent): (u64, u64, u64),
        store: &mut S,
    ) {
        let from_answer = self.bugs.has(Bug::LeaseCountedFromAnswer);
        let Some(session) = self.homes.get_mut(&home) else { return };
        let Some(sent_at) = session.renewals.remove(&request) else { return };
        let counted_from = if from_answer { now } else { sent_at };
        let over = counted_from.plus(length_ms);
        if session.number == Some(number) {
            if session.seen >= sent {
                session.lease_over = session.lease_over.max(over);
            }
            return;
        }
        if session.number.is_some_and(|mine| mine > number) {
            return;
        }
        let renewals = std::mem::take(&mut session.renewals);
        let renew_at = session.renew_at;
        *session = HomeSession {
            number: Some(number),
            lease_over: over,
            seen: sent,
            seen_beyond: BTreeSet::new(),
            renewals,
            renew_at,
        };
        store
            .retain(&mut |_, copy| copy.source.home != home || copy.source.session == Some(number));
    }
}
