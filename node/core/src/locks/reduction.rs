//! Reduction: who can end, if everybody who can does.
//!
//! An owner *reduces* when all that it waits for can be met; then it will give back all it has. A
//! plain wait can be met when nobody who is in its way is left. A wait for permits can be met when
//! the free permits, and those of the owners that have reduced, are enough for it and for all earlier
//! waiters that are left (the same sum as the grant rule's). Repeated until nothing changes, this
//! leaves exactly those who are stuck, in whatever order it is done: reducing somebody never makes it
//! harder for anybody else.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{Mode, Owner};
use super::table::LockTable;
use super::wait_graph::{Want, reasons, wants};
use crate::types::ClusterTime;

/// Those of `owners` that never reduce. `owners` must contain everybody for whom one of them waits.
pub(super) fn stuck<'a>(
    table: &'a LockTable,
    owners: &[&'a Owner],
    now: ClusterTime,
) -> BTreeSet<&'a Owner> {
    let wants: BTreeMap<&Owner, Vec<Want>> =
        owners.iter().map(|owner| (*owner, wants(table, owner, now))).collect();
    let waited_for = waited_for(table, &wants, now);
    let mut stuck: BTreeSet<&Owner> = owners.iter().copied().collect();
    let mut pending: BTreeSet<&Owner> = stuck.clone();
    while let Some(owner) = pending.pop_first() {
        let met = wants[owner].iter().all(|want| can_be_met(table, owner, want, &stuck, now));
        if met && stuck.remove(owner) {
            // Only those who waited for it can have got any further by that.
            let waiters = waited_for.get(owner).into_iter().flatten();
            pending.extend(waiters.filter(|waiter| stuck.contains(*waiter)));
        }
    }
    stuck
}

/// Owner -> who waits for it.
fn waited_for<'a>(
    table: &'a LockTable,
    wants: &BTreeMap<&'a Owner, Vec<Want<'a>>>,
    now: ClusterTime,
) -> BTreeMap<&'a Owner, BTreeSet<&'a Owner>> {
    let mut waited_for: BTreeMap<&Owner, BTreeSet<&Owner>> = BTreeMap::new();
    for (owner, wants) in wants {
        for reason in wants.iter().flat_map(|want| reasons(table, want, now)) {
            waited_for.entry(reason).or_default().insert(owner);
        }
    }
    waited_for
}

fn can_be_met(
    table: &LockTable,
    owner: &Owner,
    want: &Want,
    left: &BTreeSet<&Owner>,
    now: ClusterTime,
) -> bool {
    if want.mode != Mode::Permits {
        let reasons = reasons(table, want, now);
        return !reasons.iter().any(|reason| *reason != owner && left.contains(reason));
    }
    let Some(lock) = table.locks.get(want.name) else { return true };
    let held = table.live_holders(lock, now);
    let kept = held.filter(|(holder, _)| left.contains(&***holder));
    let kept: u64 = kept.map(|(_, share)| u64::from(share.permits)).sum();
    let earlier = table.live_earlier(lock, want.before, now);
    let earlier = earlier.filter(|(_, place)| left.contains(&*place.owner));
    let asked: u64 = earlier.map(|(_, place)| u64::from(place.permits)).sum();
    kept + asked + u64::from(want.permits) <= u64::from(lock.permits_max)
}
