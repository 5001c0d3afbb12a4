//! The grant rule.
//!
//! **A request is granted if, on every name it asks for, it is compatible with every live holder and
//! with everybody live who came before it.** So exclusive, shared and permits stand in one queue: a
//! writer waits for the readers before it, no reader that comes later passes it, and a request for
//! many permits is not starved by requests for few. Readers that stand next to each other are granted
//! together. Who waits on one name because of another name still keeps later ones off: all or nothing
//! must not mean last.
//!
//! Compatible means:
//!
//! - exclusive: nobody holds the lock, nobody waits for it;
//! - shared: no writer holds it, waits for it, or wants to be alone in it (an upgrade);
//! - permits: those that are free are enough for this request and for all that wait before it.
//!
//! Every change that can free something is followed, in the same entry, by
//! [`LockTable::grant_next`]: between entries nobody waits without a reason (but for what has ended
//! and is not cleared yet, see `lease.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::bug::Bug;
use super::event::What;
use super::lease::lease_end;
use super::lock::{Hold, Item, Lock, Place, Share, Wait};
use super::outcome::{AHEAD_COUNTED_MAX, HOLDERS_NAMED_MAX};
use super::request::{HoldId, Mode, Owner};
use super::table::LockTable;
use super::tellers::Tellers;
use super::turn::Turn;
use crate::types::ClusterTime;

impl LockTable {
    /// The grant rule, for a request that came before `before` and after all others.
    pub(super) fn fits(&self, items: &[Item], before: HoldId, now: ClusterTime) -> bool {
        items.iter().all(|item| match self.locks.get(&item.name) {
            Some(lock) => self.fits_lock(lock, item.mode, item.permits, before, now),
            None => true,
        })
    }

    /// The grant rule on one name.
    pub(super) fn fits_lock(
        &self,
        lock: &Lock,
        mode: Mode,
        permits: u32,
        before: HoldId,
        now: ClusterTime,
    ) -> bool {
        match mode {
            Mode::Exclusive => {
                let passes = self.has(Bug::GrantPassesWaiters);
                self.live_holders(lock, now).next().is_none()
                    && (passes || self.live_earlier(lock, before, now).next().is_none())
            }
            Mode::Shared => {
                let writer = self.live_holders(lock, now).next();
                let held = writer.is_some_and(|(_, share)| share.mode == Mode::Exclusive);
                let mut writers = lock.writers.range::<HoldId, _>(..before);
                let passes = self.has(Bug::GrantPassesWaiters);
                !held
                    && (self.live_upgrader(lock, now).is_none()
                        || self.has(Bug::ReaderPassesUpgrade))
                    && (passes || !writers.any(|wait| self.is_live_wait(*wait, now)))
            }
            Mode::Permits => self.permits_fit(lock, permits, before, now),
        }
    }

    /// Grants to everybody to whom the grant rule gives these locks now.
    pub(super) fn grant_next(
        &mut self,
        turn: &mut Turn,
        names: impl IntoIterator<Item = Arc<str>>,
    ) {
        let names: BTreeSet<_> = names.into_iter().collect();
        for name in &names {
            self.grant_upgrader(turn, name);
        }
        // In the order of coming, whatever the names. A grant frees nothing, so one round is enough;
        // but it may take what was found for the next one.
        let first = |name: Arc<str>| Some((self.next_grant(&name, None, turn.now)?, name));
        let mut found: BTreeSet<(HoldId, Arc<str>)> = names.into_iter().filter_map(first).collect();
        while let Some((wait, name)) = found.pop_first() {
            let items = self.waits.get(&wait).map(|wait| wait.items.clone());
            if items.is_some_and(|items| self.fits(&items, wait, turn.now)) {
                self.grant_wait(turn, wait);
            }
            let next = self.next_grant(&name, Some(wait), turn.now);
            found.extend(next.map(|next| (next, name)));
        }
    }

    /// Makes a new hold of these locks.
    pub(super) fn grant(
        &mut self,
        turn: &mut Turn,
        hold: Hold,
        items: &[Item],
        waited_since: Option<ClusterTime>,
    ) -> HoldId {
        let id = turn.next_id();
        let mut minted = None;
        let shares: Vec<(Share, u32)> = items
            .iter()
            .map(|item| {
                let token = self.token(item, &mut minted, turn.now);
                let Item { mode, permits, permits_max, .. } = *item;
                (Share { hold: id, mode, permits, token }, permits_max)
            })
            .collect();
        let what = if hold.claim { What::ClaimOpened } else { What::Granted };
        let plain: Vec<Share> = shares.iter().map(|(share, _)| *share).collect();
        let mut event = hold.event(id, &plain, what, turn.now, String::new());
        event.elapsed_ms = waited_since.map_or(0, |since| turn.now.since(since));
        self.put_hold(id, hold, &shares);
        turn.note(event);
        id
    }

