//! The table as a sequence of records, for snapshots and hashes.
//!
//! Only the state, in one order: the next token, lost processes, holds, waits, each by id. The indexes are
//! made anew when the records are read back, so two tables that behave alike have equal records,
//! however they came about.
//!
//! A record is part of the snapshot's format: see the checklist in `machine/snapshot.rs`.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fencing::Tokens;
use super::lease::Due;
use super::listeners::Lost;
use super::lock::{Hold, Item, Listener, Share, Wait, Wish};
use super::request::{Attachment, HoldId, LockItem, Owner};
use super::table::LockTable;
use super::tellers::Tellers;
use crate::types::{BootId, ClusterTime};

/// One thing of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LockRecord {
    /// The token that the next incompatible grant will get. There is one, always.
    Tokens {
        /// See `fencing.rs`.
        next: u64,
    },
    /// A process that does not listen.
    Lost {
        /// Which.
        boot: BootId,
        /// When its places end.
        places_end_at: ClusterTime,
        /// They have not been cleared yet: something is still timed.
        timed: bool,
        /// Its node has another one.
        replaced: bool,
    },
    /// A granted request.
    Hold {
        /// Its id.
        id: HoldId,
        /// Whose.
        owner: Owner,
        /// Its locks, each with its token.
        items: Vec<(LockItem, u64)>,
        /// The lease that it was granted with, in milliseconds; 0: none.
        ttl_ms: u64,
        /// Its end.
        ends_at: Option<ClusterTime>,
        /// It is a claim.
        claim: bool,
        /// The stamp of its grant.
        since: ClusterTime,
        /// Who may have told its owner of it; `None`: the owner has heard of it.
        tellers: Option<Vec<Attachment>>,
        /// Why it was revoked.
        revoked: Option<String>,
        /// It waits to have one lock alone.
        wish: Option<WishRecord>,
        /// Who may have told its owner of its last upgrade, and of which lock that was.
        upgraded: Option<(Vec<Attachment>, String)>,
    },
    /// A queued request.
    Wait {
        /// Its id.
        id: HoldId,
        /// Whose.
        owner: Owner,
        /// Its locks.
        items: Vec<LockItem>,
        /// The lease that it asks for, in milliseconds; 0: none.
        ttl_ms: u64,
        /// Who listens.
        attachment: Option<Attachment>,
        /// How long its place is kept.
        place_ends_at: Option<ClusterTime>,
        /// The stamp at which it was queued.
        since: ClusterTime,
    },
}

/// See [`LockRecord::Hold`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WishRecord {
    /// The lock.
    name: String,
    /// The lease from the upgrade on.
    ttl_ms: u64,
    /// Who listens.
    attachment: Option<Attachment>,
    /// How long it is kept.
    place_ends_at: Option<ClusterTime>,
    /// The stamp at which it was queued.
    since: ClusterTime,
}

/// Where in the sequence a reader is.
#[derive(Clone, Copy, Debug)]
pub enum LockCursor {
    /// After the token.
    Tokens,
    /// After this process.
    Lost(BootId),
    /// After this hold.
    Hold(HoldId),
    /// After this wait.
    Wait(HoldId),
}

