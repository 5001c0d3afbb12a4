//! The lock table: asks, and what becomes of them.
//!
//! An ask goes through here from top to bottom: is it well-formed, does its owner stand on one of
//! these locks already, may it be granted at once (`grant.rs`), would its wait close a cycle
//! (`wait_graph.rs`), is there room. Either all of its names are granted, or all are waited for, or
//! nothing changes.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::bug::Bug;
use super::event::{LockEvent, What};
use super::fencing::Tokens;
use super::lease::{Due, later, lease_end};
use super::listeners::{Listens, Lost};
use super::lock::{Hold, Item, Lock, Wait};
use super::outcome::{AcquireOutcome, LockRefusal};
use super::presence::{Presence, Presences};
use super::request::{Acquire, Attachment, HoldId, LockItem, Mode, Owner};
use super::tellers::Tellers;
use super::turn::Turn;
use super::wait_graph;
use crate::types::{BootId, ClusterTime};

/// Every lock that is held or waited for. A clone costs nothing and shares all it can.
#[derive(Clone, Debug, Default)]
pub struct LockTable {
    /// The state: what is granted, what waits, which processes do not listen.
    pub(super) holds: RedBlackTreeMapSync<HoldId, Hold>,
    pub(super) waits: RedBlackTreeMapSync<HoldId, Wait>,
    pub(super) lost: RedBlackTreeMapSync<BootId, Lost>,
    pub(super) tokens: Tokens,
    /// The same from other sides; see `presence.rs`.
    pub(super) locks: RedBlackTreeMapSync<Arc<str>, Lock>,
    pub(super) owners: RedBlackTreeMapSync<Arc<Owner>, Presences>,
    pub(super) dues: RedBlackTreeSetSync<Due>,
    pub(super) listening: RedBlackTreeMapSync<Attachment, Listens>,
    pub(super) told: RedBlackTreeMapSync<Attachment, HoldId>,
    /// Names of all holds and waits, each counted.
    pub(super) presences: u64,
    /// A mistake that is put back, for tests that show that it is noticed.
    #[cfg(feature = "bugs")]
    pub(super) bug: Option<Bug>,
}

/// A well-formed ask.
pub(super) struct Ask<'a> {
    pub(super) owner: Arc<Owner>,
    pub(super) items: Arc<[Item]>,
    pub(super) ttl_ms: u64,
    pub(super) asked: &'a Acquire,
}

impl LockTable {
    /// An empty table whose first token is `token_base`.
    #[must_use]
    pub fn new(token_base: u64) -> Self {
        Self { tokens: Tokens::starting_at(token_base), ..Self::default() }
    }

    /// The first token, said by the founding entry.
    pub fn start_tokens(&mut self, token_base: u64) {
        self.tokens = Tokens::starting_at(token_base);
    }

    /// Asks for locks.
    pub fn acquire(&mut self, turn: &mut Turn, asked: &Acquire) -> AcquireOutcome {
        let items = match asked.checked_items(&turn.rules) {
            Ok(items) => items,
            Err(refusal) => return AcquireOutcome::Refused(refusal),
        };
        let ask = Ask {
            owner: self.intern_owner(&asked.owner),
            items: items.iter().map(|item| self.item(item)).collect(),
            ttl_ms: asked.ttl_ms.unwrap_or(turn.rules.default_lease_ms),
            asked,
        };
        self.settle(turn, &ask);
        let outcome = match self.presence_of(&ask) {
            Some((name, presence)) => self.ask_again(turn, &ask, &name, presence),
            None => self.ask_first(turn, &ask),
        };
        note_refusal(turn, &asked.owner, ask.items.iter().map(Item::wanted).collect(), &outcome);
        outcome
    }

    /// A request that became this wait, or this hold, asks again: it is answered as it is now,
    /// whatever has been made of it since (an exclusive hold may be shared by now).
    pub fn acquire_again(
        &mut self,
        turn: &mut Turn,
        id: HoldId,
        asked: &Acquire,
    ) -> AcquireOutcome {
        if self.is_live_wait(id, turn.now) {
            return self.acquire(turn, asked);
        }
        if !self.is_live_hold(id, turn.now) {
            return AcquireOutcome::Ended;
        }
        let ask = Ask {
            owner: self.intern_owner(&asked.owner),
            items: asked.items.iter().map(|item| self.item(item)).collect(),
            ttl_ms: asked.ttl_ms.unwrap_or(turn.rules.default_lease_ms),
            asked,
        };
        self.ask_held(turn, &ask, id)
    }

