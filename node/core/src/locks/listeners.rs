//! Who listens: attachments, lost processes, Leave and Attach.
//!
//! # Problem
//!
//! A client waits on a connection to some node. The client may hang up, the node may die or be cut
//! off. A grant must not go to somebody who will never hear of it (a ghost that holds the lock for
//! its whole lease, or for ever), and a client that only has to ask another node must not lose its
//! place in the queue.
//!
//! # Idea
//!
//! A wait names its *attachment*: the process that has the connection, and a number. That listener is
//! trusted until an entry says that the process is lost: it drains, has a successor, or was silent
//! for too long. From that stamp on the place is kept for the claim window; a grant in that time is a
//! *claim*, which keeps others out for another window but is nobody's hold until it is attached again
//! by an entry. One entry loses a whole process: the end of all its places is one number, so it costs
//! the same for one waiter and for ten thousand.
//!
//! Leave is the node's word that its client has got no byte of a grant and never will. It ends a wait,
//! if no later attachment has taken that over: the client may have asked again elsewhere. It undoes a
//! hold or an upgrade once nobody is left who may have told of it; see `tellers.rs`.
//!
//! # The races that this closes
//!
//! ```text
//! grant to n1's client; n1 dies before it writes   n1's new boot is registered: nothing listens to
//!                                                  what n1 was told before? No: a grant made to a
//!                                                  live listener is a full hold, whatever becomes of
//!                                                  the node. It ends with its lease. (Else a client
//!                                                  that did get the answer would lose its lock.)
//! n1 cut off; lost by an entry; grant; n1 is back  a claim: n1 must attach again before it answers
//! client times out at n1, grant is on its way      Leave comes after the grant and undoes it
//! client asks again at n2, n1's Leave comes late   n2 may have told it: the hold stays until n2 leaves
//! client hangs up on n1 and on n2                  both leave; the second one undoes the hold
//! ```
//!
//! A process that is lost by mistake says so (Resume): its connections are still open, so its waits
//! are listened to again.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bug::Bug;
use super::event::What;
use super::lease::{Due, lease_end};
use super::lock::{Hold, Listener};
use super::outcome::{AcquireOutcome, LeaveOutcome};
use super::request::{Attachment, HoldId, Mode};
use super::table::LockTable;
use super::tellers::Tellers;
use super::turn::Turn;
use crate::types::{BootId, ClusterTime};

/// What an attachment waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listens {
    /// This wait.
    Wait(HoldId),
    /// The wish of this hold.
    Wish(HoldId),
}

/// A process that does not listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost {
    /// When its places end.
    pub(super) places_end_at: ClusterTime,
    /// Its node has another process: nothing new will come from it.
    pub(super) replaced: bool,
}

impl LockTable {
    /// Nobody listens in this process from now on. `replaced`: its node has another one.
    pub fn lose_listeners(&mut self, turn: &mut Turn, boot: BootId, replaced: bool) {
        let places_end_at = turn.now.plus(turn.rules.claim_window_ms);
        let known = self.lost.get(&boot).copied();
        let lost = known.unwrap_or(Lost { places_end_at, replaced });
        self.lost.insert_mut(boot, Lost { replaced: lost.replaced || replaced, ..lost });
        self.dues.insert_mut(Due::boot(boot)(lost.places_end_at));
    }

    /// The process listens again. Places that have ended by now have ended.
    pub fn resume_listeners(&mut self, turn: &mut Turn, boot: BootId) {
        let Some(lost) = self.lost.get(&boot).copied() else { return };
        let mut freed = BTreeSet::new();
        for listens in self.listening_of(boot) {
            if self.listens_in_vain(listens, turn.now) {
                freed.extend(self.end_listening(turn, listens));
            } else {
                self.listen_again(listens);
            }
        }
        self.lost.remove_mut(&boot);
        self.dues.remove_mut(&Due::boot(boot)(lost.places_end_at));
        self.grant_next(turn, freed);
    }