impl LockTable {
    /// The record after `cursor`, the first with `None`; each in logarithmic time, so a reader needs
    /// to keep nothing but the frozen table and the cursor.
    #[must_use]
    pub fn record_after(&self, cursor: Option<LockCursor>) -> Option<(LockCursor, LockRecord)> {
        let Some(cursor) = cursor else {
            let next = self.tokens.next();
            return Some((LockCursor::Tokens, LockRecord::Tokens { next }));
        };
        let lost = match cursor {
            LockCursor::Tokens => self.lost.first(),
            LockCursor::Lost(after) => {
                self.lost.range::<BootId, _>((Excluded(after), Unbounded)).next()
            }
            _ => None,
        };
        if let Some((boot, lost)) = lost {
            let Lost { places_end_at, replaced } = *lost;
            let timed = self.dues.contains(&Due::boot(*boot)(places_end_at));
            let record = LockRecord::Lost { boot: *boot, places_end_at, timed, replaced };
            return Some((LockCursor::Lost(*boot), record));
        }
        let hold = match cursor {
            LockCursor::Tokens | LockCursor::Lost(_) => self.holds.first(),
            LockCursor::Hold(after) => {
                self.holds.range::<HoldId, _>((Excluded(after), Unbounded)).next()
            }
            LockCursor::Wait(_) => None,
        };
        if let Some((id, hold)) = hold {
            return Some((LockCursor::Hold(*id), self.hold_record(*id, hold)));
        }
        let wait = match cursor {
            LockCursor::Wait(after) => {
                self.waits.range::<HoldId, _>((Excluded(after), Unbounded)).next()
            }
            _ => self.waits.first(),
        };
        wait.map(|(id, wait)| (LockCursor::Wait(*id), wait_record(*id, wait)))
    }

    /// Puts a record back. They must come in the order of [`LockTable::record_after`].
    ///
    /// # Errors
    /// If the owner is on one of the locks already.
    pub fn restore(&mut self, record: &LockRecord) -> Result<(), String> {
        match record {
            LockRecord::Tokens { next } => {
                self.tokens = Tokens::starting_at(*next);
                Ok(())
            }
            LockRecord::Lost { boot, places_end_at, timed, replaced } => {
                let lost = Lost { places_end_at: *places_end_at, replaced: *replaced };
                self.lost.insert_mut(*boot, lost);
                if *timed {
                    self.dues.insert_mut(Due::boot(*boot)(*places_end_at));
                }
                Ok(())
            }
            LockRecord::Hold { owner, items, .. } => {
                let names = items.iter().map(|(item, _)| item.name.as_str());
                self.check_absent(owner, names)?;
                self.restore_hold(record);
                Ok(())
            }
            LockRecord::Wait { owner, items, .. } => {
                self.check_absent(owner, items.iter().map(|item| item.name.as_str()))?;
                self.restore_wait(record);
                Ok(())
            }
        }
    }

