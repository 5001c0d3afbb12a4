//! What ends by itself: leases, claims, and places in a queue.
//!
//! # Problem
//!
//! A holder that vanished must not block for ever, but a machine that reads a clock while it applies
//! an entry is a different machine on every node. And 100,000 leases that end in one second must not
//! stop everybody else while they are cleared away.
//!
//! # Idea
//!
//! The stamp of an entry moves time, before the entry does anything else. Whatever ends at or before
//! it *has ended*: every check (grant rule, re-entry, release, limits, wait graph, view) compares
//! ends with the stamp and takes no notice of what has ended. Clearing it away is a second matter:
//! each entry clears at most [`ENDS_PER_ENTRY_MAX`] in the order of their ends, and
//! [`LockTable::next_due`] says "now" until nothing is left, so the leader appends time marks for
//! the rest.
//!
//! Who waited for something that has ended is granted when it is cleared, or when an entry touches
//! that lock, whichever comes first: its claim runs from that entry's stamp, so it loses nothing but
//! the delay.
//!
//! # Rejected
//!
//! The leader naming what expires (a command that says "end hold 17"): a deposed leader's command
//! would then end a lease that was renewed in between (etcd #15247). Clearing everything at once:
//! one entry could cost a second.
//!
//! # Ends and renewals
//!
//! `None` is "never", and later than every time. A renewal never moves an end earlier, so a hold
//! without a lease keeps none, whatever `ttl` is asked for; its answer says what is left, which may be
//! more than it asked for. A renewal that does not say for how long uses the length that the hold was
//! *granted* with: no renewal, repeated ask or upgrade changes that, or one short renewal would shorten
//! all that follow. The end of a *claim* is another kind of
//! end: when the claim is taken up, the lease counts from that stamp, also if that is earlier.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::What;
use super::lock::{Hold, Wait};
use super::request::HoldId;
use super::table::LockTable;
use super::turn::Turn;
use crate::types::{BootId, ClusterTime};

/// Most ends that one entry clears away: 10,000 ends at once are spread over 40 entries.
pub const ENDS_PER_ENTRY_MAX: usize = 256;

/// An end to come. Ordered by time, then by what ends: every node clears in the same order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: ClusterTime,
    pub(super) end: End,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    /// A lease, or a claim.
    Hold(HoldId),
    /// The place of a wait to which nobody listens.
    Wait(HoldId),
    /// The wish of this hold, to which nobody listens.
    Wish(HoldId),
    /// The places and wishes to which a lost process should listen.
    Boot(BootId),
}

impl Due {
    pub(super) fn hold(id: HoldId) -> impl Fn(ClusterTime) -> Self + Copy {
        move |at| Self { at, end: End::Hold(id) }
    }

    pub(super) fn wait(id: HoldId) -> impl Fn(ClusterTime) -> Self + Copy {
        move |at| Self { at, end: End::Wait(id) }
    }

    pub(super) fn wish(id: HoldId) -> impl Fn(ClusterTime) -> Self + Copy {
        move |at| Self { at, end: End::Wish(id) }
    }

    pub(super) fn is_of_boot(&self) -> bool {
        matches!(self.end, End::Boot(_))
    }

    pub(super) fn boot(boot: BootId) -> impl Fn(ClusterTime) -> Self + Copy {
        move |at| Self { at, end: End::Boot(boot) }
    }
}

/// True from the very stamp that is the end.
pub(super) fn ended(ends_at: Option<ClusterTime>, now: ClusterTime) -> bool {
    ends_at.is_some_and(|end| end <= now)
}

/// The end of a lease that is asked for at `now`; `ttl_ms` 0 asks for none.
pub(super) fn lease_end(now: ClusterTime, ttl_ms: u64) -> Option<ClusterTime> {
    (ttl_ms > 0).then(|| now.plus(ttl_ms))
}

/// The later of two ends.
pub(super) fn later(a: Option<ClusterTime>, b: Option<ClusterTime>) -> Option<ClusterTime> {
    Some(a?.max(b?))
}

impl LockTable {
    /// Moves time to the turn's stamp: clears what has ended by then, a bounded number, and grants
    /// to those who waited for it.
    pub fn advance(&mut self, turn: &mut Turn) {
        let mut freed = BTreeSet::new();
        for _ in 0..ENDS_PER_ENTRY_MAX {
            let Some(due) = self.dues.first().filter(|due| due.at <= turn.now).copied() else {
                break;
            };
            self.clear(turn, due, &mut freed);
        }
        // Once per lock, not once per end: a lock may lose hundreds of readers in one entry.
        self.grant_next(turn, freed);
    }

