//! What must hold whatever the oracle says: read from what the table shows and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use super::world::OWNERS;
use crate::locks::{HoldId, HolderView, LockEvent, LockTable, LockView, Mode, WaiterView, What};
use crate::types::ClusterTime;

/// What was seen of a table so far.
#[derive(Debug, Default)]
pub(super) struct Laws {
    /// The highest token ever seen on a lock.
    tokens: BTreeMap<String, u64>,
    /// Of the entry before: each lock as it was shown.
    before: BTreeMap<String, LockView>,
    ids: BTreeSet<HoldId>,
}

impl Laws {
    /// After one entry, all of whose ends are cleared.
    pub(super) fn check(
        &mut self,
        table: &LockTable,
        events: &[LockEvent],
        now: ClusterTime,
    ) -> Result<(), String> {
        self.check_ids(events)?;
        let locks: BTreeMap<String, LockView> =
            table.view(now).iter().map(|lock| (lock.name.clone(), lock)).collect();
        for (name, lock) in &locks {
            let checked = exclusion(lock)
                .and_then(|()| self.tokens_rise(lock))
                .and_then(|()| self.nobody_is_passed(lock, events));
            checked.map_err(|broken| format!("law: lock {name}: {broken}"))?;
        }
        self.before = locks;
        Ok(())
    }

    fn check_ids(&mut self, events: &[LockEvent]) -> Result<(), String> {
        for event in events {
            if matches!(event.what, What::Granted | What::ClaimOpened) {
                let fresh = event.hold.is_some_and(|id| self.ids.insert(id));
                require(fresh, "law: a hold id is used twice")?;
            }
        }
        Ok(())
    }

    /// Over successive incompatible holders; readers who overlap share one.
    fn tokens_rise(&mut self, lock: &LockView) -> Result<(), String> {
        let before = self.before.get(&lock.name);
        let highest = self.tokens.get(&lock.name).copied().unwrap_or(0);
        let mut tokens = Vec::new();
        for holder in &lock.holders {
            let old =
                before.and_then(|lock| lock.holders.iter().find(|old| old.hold == holder.hold));
            let downgraded =
                |old: &HolderView| old.mode == Mode::Exclusive && holder.mode == Mode::Shared;
            let goes_on = |old: &HolderView| {
                old.token == holder.token && (old.mode == holder.mode || downgraded(old))
            };
            if !old.is_some_and(goes_on) {
                let joins = holder.mode == Mode::Shared && holder.token == highest;
                require(holder.token > highest || joins, "a new holder's token does not rise")?;
            }
            tokens.push(holder.token);
        }
        let highest = tokens.iter().copied().chain([highest]).max().unwrap_or(0);
        self.tokens.insert(lock.name.clone(), highest);
        if lock.holders.iter().any(|holder| holder.mode == Mode::Permits) {
            tokens.sort_unstable();
            let distinct = tokens.windows(2).all(|pair| pair[0] != pair[1]);
            return require(distinct, "two permit holders share a token");
        }
        require(tokens.windows(2).all(|pair| pair[0] == pair[1]), "readers have different tokens")
    }

    /// Who has come into the lock since the entry before is no reason for anybody to wait who was
    /// there before: those waited then, and wait still.
    fn nobody_is_passed(&self, lock: &LockView, events: &[LockEvent]) -> Result<(), String> {
        let Some(before) = self.before.get(&lock.name) else { return Ok(()) };
        let still = |wait: &WaiterView| {
            let same = |one: &WaiterView| {
                (&one.owner, one.since, one.upgrade) == (&wait.owner, wait.since, wait.upgrade)
            };
            lock.waiters.iter().any(same)
        };
        for holder in &lock.holders {
            let place = |one: &str| before.waiters.iter().position(|wait| wait.owner.name == one);
            let held = before.holders.iter().any(|old| old.hold == holder.hold);
            if held {
                continue;
            }
            // Who comes in as a reader may become a writer in the same entry, past everybody.
            let upgraded =
                |event: &LockEvent| event.what == What::Upgraded && event.hold == Some(holder.hold);
            let reads = holder.mode == Mode::Shared || events.iter().any(upgraded);
            let mine = place(&holder.owner.name).unwrap_or(before.waiters.len());
            let earlier = || before.waiters[..mine].iter().filter(|one| still(one));
            for one in earlier().filter(|one| one.owner != holder.owner) {
                let plain = one.mode != Mode::Permits;
                let readers = one.mode == Mode::Shared && reads;
                require(!plain || readers && !one.upgrade, "a waiter was passed by a later one")?;
            }
            let wanted: u32 = earlier().map(|one| one.permits).sum();
            let held: u32 = lock.holders.iter().map(|one| one.permits).sum();
            if let Some(max) = lock.permits_max {
                require(held + wanted <= max, "permits were taken from an earlier waiter")?;
            }
        }
        Ok(())
    }
}

/// Live holders are compatible, each owner is there once, and permits are never overspent.
fn exclusion(lock: &LockView) -> Result<(), String> {
    let owners: BTreeSet<&str> = lock.holders.iter().map(|one| one.owner.name.as_str()).collect();
    require(owners.len() == lock.holders.len(), "an owner holds twice")?;
    let both =
        lock.waiters.iter().any(|one| owners.contains(one.owner.name.as_str()) != one.upgrade);
    require(!both, "an owner holds and waits")?;
    require(owners.iter().all(|one| OWNERS.contains(one)), "a stranger holds")?;
    let permits = |one: &HolderView| one.mode == Mode::Permits;
    if let Some(max) = lock.permits_max {
        let held: u32 = lock.holders.iter().map(|one| one.permits).sum();
        return require(held <= max && lock.holders.iter().all(permits), "permits are overspent");
    }
    let exclusive = lock.holders.iter().any(|one| one.mode == Mode::Exclusive);
    let alone = !exclusive || lock.holders.len() == 1;
    require(alone && !lock.holders.iter().any(permits), "an exclusive holder is not alone")
}

fn require(holds: bool, broken: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken.to_owned()) }
}