    /// The client of this attachment is gone, and was told nothing.
    pub fn leave(&mut self, turn: &mut Turn, attachment: Attachment) -> LeaveOutcome {
        if let Some(listens) = self.listening.get(&attachment).copied() {
            if self.listens_in_vain(listens, turn.now) {
                return LeaveOutcome::NotAttached;
            }
            if self.has(Bug::LeaveKeepsPlace) {
                return LeaveOutcome::LeftQueue;
            }
            let freed = match listens {
                Listens::Wait(id) => self.end_wait(turn, id, What::Left),
                Listens::Wish(id) => self.leave_wish(turn, id),
            };
            if !self.has(Bug::LeaveWakesNobody) {
                self.grant_next(turn, freed);
            }
            return LeaveOutcome::LeftQueue;
        }
        match self.told.get(&attachment).copied() {
            Some(id) if self.is_live_hold(id, turn.now) => self.leave_hold(turn, id, attachment),
            _ => LeaveOutcome::NotAttached,
        }
    }

    /// The wish ends, and with it a hold that the owner was never told of.
    fn leave_wish(&mut self, turn: &mut Turn, id: HoldId) -> Vec<Arc<str>> {
        let mut freed = self.end_wish(turn, id, What::Left);
        if self.holds.get(&id).is_some_and(|hold| hold.tellers.is_nobody()) {
            freed.extend(self.end_hold(turn, id, What::Undone, String::new()));
        }
        freed
    }

    /// Somebody who was to tell of a hold, of its upgrade, or of both, could not.
    fn leave_hold(&mut self, turn: &mut Turn, id: HoldId, gone: Attachment) -> LeaveOutcome {
        let Some(hold) = self.holds.get(&id).cloned() else { return LeaveOutcome::NotAttached };
        if self.has(Bug::LastLeaveKeepsHold) {
            return LeaveOutcome::Released;
        }
        let others = hold.tellers.without(gone);
        let tellers = if self.has(Bug::AnyLeaveUndoes) { Tellers::nobody() } else { others };
        if tellers.is_nobody() && !self.is_live_wish(id, turn.now) {
            let freed = self.end_hold(turn, id, What::Undone, String::new());
            self.grant_next(turn, freed);
            return LeaveOutcome::Released;
        }
        self.change_hold(id, |hold| hold.tellers = tellers);
        let upgraded = hold.upgraded.map(|(tellers, name)| (tellers.without(gone), name));
        match upgraded {
            Some((tellers, name)) if tellers.is_nobody() => {
                self.undo_upgrade(turn, id, name);
                LeaveOutcome::Released
            }
            upgraded => {
                self.change_hold(id, |hold| hold.upgraded = upgraded);
                LeaveOutcome::Superseded
            }
        }
    }

    /// This attachment listens again: its claim becomes a full hold.
    pub fn attach(&mut self, turn: &mut Turn, attachment: Attachment) -> AcquireOutcome {
        if let Some(listens) = self.listening.get(&attachment).copied() {
            if self.listens_in_vain(listens, turn.now) {
                return AcquireOutcome::Ended;
            }
            if !self.lost.contains_key(&attachment.boot) {
                self.listen_again(listens);
            }
            return match listens {
                Listens::Wait(id) => self.waiting(id, turn.now),
                Listens::Wish(id) => self.wishing(id, turn.now),
            };
        }
        match self.told.get(&attachment).copied() {
            Some(id) if self.is_live_hold(id, turn.now) => self.attach_hold(turn, id, attachment),
            _ => AcquireOutcome::Ended,
        }
    }

    /// When a place ends if nothing else happens; `None`: somebody listens.
    pub(super) fn listener_end(&self, listener: Listener) -> Option<ClusterTime> {
        listener.place_ends_at.or_else(|| {
            let lost = self.lost.get(&listener.attachment?.boot)?;
            Some(lost.places_end_at)
        })
    }

    /// The listener of a request that is queued now. Who asks through a lost process has a place only.
    pub(super) fn listener(&self, turn: &Turn, attachment: Option<Attachment>) -> Listener {
        let listened = attachment.is_some_and(|it| !self.lost.contains_key(&it.boot));
        let window = turn.now.plus(turn.rules.claim_window_ms);
        Listener { attachment, place_ends_at: (!listened).then_some(window) }
    }

    /// Clears one place of a lost process; the due stays until there are no more.
    pub(super) fn clear_lost(
        &mut self,
        turn: &mut Turn,
        boot: BootId,
        at: ClusterTime,
    ) -> Vec<Arc<str>> {
        let of_boot = attachments(boot);
        let due_now = self
            .listening
            .range(of_boot)
            .map(|(_, listens)| *listens)
            .find(|listens| self.listens_in_vain(*listens, turn.now));
        if let Some(listens) = due_now {
            return self.end_listening(turn, listens);
        }
        self.dues.remove_mut(&Due::boot(boot)(at));
        if self.lost.get(&boot).is_some_and(|lost| lost.replaced) {
            self.lost.remove_mut(&boot);
        }
        Vec::new()
    }

