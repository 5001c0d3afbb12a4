//! What can be read of the lock table: for `/status` and `GET /v1/locks/{name}`.

use super::lock::{Hold, Lock, Waiter};
use super::request::{HoldId, Mode, Owner};
use super::table::LockTable;
use crate::types::ClusterTime;

/// The locks as of one cluster time. What has ended by then is not shown.
#[derive(Clone, Copy, Debug)]
pub struct LocksView<'a> {
    pub(super) table: &'a LockTable,
    pub(super) now: ClusterTime,
}

/// One lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockView {
    /// Its name.
    pub name: String,
    /// Who holds it, in the order of their names; all in the same mode.
    pub holders: Vec<HolderView>,
    /// Who waits, first come first.
    pub waiters: Vec<WaiterView>,
}

/// One hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderView {
    /// Whose.
    pub owner: Owner,
    /// How.
    pub mode: Mode,
    /// Its id.
    pub hold: HoldId,
    /// Its fencing token; readers who overlap share one.
    pub token: u64,
    /// False while it is a claim: granted to a waiter that has not asked again yet.
    pub claimed: bool,
    /// When the lease, or the claim, ends. `None`: no lease.
    pub ends_at: Option<ClusterTime>,
}

/// One waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiterView {
    /// Who.
    pub owner: Owner,
    /// What for.
    pub mode: Mode,
    /// How long its place is kept if it does not ask again.
    pub place_ends_at: ClusterTime,
}

impl<'a> LocksView<'a> {
    /// One lock; `None` if nobody holds it or waits for it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<LockView> {
        view(name, self.table.locks.get(name)?, self.now)
    }

    /// Every lock in the order of names, made one at a time: a caller may stop whenever it has
    /// enough.
    pub fn iter(&self) -> impl Iterator<Item = LockView> + use<'a> {
        let now = self.now;
        self.table.locks.iter().filter_map(move |(name, lock)| view(name, lock, now))
    }

    /// How many names are in the table. One whose last hold has just ended may still count.
    #[must_use]
    pub fn names(&self) -> usize {
        self.table.locks.size()
    }
}

impl LockTable {
    /// The locks as of `now`.
    #[must_use]
    pub fn view(&self, now: ClusterTime) -> LocksView<'_> {
        LocksView { table: self, now }
    }
}

fn view(name: &str, lock: &Lock, now: ClusterTime) -> Option<LockView> {
    let holders: Vec<_> = lock.live_holders(now).map(|(owner, hold)| holder(owner, hold)).collect();
    let waiters: Vec<_> = lock.live_waiters(0, now).map(|(_, one)| waiter(one)).collect();
    let idle = holders.is_empty() && waiters.is_empty();
    (!idle).then(|| LockView { name: name.to_owned(), holders, waiters })
}

fn holder(owner: &Owner, hold: &Hold) -> HolderView {
    HolderView {
        owner: owner.clone(),
        mode: hold.mode,
        hold: hold.id,
        token: hold.token,
        claimed: !hold.claim,
        ends_at: hold.ends_at,
    }
}

fn waiter(waiter: &Waiter) -> WaiterView {
    WaiterView {
        owner: Owner::clone(&waiter.owner),
        mode: waiter.mode,
        place_ends_at: waiter.place_ends_at,
    }
}
