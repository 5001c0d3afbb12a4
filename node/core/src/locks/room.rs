//! Is there room for one more? Limits, and whether a name is a plain lock or a semaphore.
//!
//! What has ended and is not cleared yet does not count; but it is counted only where the limit would
//! be reached with it, so that room costs nothing while there is plenty.

use super::lock::Item;
use super::outcome::LockRefusal;
use super::presence::Presence;
use super::request::{HoldId, Owner};
use super::table::{Ask, LockTable};
use super::turn::Turn;
use crate::types::ClusterTime;

impl LockTable {
    /// Room for a new hold or wait of this owner on these names.
    pub(super) fn check_room(&mut self, turn: &Turn, ask: &Ask) -> Result<(), LockRefusal> {
        for item in ask.items.iter() {
            self.check_kind(turn, item)?;
        }
        let more = ask.items.len();
        let size = self.owners.get(&ask.owner).map_or(0, |presences| presences.on.size());
        let live = || self.live_presences(&ask.owner, turn.now);
        room("owner_holds_max", turn.rules.owner_holds_max, size, more, live)?;
        let size = usize::try_from(self.presences).unwrap_or(usize::MAX);
        room("presences_max", turn.rules.presences_max, size, more, || size)
    }

    /// Room in every queue for one more.
    pub(super) fn check_queues(&self, turn: &Turn, ask: &Ask) -> Result<(), LockRefusal> {
        let max = turn.rules.lock_waiters_max;
        for lock in ask.items.iter().filter_map(|item| self.locks.get(&item.name)) {
            let live = || self.live_earlier(lock, HoldId::LAST, turn.now).count();
            room("lock_waiters_max", max, lock.queue.size(), 1, live)?;
        }
        Ok(())
    }

    /// A name is what those who are on it have made it. Who has ended has no say.
    fn check_kind(&mut self, turn: &Turn, item: &Item) -> Result<(), LockRefusal> {
        let Some(lock) = self.locks.get(&item.name) else { return Ok(()) };
        if lock.permits_max == item.permits_max {
            return Ok(());
        }
        let held = self.live_holders(lock, turn.now).next().is_some();
        let waited_for = self.live_earlier(lock, HoldId::LAST, turn.now).next().is_some();
        if held || waited_for {
            let permits_max = lock.permits_max;
            let name = item.name.to_string();
            return Err(LockRefusal::PermitsDiffer { name, permits_max });
        }
        if let Some(lock) = self.locks.get_mut(&item.name) {
            lock.permits_max = item.permits_max;
        }
        Ok(())
    }

    fn live_presences(&self, owner: &Owner, now: ClusterTime) -> usize {
        let presences = self.owners.get(owner).into_iter().flat_map(|it| &it.on);
        let live = presences.filter(|(_, presence)| match **presence {
            Presence::Holds(id) => self.is_live_hold(id, now),
            Presence::Waits(id) => self.is_live_wait(id, now),
        });
        live.count()
    }
}

/// `size` counts also what has ended; `live` counts the rest, and is called only at the limit.
fn room(
    setting: &str,
    max: u32,
    size: usize,
    more: usize,
    live: impl FnOnce() -> usize,
) -> Result<(), LockRefusal> {
    let max_size = usize::try_from(max).unwrap_or(usize::MAX);
    if size.saturating_add(more) <= max_size || live().saturating_add(more) <= max_size {
        return Ok(());
    }
    Err(LockRefusal::Limit { setting: setting.to_owned(), limit: max.into() })
}