    /// What an acquire has become, by its owner's presence on its first lock. `events`: what its
    /// entry made happen.
    #[must_use]
    pub fn target(&self, asked: &Acquire, events: &[LockEvent]) -> Option<Target> {
        let upgraded = |id| {
            let mut events = events.iter().filter(|event| event.hold == Some(id));
            events.any(|event| event.what == What::Upgraded)
        };
        let wishes = |id| self.holds.get(&id).is_some_and(|hold| hold.wish.is_some());
        Some(match self.presence(&asked.items.first()?.name, &asked.owner)? {
            Presence::Holds(id) if wishes(id) => Target::Wish(id),
            Presence::Holds(id) if upgraded(id) => Target::Upgraded(id),
            Presence::Holds(id) | Presence::Waits(id) => Target::Own(id),
        })
    }

    /// What has ended must not keep this ask from its locks, nor let it pass somebody who came
    /// earlier and only waits for that end to be cleared.
    fn settle(&mut self, turn: &mut Turn, ask: &Ask) {
        let mut freed: Vec<Arc<str>> = ask.items.iter().map(|item| item.name.clone()).collect();
        for item in ask.items.iter() {
            freed.extend(self.clear_ended(turn, &item.name, &ask.owner));
        }
        self.grant_next(turn, freed);
    }

    /// Takes the owner off a lock if what it has there has ended.
    pub(super) fn clear_ended(
        &mut self,
        turn: &mut Turn,
        name: &str,
        owner: &Owner,
    ) -> Vec<Arc<str>> {
        match self.presence(name, owner) {
            Some(Presence::Holds(id)) if !self.is_live_hold(id, turn.now) => {
                let claim = self.holds.get(&id).is_some_and(|hold| hold.claim);
                let what = if claim { What::ClaimLapsed } else { What::Expired };
                self.end_hold(turn, id, what, String::new())
            }
            Some(Presence::Waits(id)) if !self.is_live_wait(id, turn.now) => {
                self.end_wait(turn, id, What::PlaceLapsed)
            }
            _ => Vec::new(),
        }
    }

    /// The first of these names that the owner is on already.
    fn presence_of(&self, ask: &Ask) -> Option<(Arc<str>, Presence)> {
        let on = |item: &Item| Some((item.name.clone(), self.presence(&item.name, &ask.owner)?));
        ask.items.iter().find_map(on)
    }

    /// The owner is on one of the locks. The same request again has the same answer; anything else
    /// would make one owner two.
    fn ask_again(
        &mut self,
        turn: &mut Turn,
        ask: &Ask,
        name: &Arc<str>,
        presence: Presence,
    ) -> AcquireOutcome {
        let (hold, repeat) = match presence {
            Presence::Holds(id) => (Some(id), self.repeats_hold(ask, id)),
            Presence::Waits(id) => (None, self.repeats_wait(ask, id)),
        };
        match (presence, repeat) {
            (Presence::Holds(id), Repeat::Same) => self.ask_held(turn, ask, id),
            (Presence::Holds(id), Repeat::Stronger) => self.ask_stronger(turn, ask, name, id),
            (Presence::Waits(id), Repeat::Same) => self.keep_place(turn, ask, id),
            (Presence::Waits(_), Repeat::Stronger) => {
                AcquireOutcome::Refused(LockRefusal::WaitsInOtherMode)
            }
            (_, Repeat::Other) => {
                AcquireOutcome::Refused(LockRefusal::AlreadyHeld { name: name.to_string(), hold })
            }
        }
    }

    fn repeats_hold(&self, ask: &Ask, id: HoldId) -> Repeat {
        let Some(hold) = self.holds.get(&id) else { return Repeat::Other };
        let same_names = hold.names.iter().eq(ask.items.iter().map(|item| &item.name));
        if !same_names {
            return Repeat::Other;
        }
        let fits = |item: &Item| {
            let share = self.share(hold, &item.name)?;
            let lock = self.locks.get(&item.name)?;
            let same = share.permits == item.permits && lock.permits_max == item.permits_max;
            same.then_some(share.mode == item.mode || share.mode == Mode::Exclusive)
        };
        match ask.items.iter().map(fits).collect::<Option<Vec<bool>>>() {
            Some(fit) if fit.iter().all(|fits| *fits) => Repeat::Same,
            Some(_) if ask.items.len() == 1 => Repeat::Stronger,
            _ => Repeat::Other,
        }
    }