    /// When the next lease, claim or place ends; a time that has passed while ends are still to be
    /// cleared. `None`: nothing is timed.
    #[must_use]
    pub fn next_due(&self) -> Option<ClusterTime> {
        self.dues.first().map(|due| due.at)
    }

    /// Nothing has ended that still stands in the table.
    pub(super) fn is_cleared(&self, now: ClusterTime) -> bool {
        self.next_due().is_none_or(|due| due > now)
    }

    pub(super) fn is_live_hold(&self, id: HoldId, now: ClusterTime) -> bool {
        self.holds.get(&id).is_some_and(|hold| !ended(hold.ends_at, now))
    }

    pub(super) fn is_live_wait(&self, id: HoldId, now: ClusterTime) -> bool {
        let end = self.waits.get(&id).map(|wait| self.listener_end(wait.listener));
        end.is_some_and(|end| !ended(end, now))
    }

    /// The hold is live, and its wish is.
    pub(super) fn is_live_wish(&self, id: HoldId, now: ClusterTime) -> bool {
        let hold = self.holds.get(&id).filter(|hold| !ended(hold.ends_at, now));
        let wish = hold.and_then(|hold| hold.wish.as_ref());
        wish.is_some_and(|wish| !ended(self.listener_end(wish.listener), now))
    }

    fn clear(&mut self, turn: &mut Turn, due: Due, freed: &mut BTreeSet<Arc<str>>) {
        match due.end {
            End::Hold(id) => {
                let claim = self.holds.get(&id).is_some_and(|hold| hold.claim);
                let what = if claim { What::ClaimLapsed } else { What::Expired };
                freed.extend(self.end_hold(turn, id, what, String::new()));
            }
            End::Wait(id) => freed.extend(self.end_wait(turn, id, What::PlaceLapsed)),
            End::Wish(id) => freed.extend(self.end_wish(turn, id, What::PlaceLapsed)),
            End::Boot(boot) => freed.extend(self.clear_lost(turn, boot, due.at)),
        }
    }

    /// Ends a hold for good; gives back the names that it frees. Does not grant to anybody.
    pub(super) fn end_hold(
        &mut self,
        turn: &mut Turn,
        id: HoldId,
        what: What,
        detail: String,
    ) -> Vec<Arc<str>> {
        let Some((hold, shares)) = self.take_hold(id) else { return Vec::new() };
        turn.note(hold.event(id, &shares, what, turn.now, detail));
        names(&hold)
    }

    /// Ends a wait; gives back its names. Does not grant to anybody.
    pub(super) fn end_wait(&mut self, turn: &mut Turn, id: HoldId, what: What) -> Vec<Arc<str>> {
        let Some(wait) = self.take_wait(id) else { return Vec::new() };
        turn.note(wait.event(id, what, turn.now));
        waited_names(&wait)
    }

    /// Ends a wish; the hold stays. Gives back the name. Does not grant to anybody.
    pub(super) fn end_wish(&mut self, turn: &mut Turn, id: HoldId, what: What) -> Vec<Arc<str>> {
        let Some(hold) = self.holds.get(&id).cloned() else { return Vec::new() };
        let Some(wish) = self.take_wish(id) else { return Vec::new() };
        turn.note(wish.event(id, &hold, what, turn.now));
        vec![wish.name]
    }
}

fn names(hold: &Hold) -> Vec<Arc<str>> {
    hold.names.to_vec()
}

pub(super) fn waited_names(wait: &Wait) -> Vec<Arc<str>> {
    wait.items.iter().map(|item| item.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_is_later_than_every_time() {
        let soon = Some(ClusterTime(5));
        assert_eq!(later(soon, None), None);
        assert_eq!(later(None, soon), None);
        assert_eq!(later(soon, Some(ClusterTime(4))), soon);
    }

    #[test]
    fn a_lease_has_ended_at_the_very_stamp_of_its_end() {
        let end = lease_end(ClusterTime(10), 5);
        assert!(!ended(end, ClusterTime(14)));
        assert!(ended(end, ClusterTime(15)));
    }
}