    /// Somebody listens: a full hold. Nobody does: a claim.
    fn grant_wait(&mut self, turn: &mut Turn, id: HoldId) {
        let Some(wait) = self.take_wait(id) else { return };
        let claim = self.listener_end(wait.listener).is_some();
        let claim_end = turn.now.plus(turn.rules.claim_window_ms);
        let lease = lease_end(turn.now, wait.ttl_ms);
        let hold = Hold {
            owner: wait.owner.clone(),
            names: wait.items.iter().map(|item| item.name.clone()).collect(),
            ttl_ms: wait.ttl_ms,
            ends_at: if claim { Some(claim_end) } else { lease },
            claim,
            since: turn.now,
            tellers: Tellers::of(wait.listener.attachment),
            revoked: None,
            wish: None,
            upgraded: None,
        };
        let Wait { items, since, .. } = wait;
        let hold = self.grant(turn, hold, &items, Some(since));
        if let Some(event) = turn.last_event_mut().filter(|event| event.hold == Some(hold)) {
            event.wait = Some(id);
        }
    }

    /// The first live waiter of this lock, after `after`, that can have all it asks for. It stops at
    /// the first one that nobody behind it can pass.
    fn next_grant(&self, name: &str, after: Option<HoldId>, now: ClusterTime) -> Option<HoldId> {
        let lock = self.locks.get(name)?;
        let from = after.map_or(std::ops::Bound::Unbounded, std::ops::Bound::Excluded);
        let queue = lock.queue.range::<HoldId, _>((from, std::ops::Bound::Unbounded));
        for (id, place) in queue {
            if !self.is_live_wait(*id, now) {
                continue;
            }
            let wait = self.waits.get(id)?;
            if self.fits(&wait.items, *id, now) {
                return Some(*id);
            }
            if self.nobody_passes(lock, place, *id, now) {
                return None;
            }
        }
        None
    }

    /// Whoever stands behind this waiter, which cannot have the lock, cannot either.
    fn nobody_passes(&self, lock: &Lock, place: &Place, id: HoldId, now: ClusterTime) -> bool {
        match place.mode {
            Mode::Exclusive => true,
            Mode::Shared => !self.fits_lock(lock, Mode::Shared, 1, id, now),
            // One permit is the least that anybody behind it asks for.
            Mode::Permits => !self.permits_fit(lock, place.permits.saturating_add(1), id, now),
        }
    }

    fn permits_fit(&self, lock: &Lock, permits: u32, before: HoldId, now: ClusterTime) -> bool {
        let mut free = self.permits_free(lock, now);
        for (_, place) in self.live_earlier(lock, before, now) {
            let Some(left) = free.checked_sub(u64::from(place.permits)) else { return false };
            free = left;
        }
        free >= u64::from(permits)
    }

    /// Permits that no live hold has.
    pub(super) fn permits_free(&self, lock: &Lock, now: ClusterTime) -> u64 {
        let held = if self.is_cleared(now) {
            lock.permits_held
        } else {
            self.live_holders(lock, now).map(|(_, share)| u64::from(share.permits)).sum()
        };
        u64::from(lock.permits_max).saturating_sub(held)
    }

    /// Live holders in the order of their names.
    pub(super) fn live_holders<'a>(
        &'a self,
        lock: &'a Lock,
        now: ClusterTime,
    ) -> impl Iterator<Item = (&'a Arc<Owner>, &'a Share)> {
        // Mostly nothing has ended: then nobody has to be looked up.
        let cleared = self.is_cleared(now);
        let holders = lock.holders.iter();
        holders.filter(move |(_, share)| cleared || self.is_live_hold(share.hold, now))
    }

    /// Live waiters that came before `before`, first come first.
    pub(super) fn live_earlier<'a>(
        &'a self,
        lock: &'a Lock,
        before: HoldId,
        now: ClusterTime,
    ) -> impl Iterator<Item = (HoldId, &'a Place)> {
        let cleared = self.is_cleared(now);
        lock.earlier(before).filter(move |(wait, _)| cleared || self.is_live_wait(*wait, now))
    }

    /// The holder that waits to be alone, if its wish is live.
    pub(super) fn live_upgrader(&self, lock: &Lock, now: ClusterTime) -> Option<HoldId> {
        lock.wishes.iter().copied().find(|hold| self.is_live_wish(*hold, now))
    }

    /// How many stand before this wait on one name.
    pub(super) fn ahead(&self, name: &str, wait: HoldId, now: ClusterTime) -> u32 {
        let Some(lock) = self.locks.get(name) else { return 0 };
        let max = usize::try_from(AHEAD_COUNTED_MAX).unwrap_or(usize::MAX);
        let count = self.live_earlier(lock, wait, now).take(max).count();
        u32::try_from(count).unwrap_or(AHEAD_COUNTED_MAX)
    }

    /// Who holds any of these locks, for an answer.
    pub(super) fn holders_named(&self, items: &[Item], now: ClusterTime) -> Vec<Owner> {
        let mut named = BTreeSet::new();
        for lock in items.iter().filter_map(|item| self.locks.get(&item.name)) {
            let holders = self.live_holders(lock, now).take(HOLDERS_NAMED_MAX);
            named.extend(holders.map(|(owner, _)| &**owner));
        }
        named.into_iter().take(HOLDERS_NAMED_MAX).cloned().collect()
    }
}
