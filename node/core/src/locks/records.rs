//! The table as a sequence of records, for snapshots and hashes.
//!
//! Only the state, in one order: by name, then holders by owner, then waiters first come first. The
//! indexes and the places' numbers are made anew when the records are read back, so two tables that
//! behave alike have equal records, however they came about.
//!
//! A record is part of the snapshot's format: see the checklist in `machine/snapshot.rs`.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lock::{Arrival, Hold, Lock, Waiter};
use super::request::{HoldId, Mode, Owner};
use super::table::LockTable;
use crate::types::ClusterTime;

/// One hold or one waiter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockRecord {
    /// A hold.
    Hold {
        /// Of which lock.
        name: String,
        /// Whose.
        owner: Owner,
        /// How.
        mode: Mode,
        /// Its id.
        id: HoldId,
        /// Its fencing token.
        token: u64,
        /// It is a claim.
        claim: bool,
        /// When it ends, if ever.
        ends_at: Option<ClusterTime>,
    },
    /// A waiter, behind those of the same lock before it.
    Waiter {
        /// Of which lock.
        name: String,
        /// Who.
        owner: Owner,
        /// What for.
        mode: Mode,
        /// How long its place is kept.
        place_ends_at: ClusterTime,
    },
}

/// Where in the sequence a reader is.
#[derive(Clone, Debug)]
pub struct LockCursor {
    name: Arc<str>,
    at: Position,
}

#[derive(Clone, Debug)]
enum Position {
    Holder(Arc<Owner>),
    Waiter(Arrival),
}

impl LockTable {
    /// The record after `cursor`, the first with `None`; each in logarithmic time, so a reader needs
    /// to keep nothing but the frozen table and the cursor.
    #[must_use]
    pub fn record_after(&self, cursor: Option<&LockCursor>) -> Option<(LockCursor, LockRecord)> {
        let Some(cursor) = cursor else {
            return self.locks.first().and_then(|(name, lock)| first_record(name, lock));
        };
        let lock = self.locks.get(&cursor.name);
        lock.and_then(|lock| next_record(lock, cursor)).or_else(|| {
            let rest = (Excluded(&*cursor.name), Unbounded);
            self.locks
                .range::<str, _>(rest)
                .next()
                .and_then(|(name, lock)| first_record(name, lock))
        })
    }

    /// Puts a record back. They must come in the order of [`LockTable::record_after`].
    ///
    /// # Errors
    /// If the owner is on that lock already.
    pub fn restore(&mut self, record: &LockRecord) -> Result<(), String> {
        let (LockRecord::Hold { name, owner, .. } | LockRecord::Waiter { name, owner, .. }) =
            record;
        if self.presence(name, owner).is_some() {
            return Err(format!("{} is twice on the lock {name}", owner.name));
        }
        let (name, owner) = self.intern(name, owner);
        match *record {
            LockRecord::Hold { mode, id, token, claim, ends_at, .. } => {
                self.put_hold(&name, &owner, Hold { mode, id, token, claim, ends_at });
            }
            LockRecord::Waiter { mode, place_ends_at, .. } => {
                let arrival = self.locks.get(&name).map_or(0, Lock::next_arrival);
                self.put_waiter(&name, arrival, Waiter { owner, mode, place_ends_at });
            }
        }
        Ok(())
    }

    /// The token that the next incompatible grant will get.
    #[must_use]
    pub fn next_token(&self) -> u64 {
        self.tokens.next()
    }
}

fn first_record(name: &Arc<str>, lock: &Lock) -> Option<(LockCursor, LockRecord)> {
    let holder = lock.holders.first().map(|(owner, hold)| hold_record(name, owner, hold));
    holder.or_else(|| lock.queue.first().map(|(at, waiter)| waiter_record(name, *at, waiter)))
}

fn next_record(lock: &Lock, cursor: &LockCursor) -> Option<(LockCursor, LockRecord)> {
    let name = &cursor.name;
    let from = match &cursor.at {
        Position::Holder(after) => {
            let mut rest = lock.holders.range::<Owner, _>((Excluded(&**after), Unbounded));
            if let Some((owner, hold)) = rest.next() {
                return Some(hold_record(name, owner, hold));
            }
            0
        }
        Position::Waiter(after) => after + 1,
    };
    let next = lock.queue.range::<Arrival, _>(from..).next();
    next.map(|(at, waiter)| waiter_record(name, *at, waiter))
}

fn hold_record(name: &Arc<str>, owner: &Arc<Owner>, hold: &Hold) -> (LockCursor, LockRecord) {
    let record = LockRecord::Hold {
        name: (**name).to_owned(),
        owner: Owner::clone(owner),
        mode: hold.mode,
        id: hold.id,
        token: hold.token,
        claim: hold.claim,
        ends_at: hold.ends_at,
    };
    (LockCursor { name: name.clone(), at: Position::Holder(owner.clone()) }, record)
}

fn waiter_record(name: &Arc<str>, at: Arrival, waiter: &Waiter) -> (LockCursor, LockRecord) {
    let record = LockRecord::Waiter {
        name: (**name).to_owned(),
        owner: Owner::clone(&waiter.owner),
        mode: waiter.mode,
        place_ends_at: waiter.place_ends_at,
    };
    (LockCursor { name: name.clone(), at: Position::Waiter(at) }, record)
}
