//! What happens to locks, as records: one for everything that somebody may want to be told.
//!
//! Applying an entry yields its events in the order in which they happened. They are the audit trail
//! (`crate::audit`), what watchers see, what wakes a connection that waits, and what the histograms
//! count. Nothing in them is only of one node, so every node sees the same.

use serde::{Deserialize, Serialize};

use super::lock::{Hold, Item, Share, Wait, Wish};
use super::request::{Attachment, HoldId, Mode, Owner};
use crate::types::ClusterTime;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// A request was queued.
    Queued,
    /// A request was granted.
    Granted,
    /// A request was granted while nobody listened: a claim, which its owner has to take up.
    ClaimOpened,
    /// A claim became a full hold.
    ClaimTaken,
    /// A shared holder was queued for exclusive.
    UpgradeQueued,
    /// A shared lock of a hold became exclusive.
    Upgraded,
    /// An exclusive lock of a hold became shared.
    Downgraded,
    /// A hold was given back.
    Released,
    /// A hold was undone because its client never heard of it.
    Undone,
    /// A hold's lease ended.
    Expired,
    /// A claim was not taken up in time.
    ClaimLapsed,
    /// A waiter left its queue.
    Left,
    /// A waiter's place, or a wish to upgrade, ended because nobody had listened for too long.
    PlaceLapsed,
    /// A hold was revoked: it cannot be renewed any more.
    Revoked,
    /// A hold was ended by force, or a revoked one by its owner's next word.
    Forced,
    /// A request was refused.
    Refused,
    /// A request was refused because it would have closed a cycle.
    Deadlock,
}

/// One lock of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventItem {
    /// The lock.
    pub name: String,
    /// How.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    pub permits: u32,
    /// Its fencing token; 0 for a request that is not granted.
    pub token: u64,
}

/// Something that happened to one request or hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockEvent {
    /// What.
    pub what: What,
    /// Whose request or hold.
    pub owner: Owner,
    /// The locks it is about, by name.
    pub items: Vec<EventItem>,
    /// The hold.
    pub hold: Option<HoldId>,
    /// The wait, for one who waits or has waited.
    pub wait: Option<HoldId>,
    /// Who listens, or listened last.
    pub attachment: Option<Attachment>,
    /// How long it was waited for (granted, left), or held (released, expired, forced); else 0.
    pub elapsed_ms: u64,
    /// Who forced, and why; what a refusal says; the cycle of a deadlock; else empty.
    pub detail: String,
}

impl Hold {
    /// What happens to this hold now. `shares` go with its names.
    pub(super) fn event(
        &self,
        id: HoldId,
        shares: &[Share],
        what: What,
        now: ClusterTime,
        detail: String,
    ) -> LockEvent {
        let names = self.names.iter().zip(shares);
        let items = names.map(|(name, share)| share.item(name)).collect();
        LockEvent {
            what,
            owner: Owner::clone(&self.owner),
            items,
            hold: Some(id),
            wait: None,
            attachment: self.tellers.newest(),
            elapsed_ms: now.since(self.since),
            detail,
        }
    }
}

impl Wait {
    /// What happens to this wait now.
    pub(super) fn event(&self, id: HoldId, what: What, now: ClusterTime) -> LockEvent {
        LockEvent {
            what,
            owner: Owner::clone(&self.owner),
            items: self.items.iter().map(Item::wanted).collect(),
            hold: None,
            wait: Some(id),
            attachment: self.listener.attachment,
            elapsed_ms: now.since(self.since),
            detail: String::new(),
        }
    }
}

impl Wish {
    /// What happens to this wish of a hold now.
    pub(super) fn event(&self, id: HoldId, hold: &Hold, what: What, now: ClusterTime) -> LockEvent {
        let (mode, permits, token) = (Mode::Exclusive, 1, 0);
        let item = EventItem { name: (*self.name).to_owned(), mode, permits, token };
        LockEvent {
            what,
            owner: Owner::clone(&hold.owner),
            items: vec![item],
            hold: Some(id),
            wait: Some(id),
            attachment: self.listener.attachment,
            elapsed_ms: now.since(self.since),
            detail: String::new(),
        }
    }
}

impl Share {
    /// As an event shows it.
    pub(super) fn item(&self, name: &str) -> EventItem {
        let (mode, permits, token) = (self.mode, self.permits, self.token);
        EventItem { name: name.to_owned(), mode, permits, token }
    }
}

impl Item {
    /// As an event shows it before it is granted.
    pub(super) fn wanted(&self) -> EventItem {
        let (mode, permits, token) = (self.mode, self.permits, 0);
        EventItem { name: (*self.name).to_owned(), mode, permits, token }
    }
}