    fn attach_hold(&mut self, turn: &mut Turn, id: HoldId, by: Attachment) -> AcquireOutcome {
        let Some(hold) = self.holds.get(&id).cloned() else { return AcquireOutcome::Ended };
        if let Some(reason) = self.end_revoked(turn, id, &hold) {
            return AcquireOutcome::Revoked { reason };
        }
        if hold.claim && self.lost.contains_key(&by.boot) {
            return self.claimed(&hold);
        }
        if hold.claim && !self.has(Bug::ClaimIsHold) {
            self.take_claim(turn, id, hold.ttl_ms);
        }
        self.granted(id, turn.now)
    }

    /// A claim becomes a full hold, with its lease from this stamp.
    pub(super) fn take_claim(&mut self, turn: &mut Turn, id: HoldId, ttl_ms: u64) {
        let ends_at = lease_end(turn.now, ttl_ms);
        self.change_hold(id, |hold| {
            (hold.claim, hold.ends_at, hold.ttl_ms) = (false, ends_at, ttl_ms);
        });
        self.note_hold(turn, id, What::ClaimTaken);
    }

    /// The hold as an answer.
    pub(super) fn granted(&self, id: HoldId, now: ClusterTime) -> AcquireOutcome {
        let Some(hold) = self.holds.get(&id) else { return AcquireOutcome::Ended };
        let shares = hold.names.iter().filter_map(|name| self.share(hold, name));
        AcquireOutcome::Granted {
            hold: id,
            tokens: shares.map(|share| share.token).collect(),
            remaining_ms: self.remaining_ms(id, now),
        }
    }

    /// A claim is never answered as a hold: its owner still waits, behind nobody but itself.
    pub(super) fn claimed(&self, hold: &Hold) -> AcquireOutcome {
        AcquireOutcome::Waiting { ahead: 0, holders: vec![(*hold.owner).clone()] }
    }

    fn undo_upgrade(&mut self, turn: &mut Turn, id: HoldId, name: Arc<str>) {
        self.change_hold(id, |hold| hold.upgraded = None);
        let hold = self.holds.get(&id).cloned();
        let share = hold.and_then(|hold| self.share(&hold, &name).copied());
        if let Some(share) = share.filter(|share| share.mode == Mode::Exclusive) {
            self.change_share(id, &name, Mode::Shared, share.token);
            self.note_lock(turn, id, &name, What::Downgraded);
            self.grant_next(turn, [name]);
        }
    }

    fn listening_of(&self, boot: BootId) -> Vec<Listens> {
        self.listening.range(attachments(boot)).map(|(_, listens)| *listens).collect()
    }

    /// The place, or the hold of the wish, has ended and is only not cleared yet.
    pub(super) fn listens_in_vain(&self, listens: Listens, now: ClusterTime) -> bool {
        match listens {
            Listens::Wait(id) => !self.is_live_wait(id, now),
            Listens::Wish(id) => !self.is_live_wish(id, now),
        }
    }

    fn end_listening(&mut self, turn: &mut Turn, listens: Listens) -> Vec<Arc<str>> {
        match listens {
            Listens::Wait(id) => self.end_wait(turn, id, What::PlaceLapsed),
            Listens::Wish(id) => self.end_wish(turn, id, What::PlaceLapsed),
        }
    }

    fn listen_again(&mut self, listens: Listens) {
        match listens {
            Listens::Wait(id) => {
                let Some(wait) = self.waits.get(&id) else { return };
                let listener = Listener { place_ends_at: None, ..wait.listener };
                self.change_listener(id, listener);
            }
            Listens::Wish(id) => {
                let wish = self.holds.get(&id).and_then(|hold| hold.wish.clone());
                let Some(mut wish) = wish else { return };
                wish.listener.place_ends_at = None;
                self.put_wish(id, wish);
            }
        }
    }
}

/// All attachments of one process.
pub(super) fn attachments(boot: BootId) -> std::ops::RangeInclusive<Attachment> {
    Attachment { boot, number: 0 }..=Attachment { boot, number: u64::MAX }
}
