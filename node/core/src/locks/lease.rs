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
//! without a lease keeps none, whatever `ttl` is asked for. The end of a *claim* is another kind of
//! end: when the claim is taken up, the lease counts from that stamp, also if that is earlier.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::request::Owner;
use super::table::LockTable;
use super::turn::Turn;
use crate::types::ClusterTime;

/// Most ends that one entry clears away: 10,000 ends at once are spread over 40 entries.
pub const ENDS_PER_ENTRY_MAX: usize = 256;

/// An end to come. Ordered by time, then by name and owner: every node clears in the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: ClusterTime,
    pub(super) name: Arc<str>,
    pub(super) owner: Arc<Owner>,
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

/// What an answer says of a lease: what is left, at most what was asked for.
pub(super) fn remaining_ms(
    ends_at: Option<ClusterTime>,
    now: ClusterTime,
    ttl_ms: u64,
) -> Option<u64> {
    let left = ends_at?.since(now);
    Some(if ttl_ms > 0 { left.min(ttl_ms) } else { left })
}

impl LockTable {
    /// Moves time to the turn's stamp: clears what has ended by then, a bounded number, and grants
    /// to those who waited for it.
    pub fn advance(&mut self, turn: &mut Turn) {
        let mut freed = BTreeSet::new();
        for _ in 0..ENDS_PER_ENTRY_MAX {
            let Some(due) = self.dues.first().filter(|due| due.at <= turn.now).cloned() else {
                break;
            };
            self.remove(&due.name, &due.owner);
            freed.insert(due.name);
        }
        // Once per lock, not once per end: a lock may lose hundreds of readers in one entry.
        for name in freed {
            self.grant_next(turn, &name);
        }
    }

    /// When the next lease, claim or place ends; a time that has passed while ends are still to be
    /// cleared. `None`: nothing is timed.
    #[must_use]
    pub fn next_due(&self) -> Option<ClusterTime> {
        self.dues.first().map(|due| due.at)
    }
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

    #[test]
    fn what_remains_is_at_most_what_was_asked() {
        assert_eq!(remaining_ms(Some(ClusterTime(100)), ClusterTime(40), 10), Some(10));
        assert_eq!(remaining_ms(Some(ClusterTime(100)), ClusterTime(40), 90), Some(60));
        assert_eq!(remaining_ms(None, ClusterTime(40), 90), None);
    }
}
