//! A home's sessions: which processes may have copies, until when, and which invalidations they have
//! not acknowledged.
//!
//! A session ends only when its lease is over, never because its sharer says that it is in another one:
//! that message may be an old one. While it lives it is the process's only one, and answers every
//! renewal.

use std::collections::BTreeMap;

use crate::cache::placement::Process;
use crate::cache::value::Key;
use crate::types::LocalTime;

/// Sessions that a home can have at a time: one bit each in every key's entry.
pub(super) const SESSIONS_MAX: usize = 64;

/// Where a session stands in the table: its bit in [`Sharers`].
pub(super) type Slot = usize;

/// The sessions to which a key's value was handed out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sharers(u64);

impl Sharers {
    pub(super) fn insert(&mut self, slot: Slot) {
        self.0 |= 1 << slot;
    }

    pub(super) fn remove(&mut self, others: Self) {
        self.0 &= !others.0;
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Slot> {
        (0..SESSIONS_MAX).filter(move |slot| self.0 & (1 << slot) != 0)
    }
}

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Session {
    /// Whose.
    pub(super) process: Process,
    /// Never used again by this home.
    pub(super) number: u64,
    /// The sharer may serve its copies until then, by this home's clock, drift included.
    pub(super) lease_over: LocalTime,
    /// The epoch that the sharer has installed.
    pub(super) epoch: u64,
    /// The last invalidation sent.
    pub(super) sent: u64,
    /// Invalidations without acknowledgement, by number.
    pub(super) unacknowledged: BTreeMap<u64, Unacknowledged>,
}

/// An invalidation without acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Unacknowledged {
    /// For which key.
    pub(super) key: Key,
    /// When it was sent first.
    pub(super) since: LocalTime,
    /// When it was sent last.
    pub(super) repeated: LocalTime,
}

impl Session {
    /// True if an invalidation has been unanswered for `limit_ms` (R10).
    pub(super) fn is_mute(&self, now: LocalTime, limit_ms: u64) -> bool {
        self.unacknowledged.values().any(|invalidation| now.since(invalidation.since) >= limit_ms)
    }
}

/// All sessions of a home. A slot is free, taken, or *worn*: its session has ended, and entries may
/// still have its bit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sessions {
    slots: Vec<Option<Session>>,
    worn: Sharers,
    newest: u64,
}

impl Sessions {
    /// The session of `process`.
    pub(super) fn of(&self, process: Process) -> Option<(Slot, &Session)> {
        self.iter().find(|(_, session)| session.process == process)
    }

    pub(super) fn get(&self, slot: Slot) -> Option<&Session> {
        self.slots.get(slot)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Session> {
        self.slots.get_mut(slot)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Slot, &Session)> {
        self.slots.iter().enumerate().filter_map(|(slot, session)| Some((slot, session.as_ref()?)))
    }

    /// The session of `process`, begun if there is none. `None`: there are as many as can be.
    pub(super) fn open(&mut self, process: Process, now: LocalTime) -> Option<Slot> {
        if let Some((slot, _)) = self.of(process) {
            return Some(slot);
        }
        let slot = self.free_slot()?;
        self.newest += 1;
        self.slots[slot] = Some(Session {
            process,
            number: self.newest,
            lease_over: now,
            epoch: 0,
            sent: 0,
            unacknowledged: BTreeMap::new(),
        });
        Some(slot)
    }

    /// Ends a session whose lease is over. Its copies can be served no more, and its sharer drops them
    /// when it hears of its next session (R9).
    pub(super) fn end(&mut self, slot: Slot) -> Option<Session> {
        let ended = self.slots.get_mut(slot)?.take();
        self.worn.insert(slot);
        ended
    }

    /// The worn slots, if no other is free: the caller takes their bits out of every entry.
    pub(super) fn take_worn(&mut self) -> Option<Sharers> {
        let full = self.slots.len() == SESSIONS_MAX && self.fresh_slot().is_none();
        (full && !self.worn.is_empty()).then(|| std::mem::take(&mut self.worn))
    }

    #[cfg(feature = "bugs")]
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Session)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, session)| Some((slot, session.as_mut()?)))
    }

    #[cfg(feature = "bugs")]
    pub(super) fn newest_mut(&mut self) -> &mut u64 {
        &mut self.newest
    }

    /// Moves the sessions to the first slots, in the order of their processes; says from where to where.
    #[cfg(feature = "bugs")]
    pub(super) fn compact(&mut self) -> BTreeMap<Slot, Slot> {
        let taken = std::mem::take(&mut self.slots).into_iter().enumerate();
        let mut live: Vec<(Slot, Session)> =
            taken.filter_map(|(slot, session)| Some((slot, session?))).collect();
        live.sort_by_key(|(_, session)| session.process);
        self.worn = Sharers::default();
        let places = live.iter().enumerate().map(|(to, (from, _))| (*from, to)).collect();
        self.slots = live.into_iter().map(|(_, session)| Some(session)).collect();
        places
    }

    fn free_slot(&mut self) -> Option<Slot> {
        if let Some(slot) = self.fresh_slot() {
            return Some(slot);
        }
        (self.slots.len() < SESSIONS_MAX).then(|| {
            self.slots.push(None);
            self.slots.len() - 1
        })
    }

    fn fresh_slot(&self) -> Option<Slot> {
        let worn: Vec<Slot> = self.worn.iter().collect();
        self.slots
            .iter()
            .enumerate()
            .find(|(slot, session)| session.is_none() && !worn.contains(slot))
            .map(|(slot, _)| slot)
    }
}
