//! Who is where: the only code that puts holds and waits in, and takes them out.
//!
//! The state is `holds` and `waits`; a snapshot holds these. The rest says the same from other sides,
//! and is changed together with it, here and nowhere else:
//!
//! - `locks`: lock -> who is on it. For the grant rule.
//! - `owners`: owner -> the locks it is on, and how. For limits, repeats and the wait graph.
//! - `dues`: end -> what ends. For the stamps.
//! - `listening`, `told`: attachment -> what it waits for, or the hold that it may have told of. For
//!   Leave and Attach.
//!
//! An owner is on a lock at most once. A lock or an owner with nothing left vanishes from the maps,
//! so names used once cost nothing for ever. Names are shared between the maps, not copied.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::lease::Due;
use super::listeners::Listens;
use super::lock::{Hold, Item, Lock, Place, Share, Wait, Wish};
use super::request::{Attachment, HoldId, Mode, Owner};
use super::table::LockTable;
use crate::types::ClusterTime;

/// The locks that one owner is on.
#[derive(Clone, Debug, Default)]
pub(super) struct Presences {
    pub(super) on: RedBlackTreeMapSync<Arc<str>, Presence>,
    /// Those of them that it waits for, or wishes to have alone.
    pub(super) wants: RedBlackTreeSetSync<Arc<str>>,
}

/// How an owner is on a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// By this hold.
    Holds(HoldId),
    /// By this wait.
    Waits(HoldId),
}

impl LockTable {
    /// How `owner` is on `name`, ended or not.
    pub(super) fn presence(&self, name: &str, owner: &Owner) -> Option<Presence> {
        self.owners.get(owner)?.on.get(name).copied()
    }

    /// What a hold has of one of its locks.
    pub(super) fn share(&self, hold: &Hold, name: &str) -> Option<&Share> {
        self.locks.get(name)?.holders.get(&hold.owner)
    }

    /// Puts a new hold in; `shares` go with its names.
    pub(super) fn put_hold(&mut self, id: HoldId, hold: Hold, shares: &[(Share, u32)]) {
        for (name, (share, permits_max)) in hold.names.iter().zip(shares) {
            let lock = self.lock_mut(name, *permits_max);
            lock.permits_held += u64::from(share.permits);
            lock.holders.insert_mut(hold.owner.clone(), *share);
            self.note_presence(name, &hold.owner, Presence::Holds(id));
        }
        self.plan(hold.ends_at, Due::hold(id));
        self.tell(&hold, id);
        if let Some(wish) = &hold.wish {
            self.link_wish(id, &hold.owner, wish);
        }
        self.holds.insert_mut(id, hold);
    }

    /// Takes a hold out. Does not grant to anybody.
    pub(super) fn take_hold(&mut self, id: HoldId) -> Option<(Hold, Vec<Share>)> {
        self.take_wish(id);
        let hold = self.holds.get(&id)?.clone();
        self.holds.remove_mut(&id);
        let mut shares = Vec::with_capacity(hold.names.len());
        for name in hold.names.iter() {
            let Some(lock) = self.locks.get_mut(name) else { continue };
            if let Some(share) = lock.holders.get(&hold.owner).copied() {
                lock.permits_held -= u64::from(share.permits);
                lock.holders.remove_mut(&hold.owner);
                shares.push(share);
            }
            self.forget_presence(name, &hold.owner);
        }
        self.unplan(hold.ends_at, &Due::hold(id));
        self.untell(&hold);
        Some((hold, shares))
    }

    /// Puts a new wait in, behind everybody.
    pub(super) fn put_wait(&mut self, id: HoldId, wait: Wait) {
        for item in wait.items.iter() {
            let lock = self.lock_mut(&item.name, item.permits_max);
            let place = Place { owner: wait.owner.clone(), mode: item.mode, permits: item.permits };
            lock.queue.insert_mut(id, place);
            if item.mode == Mode::Exclusive {
                lock.writers.insert_mut(id);
            }
            self.note_presence(&item.name, &wait.owner, Presence::Waits(id));
            self.note_want(&item.name, &wait.owner);
        }
        self.plan(wait.listener.place_ends_at, Due::wait(id));
        self.listen(wait.listener.attachment, Listens::Wait(id));
        self.waits.insert_mut(id, wait);
    }

