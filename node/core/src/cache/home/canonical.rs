//! A home as a model checker sees it.

use std::collections::BTreeMap;

use super::Home;
use super::directory::Round;
use super::session::{Sharers, Slot};
use crate::cache::canonical::Names;
use crate::cache::message::CacheMessage;
use crate::cache::placement::{Placement, Process};
use crate::cache::value::{Condition, Version, Write};

impl<P: Placement> Home<P> {
    pub(in crate::cache) fn rename(&mut self, names: &mut impl Names) {
        self.renumber_slots();
        names.time(&mut self.lease_over, 0);
        self.rename_sessions(names);
        for entry in self.directory.values_mut() {
            if let Some(round) = &mut entry.round {
                rename_round(round, names);
            }
        }
        let mut minted = Version {
            epoch: self.placement.as_ref().map_or(0, Placement::epoch),
            number: self.minted,
        };
        names.version(&mut minted);
        self.minted = minted.number;
        for (process, number) in &mut self.written {
            names.last_write(*process, number);
        }
        self.written.retain(|_, number| *number > 0);
    }

    fn rename_sessions(&mut self, names: &mut impl Names) {
        let (me, limit_ms) = (self.me, self.rules.unanswered_max_ms());
        for (_, session) in self.sessions.iter_mut() {
            names.session(me, session.process, &mut session.number);
            names.time(&mut session.lease_over, 0);
            for waits in session.unacknowledged.values_mut() {
                names.time(&mut waits.since, limit_ms);
                names.time(&mut waits.repeated, limit_ms.max(1));
            }
        }
        names.last_session(me, self.sessions.newest_mut());
    }

    /// Slots in the order of processes, and no bits of ended sessions.
    fn renumber_slots(&mut self) {
        let places: BTreeMap<Slot, Slot> = self.sessions.compact();
        let place = |slot: Slot| places.get(&slot).copied();
        for entry in self.directory.values_mut() {
            let mut sharers = Sharers::default();
            entry.sharers.iter().filter_map(place).for_each(|slot| sharers.insert(slot));
            entry.sharers = sharers;
            if let Some(round) = &mut entry.round {
                let waiting = std::mem::take(&mut round.waiting).into_iter();
                round.waiting =
                    waiting.filter_map(|(slot, number)| Some((place(slot)?, number))).collect();
            }
        }
    }

    pub(in crate::cache) fn waits_for(&self, sharer: Process, session: u64, number: u64) -> bool {
        self.sessions
            .of(sharer)
            .is_some_and(|(_, of)| of.number == session && of.unacknowledged.contains_key(&number))
    }

    pub(in crate::cache) fn ignores(&self, from: Process, message: &CacheMessage) -> bool {
        match message {
            CacheMessage::Invalidated { home, session, number } => {
                *home != self.me || !self.waits_for(from, *session, *number)
            }
            CacheMessage::Write { request, .. } => {
                self.written.get(&from).is_some_and(|newest| request <= newest)
            }
            _ => false,
        }
    }
}

fn rename_round(round: &mut Round, names: &mut impl Names) {
    names.version(&mut round.below);
    for pending in &mut round.writes {
        names.request(pending.from, &mut pending.request);
        rename_condition(&mut pending.write, names);
    }
}

pub(in crate::cache) fn rename_condition(write: &mut Write, names: &mut impl Names) {
    if let Condition::Version(version) = &mut write.condition {
        names.version(version);
    }
}
