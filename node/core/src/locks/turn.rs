//! One applied entry, as the lock table sees it: where, when, by which rules, and what happened.

use serde::{Deserialize, Serialize};

use super::event::LockEvent;
use super::request::HoldId;
use crate::types::{ClusterTime, Index};

/// The numbers that the table obeys. Part of the replicated settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// How long a place in a lock's queue, and a grant that nobody has picked up yet, are kept for an
    /// asker that does not stay connected.
    pub claim_window_ms: u64,
    /// Most waiters of one lock.
    pub lock_waiters_max: u32,
    /// Most holds and waits of one owner, together, each name counted: a wait becomes a hold without
    /// being asked again.
    pub owner_holds_max: u32,
    /// Most bytes of a lock's name, an owner's name, or a principal.
    pub name_bytes_max: u32,
    /// The lease of who does not say, and of a revoked hold without one.
    pub default_lease_ms: u64,
    /// Shortest lease that can be asked for; 0, which is none, can be as well. A lease that is over
    /// before its answer arrives helps nobody, and who asks for 30 mostly means seconds.
    pub lease_ms_min: u64,
    /// Longest lease that can be asked for.
    pub lease_ms_max: u64,
    /// Most locks in one request.
    pub request_names_max: u32,
    /// Most permits of one lock.
    pub permits_max: u32,
    /// Most holds and waits in the whole table, each name of each counted.
    pub presences_max: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            claim_window_ms: 10_000,
            lock_waiters_max: 10_000,
            owner_holds_max: 10_000,
            name_bytes_max: 256,
            default_lease_ms: 60_000,
            lease_ms_min: 1_000,
            lease_ms_max: 30 * 24 * 3_600_000,
            request_names_max: 128,
            permits_max: 1_000_000,
            presences_max: 5_000_000,
        }
    }
}

/// One entry being applied.
#[derive(Debug)]
pub struct Turn {
    /// The entry.
    pub index: Index,
    /// Its stamp: "now" for everything that it does.
    pub now: ClusterTime,
    /// The rules in force.
    pub rules: Rules,
    /// Holds and waits that this entry has made so far: the position of the next one's id.
    made: u32,
    events: Vec<LockEvent>,
}

impl Turn {
    /// The start of an entry's application.
    #[must_use]
    pub fn new(index: Index, now: ClusterTime, rules: Rules) -> Self {
        Self { index, now, rules, made: 0, events: Vec::new() }
    }

    /// What has happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<LockEvent> {
        std::mem::take(&mut self.events)
    }

    /// What has happened and was not taken yet.
    #[must_use]
    pub fn events(&self) -> &[LockEvent] {
        &self.events
    }

    pub(super) fn note(&mut self, event: LockEvent) {
        self.events.push(event);
    }

    pub(super) fn last_event_mut(&mut self) -> Option<&mut LockEvent> {
        self.events.last_mut()
    }

    /// The id of the next hold or wait. Unique for ever, since an index is applied once.
    pub(super) fn next_id(&mut self) -> HoldId {
        let id = HoldId { index: self.index, position: self.made };
        self.made += 1;
        id
    }

    /// The last id was not needed.
    pub(super) fn give_back_id(&mut self) {
        self.made -= 1;
    }
}
