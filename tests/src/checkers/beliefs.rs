//! What clients of the complete service believe to hold, and the tokens that they were told.
//!
//! As in `leases.rs`, a client counts its lease from the sending of the request that was answered, on
//! its own clock, and the run's clock is the judge: two beliefs that exclude each other never overlap,
//! and those in a semaphore never add up to more than it has. A client gives up its belief when it
//! *sends* the release, so that the rule is about every moment in which it might still work.
//!
//! Force is the one thing that makes a belief wrong by design: from the entry on that takes a hold away,
//! only its token protects. So such beliefs are dropped there.
//!
//! The tokens are what remains: whoever is told of a grant at a later index has a higher one than all
//! incompatible holders before it, whatever anybody believes.

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::audit::AuditRecord;
use dsync_core::locks::{HoldId, LockItem, Mode, What};
use dsync_core::types::Index;

use super::{Verdict, demand};
use crate::simulator::Instant;

/// One hold, as its client sees it.
#[derive(Clone, Debug)]
struct Belief {
    owner: String,
    hold: HoldId,
    item: LockItem,
    /// `None`: no lease.
    until: Option<Instant>,
}

/// A token that a client was told, and the state it is from.
#[derive(Clone, Copy, Debug)]
struct Told {
    at: Index,
    hold: HoldId,
    mode: Mode,
    token: u64,
}

/// All beliefs, by lock.
#[derive(Debug, Default)]
pub(crate) struct Beliefs {
    held: BTreeMap<String, Vec<Belief>>,
    told: BTreeMap<String, Vec<Told>>,
    forced: BTreeSet<HoldId>,
    seen: Index,
}

impl Beliefs {
    /// An owner learns that it holds this until then. What it believed of this hold before is replaced.
    pub(crate) fn believes(
        &mut self,
        now: Instant,
        (owner, hold): (&str, HoldId),
        items: &[LockItem],
        until: Option<Instant>,
    ) -> Verdict {
        if self.forced.contains(&hold) || until.is_some_and(|until| until <= now) {
            return Ok(());
        }
        for item in items {
            let beliefs = self.held.entry(item.name.clone()).or_default();
            beliefs.retain(|it| it.until.is_none_or(|until| until > now));
            let before = beliefs.iter().find(|it| it.hold == hold).map(|it| it.until);
            let until = match before {
                Some(None) => None,
                Some(Some(before)) => until.map(|until| until.max(before)),
                None => until,
            };
            beliefs.retain(|it| it.hold != hold);
            let belief = Belief { owner: owner.to_owned(), hold, item: item.clone(), until };
            check(&belief, beliefs)?;
            beliefs.push(belief);
        }
        Ok(())
    }

    /// Its owner lets go of a hold: it sends the release, or forgets it.
    pub(crate) fn gives_up(&mut self, hold: HoldId) {
        for beliefs in self.held.values_mut() {
            beliefs.retain(|belief| belief.hold != hold);
        }
    }

    /// Its owner is content with less of one lock: it sends the downgrade.
    pub(crate) fn shares(&mut self, hold: HoldId, name: &str) {
        let beliefs = self.held.get_mut(name).into_iter().flatten();
        for belief in beliefs.filter(|belief| belief.hold == hold) {
            belief.item.mode = Mode::Shared;
        }
    }

    /// A client is told the token of one lock of a hold, as of the state `at`.
    pub(crate) fn told(&mut self, at: Index, hold: HoldId, item: &LockItem, token: u64) -> Verdict {
        if item.mode == Mode::Permits {
            return Ok(()); // They exclude nobody.
        }
        let told = self.told.entry(item.name.clone()).or_default();
        let new = Told { at, hold, mode: item.mode, token };
        let against = told.iter().find(|old| !rise(old, &new) || !rise(&new, old));
        demand(against.is_none(), "tokens that are told rise over incompatible holders", || {
            format!("{}: {new:?} and {against:?}", item.name)
        })?;
        told.push(new);
        Ok(())
    }

    /// One entry was applied: whom it takes a hold away from has been overruled.
    pub(crate) fn applied(&mut self, index: Index, events: &[AuditRecord]) {
        if index <= self.seen {
            return;
        }
        self.seen = index;
        let forced = |what: What| matches!(what, What::Forced | What::Revoked);
        let events = events.iter().filter_map(|record| record.event.lock());
        let events = events.filter(|it| forced(it.what));
        for hold in events.filter_map(|event| event.hold) {
            self.forced.insert(hold);
            self.gives_up(hold);
        }
    }
}