    fn repeats_wait(&self, ask: &Ask, id: HoldId) -> Repeat {
        let Some(wait) = self.waits.get(&id) else { return Repeat::Other };
        if wait.items == ask.items {
            return Repeat::Same;
        }
        let one = wait.items.len() == 1 && ask.items.len() == 1;
        if one { Repeat::Stronger } else { Repeat::Other }
    }

    /// The owner holds the locks: the same hold and tokens, renewed. A claim becomes a full hold.
    fn ask_held(&mut self, turn: &mut Turn, ask: &Ask, id: HoldId) -> AcquireOutcome {
        let Some(hold) = self.holds.get(&id).cloned() else { return AcquireOutcome::Ended };
        if let Some(reason) = self.end_revoked(turn, id, &hold) {
            return AcquireOutcome::Revoked { reason };
        }
        // Nobody was told of a claim; a full hold may be known to its owner from an earlier ask.
        let attachment = ask.asked.attachment;
        let told_by = attachment.filter(|_| !self.has(Bug::AskedAgainIsHeard));
        self.change_hold(id, |hold| match hold.claim {
            true => hold.tellers = Tellers::of(attachment),
            false => hold.is_told_by(told_by),
        });
        if hold.claim && attachment.is_some_and(|it| self.lost.contains_key(&it.boot)) {
            return self.claimed(&hold);
        }
        if hold.claim && self.has(Bug::ClaimIsHold) {
            return self.granted(id, turn.now);
        }
        if hold.claim {
            self.take_claim(turn, id, ask.ttl_ms);
        } else {
            self.renew_hold(turn, id, ask.ttl_ms);
        }
        self.granted(id, turn.now)
    }

    /// The owner holds the lock shared and asks for it exclusive. A claim becomes a full hold first.
    fn ask_stronger(
        &mut self,
        turn: &mut Turn,
        ask: &Ask,
        name: &Arc<str>,
        id: HoldId,
    ) -> AcquireOutcome {
        let is_claim = self.holds.get(&id).is_some_and(|hold| hold.claim);
        if is_claim {
            let taken = self.ask_held(turn, ask, id);
            if !matches!(taken, AcquireOutcome::Granted { .. }) {
                return taken;
            }
            // This ask is answered with the upgrade, or with none.
            self.change_hold(id, |hold| hold.tellers = Tellers::nobody());
        }
        let (ttl_ms, name) = (ask.ttl_ms, name.clone());
        self.upgrade_hold(turn, id, name, ttl_ms, ask.asked.queue, ask.asked.attachment)
    }

    /// A renewal never moves an end earlier.
    pub(super) fn renew_hold(&mut self, turn: &Turn, id: HoldId, ttl_ms: u64) {
        let asked_end = lease_end(turn.now, ttl_ms);
        let shortens = self.has(Bug::RenewShortens);
        self.change_hold(id, |hold| {
            hold.ends_at = if shortens { asked_end } else { later(hold.ends_at, asked_end) };
        });
    }

    /// The owner waits already: its place stays, and whoever asked last listens.
    fn keep_place(&mut self, turn: &mut Turn, ask: &Ask, id: HoldId) -> AcquireOutcome {
        if !ask.asked.queue {
            return AcquireOutcome::Held { holders: self.holders_named(&ask.items, turn.now) };
        }
        let Some(wait) = self.waits.get(&id) else { return AcquireOutcome::Ended };
        let before = wait.listener.place_ends_at;
        let mut listener = self.listener(turn, ask.asked.attachment);
        listener.place_ends_at =
            listener.place_ends_at.map(|end| before.map_or(end, |it| it.max(end)));
        self.change_listener(id, listener);
        if let Some(wait) = self.waits.get_mut(&id) {
            wait.ttl_ms = ask.ttl_ms;
        }
        self.waiting(id, turn.now)
    }

