//! What can be read of the lock table: for `/status` and `GET /v1/locks/{name}`.

use super::lock::{Hold, Lock, Waiter};
use super::request::{Attachment, HoldId, Mode, Owner};
use super::table::LockTable;
use crate::types::{BootId, ClusterTime};

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
    /// How many permits it has; `None`: it is a plain lock.
    pub permits_max: Option<u32>,
    /// Who holds it, in the order of their names.
    pub holders: Vec<HolderView>,
    /// Who waits, first come first; a holder that waits to upgrade stands before all others.
    pub waiters: Vec<WaiterView>,
}

/// One lock of one hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderView {
    /// Whose.
    pub owner: Owner,
    /// How.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    pub permits: u32,
    /// The hold's id.
    pub hold: HoldId,
    /// The lock's fencing token; readers who overlap share one.
    pub token: u64,
    /// It is a claim: granted while nobody listened, and not taken up yet.
    pub claim: bool,
    /// The stamp of its grant.
    pub since: ClusterTime,
    /// When the lease, or the claim, ends. `None`: no lease.
    pub ends_at: Option<ClusterTime>,
    /// It is revoked, and why.
    pub revoked: Option<String>,
}

/// One waiter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaiterView {
    /// Who.
    pub owner: Owner,
    /// What for.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    pub permits: u32,
    /// It holds the lock shared, and waits for the other readers.
    pub upgrade: bool,
    /// The stamp at which it was queued.
    pub since: ClusterTime,
    /// Somebody listens.
    pub attached: bool,
    /// How long its place is kept if nobody listens and it does not ask again; `None`: somebody
    /// listens.
    pub place_ends_at: Option<ClusterTime>,
}

/// One hold with everything that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldView {
    /// Its id.
    pub hold: HoldId,
    /// Whose.
    pub owner: Owner,
    /// Its locks by name.
    pub items: Vec<HoldItemView>,
    /// See [`HolderView::claim`].
    pub claim: bool,
    /// The stamp of its grant.
    pub since: ClusterTime,
    /// When the lease, or the claim, ends. `None`: no lease.
    pub ends_at: Option<ClusterTime>,
    /// What it was granted with, in milliseconds; 0: no lease.
    pub ttl_ms: u64,
    /// It is revoked, and why.
    pub revoked: Option<String>,
}

/// One lock of a [`HoldView`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldItemView {
    /// The lock.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    pub permits: u32,
    /// Its fencing token.
    pub token: u64,
}

/// What an attachment listens for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attached {
    /// For a grant that has not come yet.
    Waits,
    /// It has come.
    Holds(HoldView),
}

/// One edge of the wait-for graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitEdge {
    /// Who waits.
    pub waiter: Owner,
    /// For which lock.
    pub name: String,
    /// For whom: a holder, or an earlier waiter.
    pub blocker: Owner,
    /// The blocker holds the lock; else it waits for it, too.
    pub holds: bool,
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
        self.after("", "")
    }

    /// The locks whose names begin with `prefix` and come after `after` (empty: from the first on).
    pub fn after(&self, prefix: &str, after: &str) -> impl Iterator<Item = LockView> + use<'a> {
        let _ = (prefix, after);
        let now = self.now;
        self.table.locks.iter().filter_map(move |(name, lock)| view(name, lock, now))
    }

    /// One hold; `None` if it has ended, or never was.
    #[must_use]
    pub fn hold(&self, hold: HoldId) -> Option<HoldView> {
        let _ = hold;
        None
    }

    /// What an attachment listens for; `None` if nothing (any more).
    #[must_use]
    pub fn attached(&self, attachment: Attachment) -> Option<Attached> {
        let _ = attachment;
        None
    }

    /// Everything that listens in one process, by number: for a node that has lost track.
    pub fn attachments_of(&self, boot: BootId) -> impl Iterator<Item = (Attachment, Attached)> + use<'a> {
        let _ = boot;
        std::iter::empty()
    }

    /// Nobody is taken to listen in this process (any more).
    #[must_use]
    pub fn is_lost(&self, boot: BootId) -> bool {
        let _ = boot;
        false
    }

    /// The holds of one owner, oldest first.
    pub fn holds_of(&self, owner: &Owner) -> impl Iterator<Item = HoldView> + use<'a> {
        let _ = owner;
        std::iter::empty()
    }

    /// Who waits for whom, in the order of waiters; made one at a time.
    pub fn graph(&self) -> impl Iterator<Item = WaitEdge> + use<'a> {
        std::iter::empty()
    }

    /// How many names are in the table. One whose last hold has just ended may still count.
    #[must_use]
    pub fn names(&self) -> usize {
        self.table.locks.size()
    }

    /// How many holds, claims included, are in the table. Some may have just ended.
    #[must_use]
    pub fn holds(&self) -> usize {
        0
    }

    /// How many waits are in the table. Some may have just ended.
    #[must_use]
    pub fn waits(&self) -> usize {
        0
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
    (!idle).then(|| LockView { name: name.to_owned(), permits_max: None, holders, waiters })
}

fn holder(owner: &Owner, hold: &Hold) -> HolderView {
    HolderView {
        owner: owner.clone(),
        mode: hold.mode,
        permits: 1,
        hold: hold.id,
        token: hold.token,
        claim: hold.claim,
        since: ClusterTime(0),
        ends_at: hold.ends_at,
        revoked: None,
    }
}

fn waiter(waiter: &Waiter) -> WaiterView {
    WaiterView {
        owner: Owner::clone(&waiter.owner),
        mode: waiter.mode,
        permits: 1,
        upgrade: false,
        since: ClusterTime(0),
        attached: false,
        place_ends_at: Some(waiter.place_ends_at),
    }
}
