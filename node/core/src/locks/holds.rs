//! What can be done with a hold: give it back, renew it, make it shared, take it away.
//!
//! Everything here names the hold id, never the owner alone (but for the original release): a message
//! about an ended hold that arrives late finds no such hold, and cannot touch the next one.
//!
//! # Revoking
//!
//! Force has two strengths. *Now* ends a hold at once; what its owner still does is its own matter,
//! and only the token protects against it. *Revoking* is gentler: the hold lives on until its lease
//! ends, but no word of its owner can prolong it, and the first one (a renewal, an ask) ends it and
//! is told so. So an owner that renews is told within a third of its lease and can stop in good
//! order, and one that is gone ends no later than it would have anyway.

use std::sync::Arc;

use super::checks::{check_lease, check_owner};
use super::event::{LockEvent, What};
use super::lock::Hold;
use super::outcome::{
    ForceOutcome, HOLDERS_NAMED_MAX, HoldOutcome, LockRefusal, ReleaseOutcome, RenewAllOutcome,
};
use super::presence::Presence;
use super::request::{ForceRelease, HoldId, HoldRef, Mode, Release, Renew, RenewAll};
use super::table::LockTable;
use super::tellers::Tellers;
use super::turn::Turn;
use crate::types::ClusterTime;

impl LockTable {
    /// Gives a hold back.
    pub fn release_hold(&mut self, turn: &mut Turn, hold: &HoldRef) -> HoldOutcome {
        if self.find(hold, turn.now).is_none() {
            return HoldOutcome::NotHeld;
        }
        self.end_and_grant(turn, hold.hold, What::Released, String::new());
        HoldOutcome::Released
    }

    /// Gives a hold or a place back, by name and owner.
    pub fn release(&mut self, turn: &mut Turn, release: &Release) -> ReleaseOutcome {
        let freed = self.clear_ended(turn, &release.name, &release.owner);
        self.grant_next(turn, freed);
        match self.presence(&release.name, &release.owner) {
            Some(Presence::Holds(id)) => {
                if self.holds.get(&id).is_some_and(|hold| hold.names.len() > 1) {
                    return ReleaseOutcome::HeldWithOthers { hold: Some(id) };
                }
                self.end_and_grant(turn, id, What::Released, String::new());
                ReleaseOutcome::Released
            }
            Some(Presence::Waits(id)) => {
                if self.waits.get(&id).is_some_and(|wait| wait.items.len() > 1) {
                    return ReleaseOutcome::HeldWithOthers { hold: None };
                }
                let freed = self.end_wait(turn, id, What::Left);
                self.grant_next(turn, freed);
                ReleaseOutcome::LeftQueue
            }
            None => ReleaseOutcome::NotHolder,
        }
    }

    /// Moves a hold's end.
    pub fn renew(&mut self, turn: &mut Turn, renew: &Renew) -> HoldOutcome {
        if let Err(refusal) = check_lease(renew.ttl_ms, &turn.rules) {
            return HoldOutcome::Refused(refusal);
        }
        let id = renew.hold.hold;
        let Some(hold) = self.find(&renew.hold, turn.now).filter(|hold| !hold.claim).cloned()
        else {
            return HoldOutcome::NotHeld;
        };
        if let Some(reason) = self.end_revoked(turn, id, &hold) {
            return HoldOutcome::Revoked { reason };
        }
        self.renew_hold(turn, id, renew.ttl_ms.unwrap_or(hold.ttl_ms));
        self.heard_of(id);
        HoldOutcome::Renewed { remaining_ms: self.remaining_ms(id, turn.now) }
    }

    /// Moves the ends of all holds of an owner. Claims are left alone: who has not been told of a
    /// grant cannot renew it.
    pub fn renew_all(&mut self, turn: &mut Turn, renew: &RenewAll) -> RenewAllOutcome {
        let mut outcome = RenewAllOutcome::default();
        let checked = check_owner(&renew.owner, &turn.rules)
            .and_then(|()| check_lease(renew.ttl_ms, &turn.rules));
        if let Err(refusal) = checked {
            return RenewAllOutcome { refusal: Some(refusal), ..outcome };
        }
        let mut freed = Vec::new();
        for id in self.live_holds_of(&renew.owner, turn.now) {
            let Some(hold) = self.holds.get(&id).filter(|hold| !hold.claim).cloned() else {
                continue;
            };
            if let Some(reason) = &hold.revoked {
                freed.extend(self.end_hold(turn, id, What::Forced, reason.to_string()));
                outcome.revoked.push(id);
                continue;
            }
            self.renew_hold(turn, id, renew.ttl_ms.unwrap_or(hold.ttl_ms));
            self.heard_of(id);
            outcome.kept.push((id, self.remaining_ms(id, turn.now)));
        }
        self.grant_next(turn, freed);
        let named = |id: &HoldId| {
            outcome.revoked.contains(id) || outcome.kept.binary_search_by_key(id, |it| it.0).is_ok()
        };
        let claim = |id: &HoldId| {
            let hold = self.holds.get(id).filter(|_| self.is_live_hold(*id, turn.now));
            hold.is_some_and(|hold| hold.claim && *hold.owner == renew.owner)
        };
        let expected = renew.expected.iter().filter(|id| !named(id) && !claim(id));
        outcome.lost = expected.copied().collect();
        outcome.lost.sort_unstable();
        outcome.lost.dedup();
        outcome
    }

