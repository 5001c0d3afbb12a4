//! What can be read of the lock table: for `/status` and `GET /v1/locks/{name}`.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use super::listeners::attachments;
use super::lock::{Hold, Lock, Place, Share};
use super::presence::Presence;
use super::request::{Attachment, HoldId, Mode, Owner};
use super::table::LockTable;
use super::wait_graph;
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
        self.lock_view(name, self.table.locks.get(name)?)
    }

    /// Every lock in the order of names, made one at a time: a caller may stop whenever it has
    /// enough.
    pub fn iter(&self) -> impl Iterator<Item = LockView> + use<'a> {
        self.after("", "")
    }

    /// The locks whose names begin with `prefix` and come after `after` (empty: from the first on).
    pub fn after(&self, prefix: &str, after: &str) -> impl Iterator<Item = LockView> + use<'a> {
        let (view, prefix) = (*self, prefix.to_owned());
        let from = if after >= prefix.as_str() && !after.is_empty() {
            Excluded(Arc::from(after))
        } else {
            Included(Arc::from(prefix.as_str()))
        };
        let locks = self.table.locks.range::<Arc<str>, _>((from, Unbounded));
        let matching = locks.take_while(move |(name, _)| name.starts_with(&prefix));
        matching.filter_map(move |(name, lock)| view.lock_view(name, lock))
    }

    /// One hold; `None` if it has ended, or never was.
    #[must_use]
    pub fn hold(&self, id: HoldId) -> Option<HoldView> {
        let hold = self.table.holds.get(&id).filter(|_| self.table.is_live_hold(id, self.now))?;
        Some(self.hold_view(id, hold))
    }

    /// What an attachment listens for; `None` if nothing (any more).
    #[must_use]
    pub fn attached(&self, attachment: Attachment) -> Option<Attached> {
        if let Some(listens) = self.table.listening.get(&attachment) {
            let in_vain = self.table.listens_in_vain(*listens, self.now);
            return (!in_vain).then_some(Attached::Waits);
        }
        let id = self.table.told.get(&attachment)?;
        self.hold(*id).map(Attached::Holds)
    }

    /// Who may have told the owner of a hold, oldest first; `None` if the owner has heard of it, or there
    /// is no such hold.
    #[must_use]
    pub fn tellers(&self, id: HoldId) -> Option<Vec<Attachment>> {
        Some(self.table.holds.get(&id)?.tellers.all()?.to_vec())
    }

    /// Everything that listens, or was told, in one process: for a node that has lost track. The
    /// holds are those whose grant it was to tell, long ago or just now.
    pub fn attachments_of(
        &self,
        boot: BootId,
    ) -> impl Iterator<Item = (Attachment, Attached)> + use<'a> {
        let view = *self;
        let listening = self.table.listening.range(attachments(boot)).map(|(it, _)| *it);
        let told = self.table.told.range(attachments(boot)).map(|(it, _)| *it);
        listening.chain(told).filter_map(move |it| Some((it, view.attached(it)?)))
    }

    /// Nobody is taken to listen in this process (any more).
    #[must_use]
    pub fn is_lost(&self, boot: BootId) -> bool {
        self.table.lost.contains_key(&boot)
    }

    /// The holds of one owner, oldest first.
    pub fn holds_of(&self, owner: &Owner) -> impl Iterator<Item = HoldView> + use<'a> {
        let view = *self;
        self.table.live_holds_of(owner, self.now).into_iter().filter_map(move |id| view.hold(id))
    }

    /// Who waits for whom, in the order of waiters; made one at a time.
    pub fn graph(&self) -> impl Iterator<Item = WaitEdge> + use<'a> {
        let (table, now) = (self.table, self.now);
        table.owners.keys().flat_map(move |waiter| {
            let wants = wait_graph::wants(table, waiter, now);
            wants.into_iter().flat_map(move |want| {
                let reasons = wait_graph::reasons(table, &want, now);
                reasons.into_iter().map(move |blocker| edge(table, waiter, want.name, blocker))
            })
        })
    }

    /// How many names are in the table. One whose last hold has just ended may still count.
    #[must_use]
    pub fn names(&self) -> usize {
        self.table.locks.size()
    }

    /// How many holds, claims included, are in the table. Some may have just ended.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.table.holds.size()
    }

    /// How many waits are in the table. Some may have just ended.
    #[must_use]
    pub fn waits(&self) -> usize {
        self.table.waits.size()
    }

    fn lock_view(&self, name: &str, lock: &Lock) -> Option<LockView> {
        let holders = self.table.live_holders(lock, self.now);
        let holders: Vec<_> =
            holders.filter_map(|(owner, share)| self.holder(owner, share)).collect();
        let queue = self.table.live_earlier(lock, HoldId::LAST, self.now);
        let queue = queue.filter_map(|(id, place)| self.waiter(id, place));
        let waiters: Vec<_> = self.upgrader(lock).into_iter().chain(queue).collect();
        let idle = holders.is_empty() && waiters.is_empty();
        let permits_max = (lock.permits_max > 0).then_some(lock.permits_max);
        (!idle).then(|| LockView { name: name.to_owned(), permits_max, holders, waiters })
    }

    fn holder(&self, owner: &Owner, share: &Share) -> Option<HolderView> {
        let hold = self.table.holds.get(&share.hold)?;
        Some(HolderView {
            owner: owner.clone(),
            mode: share.mode,
            permits: share.permits,
            hold: share.hold,
            token: share.token,
            claim: hold.claim,
            since: hold.since,
            ends_at: hold.ends_at,
            revoked: hold.revoked.as_deref().map(str::to_owned),
        })
    }

    fn waiter(&self, id: HoldId, place: &Place) -> Option<WaiterView> {
        let wait = self.table.waits.get(&id)?;
        let place_ends_at = self.table.listener_end(wait.listener);
        Some(WaiterView {
            owner: Owner::clone(&place.owner),
            mode: place.mode,
            permits: place.permits,
            upgrade: false,
            since: wait.since,
            attached: place_ends_at.is_none(),
            place_ends_at,
        })
    }

    fn upgrader(&self, lock: &Lock) -> Option<WaiterView> {
        let id = self.table.live_upgrader(lock, self.now)?;
        let hold = self.table.holds.get(&id)?;
        let wish = hold.wish.as_ref()?;
        let place_ends_at = self.table.listener_end(wish.listener);
        Some(WaiterView {
            owner: Owner::clone(&hold.owner),
            mode: Mode::Exclusive,
            permits: 1,
            upgrade: true,
            since: wish.since,
            attached: place_ends_at.is_none(),
            place_ends_at,
        })
    }

    fn hold_view(&self, id: HoldId, hold: &Hold) -> HoldView {
        let item = |name: &Arc<str>| {
            let share = self.table.share(hold, name)?;
            let (mode, permits, token) = (share.mode, share.permits, share.token);
            Some(HoldItemView { name: name.to_string(), mode, permits, token })
        };
        HoldView {
            hold: id,
            owner: Owner::clone(&hold.owner),
            items: hold.names.iter().filter_map(item).collect(),
            claim: hold.claim,
            since: hold.since,
            ends_at: hold.ends_at,
            ttl_ms: hold.ttl_ms,
            revoked: hold.revoked.as_deref().map(str::to_owned),
        }
    }
}

impl LockTable {
    /// The locks as of `now`.
    #[must_use]
    pub fn view(&self, now: ClusterTime) -> LocksView<'_> {
        LocksView { table: self, now }
    }
}

fn edge(table: &LockTable, waiter: &Owner, name: &str, blocker: &Owner) -> WaitEdge {
    let holds = matches!(table.presence(name, blocker), Some(Presence::Holds(_)));
    WaitEdge { waiter: waiter.clone(), name: name.to_owned(), blocker: blocker.clone(), holds }
}
