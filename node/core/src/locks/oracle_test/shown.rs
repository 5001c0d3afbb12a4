//! Table and oracle show the same: every view, field by field.

use super::oracle::{Ear, Hold, Oracle, Wait, part_of};
use super::same;
use super::world::{LOCKS, Part, lock, owner, who};
use crate::locks::{
    Attached, Attachment, HoldItemView, HoldView, HolderView, LockTable, LockView, LocksView, Mode,
    WaiterView,
};
use crate::types::{BootId, ClusterTime};

/// Compares everything that can be read of the two.
pub(super) fn check(table: &LockTable, oracle: &Oracle, owners: usize) -> Result<(), String> {
    let view = table.view(ClusterTime(oracle.now));
    check_locks(&view, oracle)?;
    check_graph(&view, oracle)?;
    for one in 0..owners {
        let expected = oracle.holds_of(one);
        same("holds of an owner", &view.holds_of(&owner(one)).collect::<Vec<_>>(), &expected)?;
    }
    check_boots(&view, oracle)?;
    let counts = (view.names(), view.holds(), view.waits());
    let names = (0..LOCKS.len()).filter(|name| oracle.kind(*name).is_some()).count();
    same("counts", &counts, &(names, oracle.holds.len(), oracle.waits.len()))?;
    let (due, needed) = (table.next_due().map(|due| due.0), oracle.next_due());
    let sooner = due.is_some() && (needed.is_none() || due <= needed);
    let early = sooner && due.is_some_and(|due| oracle.may_be_due(due));
    if early { Ok(()) } else { same("next due", &due, &needed) }
}

fn check_locks(view: &LocksView<'_>, oracle: &Oracle) -> Result<(), String> {
    let mut shown = view.iter();
    for name in (0..LOCKS.len()).filter(|name| oracle.kind(*name).is_some()) {
        same("lock", &shown.next(), &Some(oracle.lock_view(name)))?;
    }
    same("locks", &shown.next(), &None)
}

fn check_graph(view: &LocksView<'_>, oracle: &Oracle) -> Result<(), String> {
    let edge = |edge: crate::locks::WaitEdge| {
        (who(&edge.waiter), lock(&edge.name), who(&edge.blocker), edge.holds)
    };
    let mut shown: Vec<_> = view.graph().map(edge).collect();
    shown.sort_unstable();
    let edges = oracle.edges();
    let expected = edges.into_iter().map(|(waiter, name, blocker)| {
        (Some(waiter), Some(name), Some(blocker.who), blocker.holds)
    });
    let mut expected: Vec<_> = expected.collect();
    expected.sort_unstable();
    same("graph", &shown, &expected)
}

fn check_boots(view: &LocksView<'_>, oracle: &Oracle) -> Result<(), String> {
    let mut expected = oracle.attached();
    expected.sort_by_key(|(attachment, _)| *attachment);
    let mut boots: Vec<BootId> = expected.iter().map(|(attachment, _)| attachment.boot).collect();
    boots.extend([BootId(1), BootId(2)]);
    boots.sort_unstable();
    boots.dedup();
    let mut shown = Vec::new();
    for boot in boots {
        // Nobody asks that of a process that was replaced: it need not be known.
        if !oracle.is_replaced(boot) {
            same("lost", &view.is_lost(boot), &oracle.is_lost(boot))?;
        }
        let from = shown.len();
        shown.extend(view.attachments_of(boot));
        shown[from..].sort_by_key(|(attachment, _)| *attachment);
    }
    same("attachments", &shown, &expected)?;
    for (attachment, expected) in expected {
        same("attached", &view.attached(attachment), &Some(expected))?;
    }
    Ok(())
}

impl Oracle {
    fn lock_view(&self, name: usize) -> LockView {
        let mut holders: Vec<(usize, HolderView)> = self
            .holds
            .iter()
            .filter_map(|hold| Some((hold.who, hold.holder(part_of(&hold.parts, name)?))))
            .collect();
        holders.sort_by_key(|(who, _)| *who);
        let wishes = self.holds.iter().filter_map(|hold| self.wish_view(hold, name));
        let waits = self.waits.iter().filter_map(|wait| self.wait_view(wait, name));
        LockView {
            name: LOCKS[name].to_owned(),
            permits_max: self.kind(name).filter(|max| *max > 0),
            holders: holders.into_iter().map(|(_, holder)| holder).collect(),
            waiters: wishes.chain(waits).collect(),
        }
    }

    fn wish_view(&self, hold: &Hold, name: usize) -> Option<WaiterView> {
        let wish = hold.wish.filter(|wish| wish.name == name)?;
        let mode = Mode::Exclusive;
        Some(self.waiter(hold.who, (mode, 1, true), wish.since, wish.ear))
    }

    fn wait_view(&self, wait: &Wait, name: usize) -> Option<WaiterView> {
        let part = part_of(&wait.parts, name)?;
        Some(self.waiter(wait.who, (part.mode, part.permits, false), wait.since, wait.ear))
    }

    fn waiter(&self, who: usize, how: (Mode, u32, bool), since: u64, ear: Ear) -> WaiterView {
        let (mode, permits, upgrade) = how;
        let place_ends_at = self.place_end(ear).map(ClusterTime);
        WaiterView {
            owner: owner(who),
            mode,
            permits,
            upgrade,
            since: ClusterTime(since),
            attached: place_ends_at.is_none(),
            place_ends_at,
        }
    }

    fn holds_of(&self, who: usize) -> Vec<HoldView> {
        let mut holds: Vec<HoldView> =
            self.holds.iter().filter(|hold| hold.who == who).map(Hold::view).collect();
        holds.sort_by_key(|hold| hold.hold);
        holds
    }

    fn attached(&self) -> Vec<(Attachment, Attached)> {
        let waits = self.waits.iter().map(|wait| wait.ear);
        let wishes = self.holds.iter().filter_map(|hold| hold.wish.map(|wish| wish.ear));
        let waits = waits.chain(wishes).filter_map(|ear| Some((ear.attachment?, Attached::Waits)));
        let told = self.holds.iter().flat_map(|hold| {
            hold.told_attachments().into_iter().map(|told| (told, Attached::Holds(hold.view())))
        });
        waits.chain(told).collect()
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        let ears = self.waits.iter().map(|wait| wait.ear);
        let ears = ears.chain(self.holds.iter().filter_map(|hold| hold.wish.map(|wish| wish.ear)));
        let places = ears.filter_map(|ear| self.place_end(ear));
        places.chain(self.holds.iter().filter_map(|hold| hold.ends_at)).min()
    }
}

impl Hold {
    fn holder(&self, part: Part) -> HolderView {
        HolderView {
            owner: owner(self.who),
            mode: part.mode,
            permits: part.permits,
            hold: self.id,
            token: part.token,
            claim: self.claim,
            since: ClusterTime(self.since),
            ends_at: self.ends_at.map(ClusterTime),
            revoked: self.revoked_text(),
        }
    }

    fn view(&self) -> HoldView {
        let item = |part: &Part| HoldItemView {
            name: LOCKS[part.name].to_owned(),
            mode: part.mode,
            permits: part.permits,
            token: part.token,
        };
        HoldView {
            hold: self.id,
            owner: owner(self.who),
            items: self.parts.iter().map(item).collect(),
            claim: self.claim,
            since: ClusterTime(self.since),
            ends_at: self.ends_at.map(ClusterTime),
            ttl_ms: self.ttl,
            revoked: self.revoked_text(),
        }
    }

    fn revoked_text(&self) -> Option<String> {
        self.revoked.then(|| super::world::REASON.to_owned())
    }
}
