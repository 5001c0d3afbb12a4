//! From shared to exclusive without letting go.
//!
//! # Problem
//!
//! A reader that finds something to write wants to be alone, without anybody changing what it has
//! read in between. If it gave back its lock and asked again, somebody would. If it waits in the
//! queue, it waits for itself. And two readers that both want it wait for each other for ever; other
//! systems hang there "by design".
//!
//! # Idea
//!
//! The holder keeps its shared lock and *wishes* to be alone. The wish stands before the queue, since
//! whoever waits there waits for this holder anyway; it waits for the other readers only, and keeps
//! new ones out. The second reader with a wish closes a cycle with the first and is refused in the
//! same entry, as every deadlock is (`wait_graph.rs`); it can give back its lock, and the first is
//! alone.
//!
//! An upgrade is the only grant that others who came before have to make room for, so it is the only
//! one that has to be looked at for deadlock even if nothing keeps it from being made.
//!
//! The hold stays the same hold, and keeps its id; the lock's token is a new one, since a writer is
//! not compatible with the readers before it. A granted wish is no claim, whoever listens: its owner
//! has the lock already, with a lease.

use std::sync::Arc;

use super::bug::Bug;
use super::checks::check_lease;
use super::event::What;
use super::holds::the_name;
use super::lease::{later, lease_end};
use super::lock::{Lock, Wish};
use super::outcome::{AcquireOutcome, LockRefusal};
use super::request::{Attachment, HoldId, HoldRef, Mode, Owner, Upgrade};
use super::table::{LockTable, note_refusal};
use super::tellers::Tellers;
use super::turn::Turn;
use super::wait_graph;
use crate::types::ClusterTime;

impl LockTable {
    /// Asks to have a shared lock of a hold alone.
    pub fn upgrade(&mut self, turn: &mut Turn, asked: &Upgrade) -> AcquireOutcome {
        if let Err(refusal) = check_lease(asked.ttl_ms, &turn.rules) {
            return AcquireOutcome::Refused(refusal);
        }
        let id = asked.hold.hold;
        let Some(hold) = self.find(&asked.hold, turn.now).filter(|hold| !hold.claim).cloned()
        else {
            return AcquireOutcome::Ended;
        };
        let Some(name) = the_name(&hold, &asked.hold) else {
            return AcquireOutcome::Refused(LockRefusal::NoName);
        };
        let ttl_ms = asked.ttl_ms.unwrap_or(hold.ttl_ms);
        self.heard_of(id);
        let outcome =
            self.upgrade_hold(turn, id, name.clone(), ttl_ms, asked.queue, asked.attachment);
        let items = self.share(&hold, &name).map(|share| share.item(&name)).into_iter().collect();
        note_refusal(turn, &hold.owner, items, &outcome);
        outcome
    }

    pub(super) fn upgrade_hold(
        &mut self,
        turn: &mut Turn,
        id: HoldId,
        name: Arc<str>,
        ttl_ms: u64,
        queue: bool,
        attachment: Option<Attachment>,
    ) -> AcquireOutcome {
        let Some(hold) = self.holds.get(&id).cloned() else { return AcquireOutcome::Ended };
        if let Some(reason) = self.end_revoked(turn, id, &hold) {
            return AcquireOutcome::Revoked { reason };
        }
        if hold.claim {
            return self.claimed(&hold);
        }
        let Some(share) = self.share(&hold, &name).copied() else { return AcquireOutcome::Ended };
        match share.mode {
            Mode::Permits => {
                return AcquireOutcome::Refused(LockRefusal::NotAPlainLock(name.to_string()));
            }
            Mode::Exclusive => {
                self.renew_hold(turn, id, ttl_ms);
                self.change_hold(id, |hold| hold.is_told_by(attachment));
                return self.granted(id, turn.now);
            }
            Mode::Shared => {}
        }
        let other = hold.wish.as_ref().filter(|wish| wish.name != name);
        if other.is_some() && self.is_live_wish(id, turn.now) {
            let name = other.map(|wish| wish.name.to_string()).unwrap_or_default();
            return AcquireOutcome::Refused(LockRefusal::AlreadyHeld { name, hold: Some(id) });
        }
        if self.tokens.are_used_up() {
            return AcquireOutcome::Refused(LockRefusal::TokensUsedUp);
        }
        if !queue && !self.is_alone(id, &name, turn.now) {
            let holders = self.other_readers(id, &name, turn.now);
            return AcquireOutcome::Held { holders };
        }
        self.wish(turn, id, name, ttl_ms, attachment)
    }

    /// An upgrade that was granted is asked for again under its id: as it is now. `Ended` if the hold has
    /// ended, or the lock is shared again: its owner has said so since, or nobody was told of the upgrade
    /// and it was undone.
    pub fn upgraded_again(
        &mut self,
        turn: &mut Turn,
        asked: &HoldRef,
        attachment: Option<Attachment>,
    ) -> AcquireOutcome {
        let Some(hold) = self.find(asked, turn.now).cloned() else { return AcquireOutcome::Ended };
        if let Some(reason) = self.end_revoked(turn, asked.hold, &hold) {
            return AcquireOutcome::Revoked { reason };
        }
        let share = the_name(&hold, asked).and_then(|name| self.share(&hold, &name).copied());
        let alone = share.is_some_and(|share| share.mode == Mode::Exclusive);
        if !alone {
            return AcquireOutcome::Ended;
        }
        self.change_hold(asked.hold, |hold| hold.is_told_by(attachment));
        self.granted(asked.hold, turn.now)
    }

