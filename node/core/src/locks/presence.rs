//! Who is where: the only code that writes holders and queues.
//!
//! Three structures say the same thing from three sides, and must be changed together:
//!
//! - `locks`: lock -> its holders and its queue. The state; a snapshot holds this one.
//! - `owners`: owner -> the locks it holds or waits for. For limits and the wait graph.
//! - `dues`: end -> what ends. For the stamps.
//!
//! An owner is on a lock at most once, as holder or as waiter. A lock or an owner with nothing left
//! vanishes from the maps, so names used once cost nothing for ever. Names are shared between the
//! three, not copied.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::lease::Due;
use super::lock::{Arrival, Hold, Lock, Waiter};
use super::request::Owner;
use super::table::LockTable;
use crate::types::ClusterTime;

/// The locks that one owner is on.
pub(super) type Presences = RedBlackTreeMapSync<Arc<str>, Presence>;

/// How an owner is on a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// As a holder.
    Holds,
    /// As a waiter, at this place.
    Waits(Arrival),
}

impl LockTable {
    /// How `owner` is on `name`, ended or not.
    pub(super) fn presence(&self, name: &str, owner: &Owner) -> Option<Presence> {
        self.owners.get(owner)?.get(name).copied()
    }

    /// The owner's hold of `name`, ended or not.
    pub(super) fn hold_of(&self, name: &str, owner: &Owner) -> Option<&Hold> {
        self.locks.get(name)?.holders.get(owner)
    }

    /// The owner's place in the queue of `name`, ended or not.
    pub(super) fn waiter_of(&self, name: &str, owner: &Owner) -> Option<(Arrival, &Waiter)> {
        let Presence::Waits(arrival) = self.presence(name, owner)? else { return None };
        self.locks.get(name)?.queue.get(&arrival).map(|waiter| (arrival, waiter))
    }

    /// Adds or replaces a hold. The owner must not wait for this lock.
    pub(super) fn put_hold(&mut self, name: &Arc<str>, owner: &Arc<Owner>, hold: Hold) {
        let ends_at = hold.ends_at;
        let lock = self.lock_mut(name);
        let before = lock.holders.get(owner).and_then(|hold| hold.ends_at);
        lock.holders.insert_mut(owner.clone(), hold);
        self.reschedule(name, owner, before, ends_at);
        self.note(name, owner, Presence::Holds);
    }

    /// Adds or replaces a waiter at its place. The owner must not hold this lock.
    pub(super) fn put_waiter(&mut self, name: &Arc<str>, arrival: Arrival, waiter: Waiter) {
        let owner = waiter.owner.clone();
        let ends_at = waiter.place_ends_at;
        let lock = self.lock_mut(name);
        let before = lock.queue.get(&arrival).map(|waiter| waiter.place_ends_at);
        lock.queue.insert_mut(arrival, waiter);
        self.reschedule(name, &owner, before, Some(ends_at));
        self.note(name, &owner, Presence::Waits(arrival));
    }

    /// Takes an owner off a lock, whatever it was there. Does not grant to anybody.
    pub(super) fn remove(&mut self, name: &Arc<str>, owner: &Arc<Owner>) {
        let Some(presence) = self.presence(name, owner) else { return };
        let lock = self.lock_mut(name);
        let ends_at = match presence {
            Presence::Holds => lock.take_hold(owner),
            Presence::Waits(arrival) => lock.take_waiter(arrival),
        };
        if lock.is_idle() {
            self.locks.remove_mut(name);
        }
        self.reschedule(name, owner, ends_at, None);
        self.forget(name, owner);
    }

    /// The shared copies of these names: those in the table, or new ones.
    pub(super) fn intern(&self, name: &str, owner: &Owner) -> (Arc<str>, Arc<Owner>) {
        let known_name = self.locks.get_key_value(name).map(|(key, _)| key.clone());
        let known_owner = self.owners.get_key_value(owner).map(|(key, _)| key.clone());
        (
            known_name.unwrap_or_else(|| Arc::from(name)),
            known_owner.unwrap_or_else(|| Arc::new(owner.clone())),
        )
    }

    fn lock_mut(&mut self, name: &Arc<str>) -> &mut Lock {
        if !self.locks.contains_key(name) {
            self.locks.insert_mut(name.clone(), Lock::default());
        }
        #[allow(clippy::expect_used)]
        self.locks.get_mut(name).expect("was inserted above")
    }

    fn reschedule(
        &mut self,
        name: &Arc<str>,
        owner: &Arc<Owner>,
        before: Option<ClusterTime>,
        after: Option<ClusterTime>,
    ) {
        if before == after {
            return;
        }
        let due = |at| Due { at, name: name.clone(), owner: owner.clone() };
        if let Some(at) = before {
            self.dues.remove_mut(&due(at));
        }
        if let Some(at) = after {
            self.dues.insert_mut(due(at));
        }
    }

    fn note(&mut self, name: &Arc<str>, owner: &Arc<Owner>, presence: Presence) {
        if let Some(presences) = self.owners.get_mut(owner) {
            presences.insert_mut(name.clone(), presence);
        } else {
            let presences = Presences::new_sync().insert(name.clone(), presence);
            self.owners.insert_mut(owner.clone(), presences);
        }
    }

    fn forget(&mut self, name: &Arc<str>, owner: &Arc<Owner>) {
        let Some(presences) = self.owners.get_mut(owner) else { return };
        presences.remove_mut(name);
        if presences.is_empty() {
            self.owners.remove_mut(owner);
        }
    }
}

impl Lock {
    /// Removes a hold and tells its end.
    fn take_hold(&mut self, owner: &Owner) -> Option<ClusterTime> {
        let ends_at = self.holders.get(owner).and_then(|hold| hold.ends_at);
        self.holders.remove_mut(owner);
        ends_at
    }

    /// Removes a waiter and tells its end.
    fn take_waiter(&mut self, arrival: Arrival) -> Option<ClusterTime> {
        let ends_at = self.queue.get(&arrival).map(|waiter| waiter.place_ends_at);
        self.queue.remove_mut(&arrival);
        ends_at
    }
}