    /// Takes a wait out. Does not grant to anybody.
    pub(super) fn take_wait(&mut self, id: HoldId) -> Option<Wait> {
        let wait = self.waits.get(&id)?.clone();
        self.waits.remove_mut(&id);
        for Item { name, .. } in wait.items.iter() {
            if let Some(lock) = self.locks.get_mut(name) {
                lock.queue.remove_mut(&id);
                lock.writers.remove_mut(&id);
                lock.crossing.remove_mut(&id);
            }
            self.forget_want(name, &wait.owner);
            self.forget_presence(name, &wait.owner);
        }
        self.unplan(wait.listener.place_ends_at, &Due::wait(id));
        self.unlisten(wait.listener.attachment);
        Some(wait)
    }

    /// Changes what is not a lock's: everything but the names and the wish.
    pub(super) fn change_hold(&mut self, id: HoldId, change: impl FnOnce(&mut Hold)) {
        let Some(hold) = self.holds.get_mut(&id) else { return };
        let before = hold.clone();
        change(hold);
        let after = hold.clone();
        if before.ends_at != after.ends_at {
            self.unplan(before.ends_at, &Due::hold(id));
            self.plan(after.ends_at, Due::hold(id));
        }
        if (&before.tellers, &before.upgraded) != (&after.tellers, &after.upgraded) {
            self.untell(&before);
            self.tell(&after, id);
        }
    }

    /// Changes who listens to a wait.
    pub(super) fn change_listener(&mut self, id: HoldId, listener: super::lock::Listener) {
        let Some(wait) = self.waits.get_mut(&id) else { return };
        let before = std::mem::replace(&mut wait.listener, listener);
        self.unplan(before.place_ends_at, &Due::wait(id));
        self.plan(listener.place_ends_at, Due::wait(id));
        self.unlisten(before.attachment);
        self.listen(listener.attachment, Listens::Wait(id));
    }

    /// Changes mode and token of one lock of a hold.
    pub(super) fn change_share(&mut self, id: HoldId, name: &str, mode: Mode, token: u64) {
        let Some(owner) = self.holds.get(&id).map(|hold| hold.owner.clone()) else { return };
        let lock = self.locks.get_mut(name);
        if let Some(share) = lock.and_then(|lock| lock.holders.get_mut(&owner)) {
            (share.mode, share.token) = (mode, token);
        }
    }

    /// Gives a hold a wish, or another one.
    pub(super) fn put_wish(&mut self, id: HoldId, wish: Wish) {
        self.take_wish(id);
        let Some(owner) = self.holds.get(&id).map(|hold| hold.owner.clone()) else { return };
        self.link_wish(id, &owner, &wish);
        if let Some(hold) = self.holds.get_mut(&id) {
            hold.wish = Some(wish);
        }
    }

    /// Takes a hold's wish away. Does not grant to anybody.
    pub(super) fn take_wish(&mut self, id: HoldId) -> Option<Wish> {
        let hold = self.holds.get(&id)?;
        let (wish, owner) = (hold.wish.clone()?, hold.owner.clone());
        if let Some(hold) = self.holds.get_mut(&id) {
            hold.wish = None;
        }
        self.forget_want(&wish.name, &owner);
        if let Some(lock) = self.locks.get_mut(&wish.name) {
            lock.wishes.remove_mut(&id);
        }
        self.unplan(wish.listener.place_ends_at, &Due::wish(id));
        self.unlisten(wish.listener.attachment);
        Some(wish)
    }

    /// The shared copies of these names: those in the table, or new ones.
    pub(super) fn intern_name(&self, name: &str) -> Arc<str> {
        let known = self.locks.get_key_value(name).map(|(key, _)| key.clone());
        known.unwrap_or_else(|| Arc::from(name))
    }

    /// See [`LockTable::intern_name`].
    pub(super) fn intern_owner(&self, owner: &Owner) -> Arc<Owner> {
        let known = self.owners.get_key_value(owner).map(|(key, _)| key.clone());
        known.unwrap_or_else(|| Arc::new(owner.clone()))
    }