    /// Puts the wish in, and takes it out again if it closes a cycle. It may do so also if it could be
    /// granted at once: somebody may wait here for another lock only, and wait for this holder from
    /// now on.
    fn wish(
        &mut self,
        turn: &mut Turn,
        id: HoldId,
        name: Arc<str>,
        ttl_ms: u64,
        attachment: Option<Attachment>,
    ) -> AcquireOutcome {
        let Some(hold) = self.holds.get(&id).cloned() else { return AcquireOutcome::Ended };
        let known = hold.wish.as_ref().filter(|_| self.is_live_wish(id, turn.now));
        let since = known.map_or(turn.now, |wish| wish.since);
        let mut listener = self.listener(turn, attachment);
        if let Some(earlier) = known.and_then(|wish| wish.listener.place_ends_at) {
            listener.place_ends_at = listener.place_ends_at.map(|end| end.max(earlier));
        }
        let first = known.is_none();
        let wish = Wish { name, ttl_ms, listener, since };
        self.put_wish(id, wish.clone());
        let cycle = wait_graph::closes(self, &hold.owner, turn.now);
        if let Some(cycle) = cycle.filter(|_| !self.has(Bug::SecondUpgradeQueued)) {
            match hold.wish {
                Some(before) => self.put_wish(id, before),
                None => drop(self.take_wish(id)),
            }
            return AcquireOutcome::Deadlock { cycle };
        }
        if self.is_alone(id, &wish.name, turn.now) {
            self.grant_upgrader(turn, &wish.name);
            return self.granted(id, turn.now);
        }
        if first {
            turn.note(wish.event(id, &hold, What::UpgradeQueued, turn.now));
        }
        self.wishing(id, turn.now)
    }

    /// Grants the wish of the holder that is alone now.
    pub(super) fn grant_upgrader(&mut self, turn: &mut Turn, name: &Arc<str>) {
        let upgrader = self.locks.get(name).and_then(|lock| self.live_upgrader(lock, turn.now));
        let Some(id) = upgrader.filter(|id| self.is_alone(*id, name, turn.now)) else { return };
        let Some(wish) = self.take_wish(id) else { return };
        let attachment = wish.listener.attachment;
        self.become_writer(turn, id, name, wish.ttl_ms, attachment, wish.since);
    }

    fn become_writer(
        &mut self,
        turn: &mut Turn,
        id: HoldId,
        name: &Arc<str>,
        ttl_ms: u64,
        attachment: Option<Attachment>,
        since: ClusterTime,
    ) {
        let token = self.upgrade_token(id, name);
        self.change_share(id, name, Mode::Exclusive, token);
        let asked_end = lease_end(turn.now, ttl_ms);
        self.change_hold(id, |hold| {
            hold.ends_at = later(hold.ends_at, asked_end);
            hold.tellers = hold.tellers.with(attachment);
            hold.upgraded = attachment.map(|it| (Tellers::One(it), name.clone()));
        });
        self.note_lock(turn, id, name, What::Upgraded);
        let waited_ms = turn.now.since(since);
        if let Some(event) = turn.last_event_mut() {
            (event.attachment, event.elapsed_ms) = (attachment, waited_ms);
        }
    }

    fn upgrade_token(&mut self, id: HoldId, name: &str) -> u64 {
        let share = self.holds.get(&id).and_then(|hold| self.share(hold, name)).copied();
        match share.filter(|_| self.has(Bug::UpgradeKeepsToken)) {
            Some(share) => share.token,
            None => self.tokens.mint(),
        }
    }

    /// What a holder with a wish is told.
    pub(super) fn wishing(&self, id: HoldId, now: ClusterTime) -> AcquireOutcome {
        let wish = self.holds.get(&id).and_then(|hold| hold.wish.as_ref());
        let Some(wish) = wish else { return AcquireOutcome::Ended };
        AcquireOutcome::Waiting { ahead: 0, holders: self.other_readers(id, &wish.name, now) }
    }

    fn is_alone(&self, id: HoldId, name: &str, now: ClusterTime) -> bool {
        let lock = self.locks.get(name);
        lock.is_some_and(|lock| self.live_others(lock, id, now).next().is_none())
            || self.has(Bug::UpgradeIgnoresReaders)
    }

    fn other_readers(&self, id: HoldId, name: &str, now: ClusterTime) -> Vec<Owner> {
        let Some(lock) = self.locks.get(name) else { return Vec::new() };
        let others = self.live_others(lock, id, now).take(super::outcome::HOLDERS_NAMED_MAX);
        others.cloned().collect()
    }

    /// Live holders of a lock but this one.
    pub(super) fn live_others<'a>(
        &'a self,
        lock: &'a Lock,
        id: HoldId,
        now: ClusterTime,
    ) -> impl Iterator<Item = &'a Owner> {
        let holders = self.live_holders(lock, now).filter(move |(_, share)| share.hold != id);
        holders.map(|(owner, _)| &**owner)
    }
}