    fn check_absent<'a>(
        &self,
        owner: &Owner,
        mut names: impl Iterator<Item = &'a str>,
    ) -> Result<(), String> {
        match names.find(|name| self.presence(name, owner).is_some()) {
            Some(name) => Err(format!("{} is twice on the lock {name}", owner.name)),
            None => Ok(()),
        }
    }

    fn hold_record(&self, id: HoldId, hold: &Hold) -> LockRecord {
        let item = |name: &Arc<str>| {
            let share = self.share(hold, name)?;
            let permits_max = self.locks.get(name)?.permits_max;
            let (name, mode, permits) = (name.to_string(), share.mode, share.permits);
            Some((LockItem { name, mode, permits, permits_max }, share.token))
        };
        let wish = hold.wish.as_ref();
        LockRecord::Hold {
            id,
            owner: Owner::clone(&hold.owner),
            items: hold.names.iter().filter_map(item).collect(),
            ttl_ms: hold.ttl_ms,
            ends_at: hold.ends_at,
            claim: hold.claim,
            since: hold.since,
            tellers: hold.tellers.all().map(<[_]>::to_vec),
            revoked: hold.revoked.as_deref().map(str::to_owned),
            wish: wish.map(|wish| WishRecord {
                name: wish.name.to_string(),
                ttl_ms: wish.ttl_ms,
                attachment: wish.listener.attachment,
                place_ends_at: wish.listener.place_ends_at,
                since: wish.since,
            }),
            upgraded: hold
                .upgraded
                .as_ref()
                .map(|(it, name)| (it.iter().collect(), name.to_string())),
        }
    }

    fn restore_hold(&mut self, record: &LockRecord) {
        let LockRecord::Hold { id, owner, items, wish, upgraded, .. } = record else { return };
        let LockRecord::Hold { ttl_ms, ends_at, claim, since, tellers, revoked, .. } = record
        else {
            return;
        };
        let names: Arc<[Arc<str>]> =
            items.iter().map(|(item, _)| self.intern_name(&item.name)).collect();
        let own = |name: &String| names.iter().find(|it| ***it == **name).cloned();
        let wish = wish.as_ref().and_then(|wish| {
            let (attachment, place_ends_at) = (wish.attachment, wish.place_ends_at);
            let listener = Listener { attachment, place_ends_at };
            let name = own(&wish.name)?;
            Some(Wish { name, ttl_ms: wish.ttl_ms, listener, since: wish.since })
        });
        let upgraded = upgraded
            .as_ref()
            .and_then(|(all, name)| Some((Tellers::restored(Some(all)), own(name)?)));
        let share = |item: &LockItem, token: u64| {
            let (mode, permits) = (item.mode, item.permits);
            (Share { hold: *id, mode, permits, token }, item.permits_max)
        };
        let shares: Vec<_> = items.iter().map(|(item, token)| share(item, *token)).collect();
        let hold = Hold {
            owner: self.intern_owner(owner),
            names: names.clone(),
            ttl_ms: *ttl_ms,
            ends_at: *ends_at,
            claim: *claim,
            since: *since,
            tellers: Tellers::restored(tellers.as_deref()),
            revoked: revoked.as_deref().map(Arc::from),
            wish,
            upgraded,
        };
        self.put_hold(*id, hold, &shares);
    }

    fn restore_wait(&mut self, record: &LockRecord) {
        let LockRecord::Wait { id, owner, items, ttl_ms, attachment, place_ends_at, since } =
            record
        else {
            return;
        };
        let item = |item: &LockItem| Item {
            name: self.intern_name(&item.name),
            mode: item.mode,
            permits: item.permits,
            permits_max: item.permits_max,
        };
        let wait = Wait {
            owner: self.intern_owner(owner),
            items: items.iter().map(item).collect(),
            ttl_ms: *ttl_ms,
            listener: Listener { attachment: *attachment, place_ends_at: *place_ends_at },
            since: *since,
        };
        self.put_wait(*id, wait);
    }
}

fn wait_record(id: HoldId, wait: &Wait) -> LockRecord {
    let item = |item: &Item| LockItem {
        name: item.name.to_string(),
        mode: item.mode,
        permits: item.permits,
        permits_max: item.permits_max,
    };
    LockRecord::Wait {
        id,
        owner: Owner::clone(&wait.owner),
        items: wait.items.iter().map(item).collect(),
        ttl_ms: wait.ttl_ms,
        attachment: wait.listener.attachment,
        place_ends_at: wait.listener.place_ends_at,
        since: wait.since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::{Rules, Turn};
    use crate::types::Index;

    /// What is timed decides how old commands are, so it must be the same in a table that was read back.
    #[test]
    fn a_lost_process_whose_places_are_cleared_is_not_timed_again_when_it_is_read_back() {
        let mut table = LockTable::default();
        let rules = Rules::default();
        let boot = BootId(7);
        table.lose_listeners(&mut Turn::new(Index(1), ClusterTime(10), rules), boot, false);
        let end = ClusterTime(10).plus(rules.claim_window_ms);
        assert_eq!(read_back(&table).next_due(), Some(end));
        table.advance(&mut Turn::new(Index(2), end, rules));
        assert_eq!(table.next_due(), None);
        assert_eq!(read_back(&table).next_due(), None);
    }

    fn read_back(table: &LockTable) -> LockTable {
        let mut copy = LockTable::default();
        let mut cursor = None;
        while let Some((at, record)) = table.record_after(cursor) {
            copy.restore(&record).unwrap();
            cursor = Some(at);
        }
        copy
    }
}