    fn link_wish(&mut self, id: HoldId, owner: &Arc<Owner>, wish: &Wish) {
        self.note_want(&wish.name, owner);
        if let Some(lock) = self.locks.get_mut(&wish.name) {
            lock.wishes.insert_mut(id);
        }
        self.plan(wish.listener.place_ends_at, Due::wish(id));
        self.listen(wish.listener.attachment, Listens::Wish(id));
    }

    fn lock_mut(&mut self, name: &Arc<str>, permits_max: u32) -> &mut Lock {
        if !self.locks.contains_key(name) {
            self.locks.insert_mut(name.clone(), Lock { permits_max, ..Lock::default() });
        }
        #[allow(clippy::expect_used)]
        self.locks.get_mut(name).expect("was inserted above")
    }

    fn plan(&mut self, at: Option<ClusterTime>, due: impl FnOnce(ClusterTime) -> Due) {
        if let Some(at) = at {
            self.dues.insert_mut(due(at));
        }
    }

    fn unplan(&mut self, at: Option<ClusterTime>, due: &impl Fn(ClusterTime) -> Due) {
        if let Some(at) = at {
            self.dues.remove_mut(&due(at));
        }
    }

    fn tell(&mut self, hold: &Hold, id: HoldId) {
        for attachment in hold.told_by() {
            self.told.insert_mut(attachment, id);
        }
    }

    fn untell(&mut self, hold: &Hold) {
        for attachment in hold.told_by() {
            self.told.remove_mut(&attachment);
        }
    }

    fn listen(&mut self, attachment: Option<Attachment>, listens: Listens) {
        if let Some(attachment) = attachment {
            self.listening.insert_mut(attachment, listens);
        }
    }

    fn unlisten(&mut self, attachment: Option<Attachment>) {
        if let Some(attachment) = attachment {
            self.listening.remove_mut(&attachment);
        }
    }

    fn note_presence(&mut self, name: &Arc<str>, owner: &Arc<Owner>, presence: Presence) {
        self.presences += 1;
        if !self.owners.contains_key(owner) {
            self.owners.insert_mut(owner.clone(), Presences::default());
        }
        if let Some(presences) = self.owners.get_mut(owner) {
            presences.on.insert_mut(name.clone(), presence);
        }
    }

    /// The owner is on the lock, and waits there. Its waits cross as soon as there are two.
    fn note_want(&mut self, name: &Arc<str>, owner: &Arc<Owner>) {
        let Some(presences) = self.owners.get_mut(owner) else { return };
        presences.wants.insert_mut(name.clone());
        match presences.wants.size() {
            1 => {}
            2 => {
                let both: Vec<Arc<str>> = presences.wants.iter().cloned().collect();
                both.iter().for_each(|name| self.set_crossing(name, owner, true));
            }
            _ => self.set_crossing(name, owner, true),
        }
    }

    /// Called while the owner is still on the lock. One wait that is left does not cross.
    fn forget_want(&mut self, name: &Arc<str>, owner: &Arc<Owner>) {
        let Some(presences) = self.owners.get_mut(owner) else { return };
        presences.wants.remove_mut(name);
        if presences.wants.size() == 1 {
            let left = presences.wants.first().cloned();
            left.iter().for_each(|name| self.set_crossing(name, owner, false));
        }
    }

    fn set_crossing(&mut self, name: &Arc<str>, owner: &Owner, crossing: bool) {
        // A wish has no place in the queue.
        let Some(Presence::Waits(id)) = self.presence(name, owner) else { return };
        let Some(lock) = self.locks.get_mut(name) else { return };
        if crossing {
            lock.crossing.insert_mut(id);
        } else {
            lock.crossing.remove_mut(&id);
        }
    }

    /// Called last of all: a lock with nobody on it goes.
    fn forget_presence(&mut self, name: &Arc<str>, owner: &Arc<Owner>) {
        self.presences -= 1;
        if self.locks.get(name).is_some_and(Lock::is_idle) {
            self.locks.remove_mut(name);
        }
        let Some(presences) = self.owners.get_mut(owner) else { return };
        presences.on.remove_mut(name);
        if presences.on.is_empty() {
            self.owners.remove_mut(owner);
        }
    }
}