    /// Makes an exclusive lock of a hold shared. It keeps its token, and readers who join share it.
    pub fn downgrade(&mut self, turn: &mut Turn, asked: &HoldRef) -> HoldOutcome {
        let id = asked.hold;
        let Some(hold) = self.find(asked, turn.now).filter(|hold| !hold.claim).cloned() else {
            return HoldOutcome::NotHeld;
        };
        let Some(name) = the_name(&hold, asked) else {
            return HoldOutcome::Refused(LockRefusal::NoName);
        };
        if let Some(reason) = self.end_revoked(turn, id, &hold) {
            return HoldOutcome::Revoked { reason };
        }
        let Some(share) = self.share(&hold, &name).copied() else { return HoldOutcome::NotHeld };
        self.heard_of(id);
        match share.mode {
            Mode::Permits => {
                return HoldOutcome::Refused(LockRefusal::NotAPlainLock(name.to_string()));
            }
            Mode::Exclusive => {
                let undone = |it: &mut (Tellers, Arc<str>)| it.1 == name;
                self.change_hold(id, |hold| drop(hold.upgraded.take_if(undone)));
                self.change_share(id, &name, Mode::Shared, share.token);
                self.note_lock(turn, id, &name, What::Downgraded);
                self.grant_next(turn, [name]);
            }
            Mode::Shared => {}
        }
        HoldOutcome::Downgraded {
            token: share.token,
            remaining_ms: self.remaining_ms(id, turn.now),
        }
    }

    /// An outcome of earlier about one hold, with what is left of the lease now; `NotHeld` if the hold
    /// has ended since.
    #[must_use]
    pub fn hold_as_now(
        &self,
        asked: &HoldRef,
        before: &HoldOutcome,
        now: ClusterTime,
    ) -> HoldOutcome {
        let (HoldOutcome::Renewed { .. } | HoldOutcome::Downgraded { .. }) = before else {
            return before.clone();
        };
        if self.find(asked, now).is_none() {
            return HoldOutcome::NotHeld;
        }
        let remaining_ms = self.remaining_ms(asked.hold, now);
        match *before {
            HoldOutcome::Downgraded { token, .. } => {
                HoldOutcome::Downgraded { token, remaining_ms }
            }
            _ => HoldOutcome::Renewed { remaining_ms },
        }
    }

    /// As [`LockTable::hold_as_now`], of a renewal of all: what has ended since is lost.
    #[must_use]
    pub fn all_as_now(&self, before: &RenewAllOutcome, now: ClusterTime) -> RenewAllOutcome {
        let mut outcome = before.clone();
        let kept = std::mem::take(&mut outcome.kept).into_iter().map(|(id, _)| id);
        let (live, ended): (Vec<_>, Vec<_>) = kept.partition(|id| self.is_live_hold(*id, now));
        outcome.kept = live.into_iter().map(|id| (id, self.remaining_ms(id, now))).collect();
        outcome.lost.extend(ended);
        outcome.lost.sort_unstable();
        outcome
    }

    /// Who names a hold by its id has heard of its grant: a Leave of whoever was to be told of it,
    /// which may be a late copy of the ask on another node, must not undo it any more.
    pub(super) fn heard_of(&mut self, id: HoldId) {
        self.change_hold(id, |hold| hold.tellers = Tellers::Heard);
    }