    /// The owner is new to these locks: granted, queued, or refused.
    fn ask_first(&mut self, turn: &mut Turn, ask: &Ask) -> AcquireOutcome {
        if self.tokens.are_used_up() {
            return AcquireOutcome::Refused(LockRefusal::TokensUsedUp);
        }
        if let Err(refusal) = self.check_room(turn, ask) {
            return AcquireOutcome::Refused(refusal);
        }
        if self.fits(&ask.items, HoldId::LAST, turn.now) {
            return self.grant_at_once(turn, ask);
        }
        if !ask.asked.queue {
            return AcquireOutcome::Held { holders: self.holders_named(&ask.items, turn.now) };
        }
        self.enqueue(turn, ask)
    }

    fn grant_at_once(&mut self, turn: &mut Turn, ask: &Ask) -> AcquireOutcome {
        let hold = Hold {
            owner: ask.owner.clone(),
            names: ask.items.iter().map(|item| item.name.clone()).collect(),
            ttl_ms: ask.ttl_ms,
            ends_at: lease_end(turn.now, ask.ttl_ms),
            claim: false,
            since: turn.now,
            tellers: Tellers::of(ask.asked.attachment),
            revoked: None,
            wish: None,
            upgraded: None,
        };
        let id = self.grant(turn, hold, &ask.items, None);
        self.granted(id, turn.now)
    }

    /// Puts the wait in, and takes it out again if it closes a cycle.
    fn enqueue(&mut self, turn: &mut Turn, ask: &Ask) -> AcquireOutcome {
        if let Err(refusal) = self.check_queues(turn, ask) {
            return AcquireOutcome::Refused(refusal);
        }
        let id = turn.next_id();
        let wait = Wait {
            owner: ask.owner.clone(),
            items: ask.items.clone(),
            ttl_ms: ask.ttl_ms,
            listener: self.listener(turn, ask.asked.attachment),
            since: turn.now,
        };
        self.put_wait(id, wait.clone());
        if let Some(cycle) = wait_graph::closes(self, &ask.owner, turn.now) {
            self.take_wait(id);
            turn.give_back_id();
            return AcquireOutcome::Deadlock { cycle };
        }
        turn.note(wait.event(id, What::Queued, turn.now));
        self.waiting(id, turn.now)
    }

    /// What a waiter is told.
    pub(super) fn waiting(&self, id: HoldId, now: ClusterTime) -> AcquireOutcome {
        let Some(wait) = self.waits.get(&id) else { return AcquireOutcome::Ended };
        let ahead = wait.items.iter().map(|item| self.ahead(&item.name, id, now)).max();
        let holders = self.holders_named(&wait.items, now);
        AcquireOutcome::Waiting { ahead: ahead.unwrap_or(0), holders }
    }

    fn item(&self, item: &LockItem) -> Item {
        let permits_max = if item.mode == Mode::Permits { item.permits_max } else { 0 };
        let name = self.intern_name(&item.name);
        Item { name, mode: item.mode, permits: item.permits, permits_max }
    }
}

/// What an acquire has become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A wait, or a hold.
    Own(HoldId),
    /// A hold that its owner had before wishes to have the lock alone.
    Wish(HoldId),
    /// Such a hold has it alone now.
    Upgraded(HoldId),
}

/// What an ask is to what its owner has there.
enum Repeat {
    /// The same, or less.
    Same,
    /// For the same single lock, more.
    Stronger,
    /// Another request.
    Other,
}

/// A refusal goes into the audit trail; so does a deadlock, with its cycle.
pub(super) fn note_refusal(
    turn: &mut Turn,
    owner: &Owner,
    items: Vec<super::event::EventItem>,
    outcome: &AcquireOutcome,
) {
    let (what, detail) = match outcome {
        AcquireOutcome::Refused(refusal) => (What::Refused, refusal.code().to_owned()),
        AcquireOutcome::Held { .. } => (What::Refused, "held".to_owned()),
        AcquireOutcome::Deadlock { cycle } => (What::Deadlock, wait_graph::sentence(cycle)),
        _ => return,
    };
    turn.note(LockEvent {
        what,
        owner: owner.clone(),
        items,
        hold: None,
        wait: None,
        attachment: None,
        elapsed_ms: 0,
        detail,
    });
}