/// True unless `later` is from a later state, excludes `earlier`, and has no higher token. A reader may
/// join one that was exclusive and shares now.
fn rise(earlier: &Told, later: &Told) -> bool {
    if earlier.at >= later.at || earlier.hold == later.hold {
        return true;
    }
    match (earlier.mode, later.mode) {
        (_, Mode::Exclusive) => later.token > earlier.token,
        (Mode::Exclusive, _) => later.token >= earlier.token,
        _ => true,
    }
}

fn check(belief: &Belief, others: &[Belief]) -> Verdict {
    let item = &belief.item;
    if item.mode == Mode::Permits {
        let others: u64 = others.iter().map(|it| u64::from(it.item.permits)).sum();
        let fits = others + u64::from(item.permits) <= u64::from(item.permits_max);
        return demand(fits, "no more permits are believed in than there are", || {
            format!("{belief:?} beside {others}")
        });
    }
    let excludes = |other: &&Belief| {
        other.owner != belief.owner
            && (other.item.mode == Mode::Exclusive || item.mode == Mode::Exclusive)
    };
    let against = others.iter().find(excludes);
    demand(against.is_none(), "nobody believes in a hold that another has", || {
        format!("{belief:?}, and so does {against:?}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> HoldId {
        HoldId { index: Index(index), position: 0 }
    }

    fn item(mode: Mode, permits: u32) -> LockItem {
        let permits_max = if mode == Mode::Permits { 3 } else { 1 };
        LockItem { name: "x".to_owned(), mode, permits, permits_max }
    }

    fn at(ms: u64) -> Instant {
        Instant(0).plus_ms(ms)
    }

    #[test]
    fn beliefs_that_exclude_each_other_may_follow_but_not_overlap() {
        let mut beliefs = Beliefs::default();
        let x = [item(Mode::Exclusive, 1)];
        assert!(beliefs.believes(at(0), ("a", id(1)), &x, Some(at(100))).is_ok());
        assert!(beliefs.believes(at(100), ("b", id(2)), &x, Some(at(200))).is_ok());
        assert!(beliefs.believes(at(199), ("c", id(3)), &x, None).is_err());
    }

    #[test]
    fn a_writer_that_shares_lets_readers_in() {
        let mut beliefs = Beliefs::default();
        assert!(beliefs.believes(at(0), ("a", id(1)), &[item(Mode::Exclusive, 1)], None).is_ok());
        let s = [item(Mode::Shared, 1)];
        assert!(beliefs.clone_check(("b", id(2)), &s).is_err());
        beliefs.shares(id(1), "x");
        assert!(beliefs.believes(at(1), ("b", id(2)), &s, None).is_ok());
    }

    #[test]
    fn permits_add_up_to_what_there_is() {
        let mut beliefs = Beliefs::default();
        let p = |permits| [item(Mode::Permits, permits)];
        assert!(beliefs.believes(at(0), ("a", id(1)), &p(2), None).is_ok());
        assert!(beliefs.clone_check(("b", id(2)), &p(2)).is_err());
        assert!(beliefs.believes(at(0), ("b", id(2)), &p(1), None).is_ok());
        beliefs.gives_up(id(1));
        assert!(beliefs.believes(at(1), ("c", id(3)), &p(2), None).is_ok());
    }

    #[test]
    fn a_token_that_does_not_rise_is_noticed_in_whatever_order_it_is_told() {
        let mut beliefs = Beliefs::default();
        let (x, s) = (item(Mode::Exclusive, 1), item(Mode::Shared, 1));
        assert!(beliefs.told(Index(9), id(8), &x, 20).is_ok());
        assert!(beliefs.told(Index(5), id(4), &s, 19).is_ok());
        assert!(beliefs.told(Index(6), id(6), &x, 20).is_err());
        assert!(beliefs.told(Index(12), id(11), &x, 20).is_err());
        assert!(beliefs.told(Index(12), id(11), &s, 20).is_ok());
    }

    impl Beliefs {
        /// What a belief without a lease would be judged, without keeping it.
        fn clone_check(&self, (owner, hold): (&str, HoldId), items: &[LockItem]) -> Verdict {
            let belief = |item: &LockItem| Belief {
                owner: owner.to_owned(),
                hold,
                item: item.clone(),
                until: None,
            };
            items.iter().try_for_each(|item| check(&belief(item), &self.held[&item.name]))
        }
    }
}