    /// Takes holds away from their owners.
    pub fn force(&mut self, turn: &mut Turn, force: &ForceRelease) -> ForceOutcome {
        if let Err(refusal) = force.check(&turn.rules) {
            return ForceOutcome::Refused(refusal);
        }
        let Some(lock) = self.locks.get(force.name.as_str()) else { return ForceOutcome::NotHeld };
        let holders = self.live_holders(lock, turn.now).map(|(_, share)| share.hold);
        let meant = |id: &HoldId| force.hold.is_none_or(|hold| hold == *id);
        let mut holds: Vec<HoldId> = holders.filter(meant).collect();
        holds.sort_unstable();
        if holds.is_empty() {
            return ForceOutcome::NotHeld;
        }
        // All of them, before anybody is granted what that frees: who is about to lose a lock shall
        // not get more of it meanwhile.
        let freed: Vec<_> = holds.iter().flat_map(|id| self.force_one(turn, *id, force)).collect();
        self.grant_next(turn, freed);
        let count = u32::try_from(holds.len()).unwrap_or(u32::MAX);
        holds.truncate(HOLDERS_NAMED_MAX);
        ForceOutcome::Forced { count, holds }
    }

    /// The names that it frees; a wish kept readers out.
    fn force_one(&mut self, turn: &mut Turn, id: HoldId, force: &ForceRelease) -> Vec<Arc<str>> {
        let detail = format!("{}: {}", force.principal, force.reason);
        if force.now {
            return self.end_hold(turn, id, What::Forced, detail);
        }
        // Whoever has lost a lock shall not get more of it.
        let freed = self.end_wish(turn, id, What::Left);
        let end = turn.now.plus(turn.rules.default_lease_ms);
        let reason: Arc<str> = Arc::from(force.reason.as_str());
        self.change_hold(id, |hold| {
            hold.ends_at = hold.ends_at.or(Some(end));
            hold.revoked = Some(reason);
        });
        self.note_hold(turn, id, What::Revoked);
        if let Some(event) = turn.last_event_mut() {
            event.detail = detail;
        }
        freed
    }

    /// Ends a revoked hold at its owner's word, and says why it was revoked.
    pub(super) fn end_revoked(
        &mut self,
        turn: &mut Turn,
        id: HoldId,
        hold: &Hold,
    ) -> Option<String> {
        let reason = hold.revoked.as_ref()?.to_string();
        self.end_and_grant(turn, id, What::Forced, reason.clone());
        Some(reason)
    }

    /// The live hold that is meant, if it is this principal's and has the lock that is named.
    pub(super) fn find(&self, asked: &HoldRef, now: ClusterTime) -> Option<&Hold> {
        let hold = self.holds.get(&asked.hold).filter(|_| self.is_live_hold(asked.hold, now))?;
        let has = |name: &String| hold.names.iter().any(|it| **it == **name);
        let fits = hold.owner.principal == asked.principal && asked.name.as_ref().is_none_or(has);
        fits.then_some(hold)
    }

    /// An owner's live holds, oldest first.
    pub(super) fn live_holds_of(
        &self,
        owner: &super::request::Owner,
        now: ClusterTime,
    ) -> Vec<HoldId> {
        let presences = self.owners.get(owner).into_iter().flat_map(|it| &it.on);
        let holds = presences.filter_map(|(_, presence)| match presence {
            Presence::Holds(id) => Some(*id),
            Presence::Waits(_) => None,
        });
        let mut ids: Vec<HoldId> = holds.filter(|id| self.is_live_hold(*id, now)).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    pub(super) fn remaining_ms(&self, id: HoldId, now: ClusterTime) -> Option<u64> {
        Some(self.holds.get(&id)?.ends_at?.since(now))
    }

    fn end_and_grant(&mut self, turn: &mut Turn, id: HoldId, what: What, detail: String) {
        let freed = self.end_hold(turn, id, what, detail);
        self.grant_next(turn, freed);
    }

    /// Tells what happened to a hold as a whole.
    pub(super) fn note_hold(&self, turn: &mut Turn, id: HoldId, what: What) {
        let Some(hold) = self.holds.get(&id) else { return };
        let shares: Vec<_> =
            hold.names.iter().filter_map(|name| self.share(hold, name).copied()).collect();
        turn.note(hold.event(id, &shares, what, turn.now, String::new()));
    }

    /// Tells what happened to one lock of a hold.
    pub(super) fn note_lock(&self, turn: &mut Turn, id: HoldId, name: &str, what: What) {
        let Some(hold) = self.holds.get(&id) else { return };
        let Some(share) = self.share(hold, name) else { return };
        let mut event: LockEvent = hold.event(id, &[], what, turn.now, String::new());
        event.items = vec![share.item(name)];
        turn.note(event);
    }
}

/// The lock that is meant: the one that is named, or the only one.
pub(super) fn the_name(hold: &Hold, asked: &HoldRef) -> Option<Arc<str>> {
    match &asked.name {
        Some(name) => hold.names.iter().find(|it| ***it == **name).cloned(),
        None => (hold.names.len() == 1).then(|| hold.names[0].clone()),
    }
}
