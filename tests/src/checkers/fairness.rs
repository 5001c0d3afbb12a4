//! Who may have a lock before whom: the queue, kept a second time from what is said to have happened.
//!
//! The machine says what happens to locks, event by event, in the order of the log; the audit trail,
//! watchers and waiting connections all live from that. This keeps its own holders and its own queue
//! from these events alone, in a few lists that are looked through from end to end, and demands at
//! every grant that nobody in the way was passed: no holder, no earlier waiter, no upgrade. After every
//! entry it demands the opposite, too: that whoever still waits has somebody in the way.
//!
//! What has ended by time is taken out when the machine says so, so a holder may seem to hold for a
//! little longer than it does. That can hide no grant that passes a waiter, and raises no false alarm:
//! an entry clears what has ended before it grants anything.

use std::collections::BTreeMap;

use dsync_core::audit::AuditRecord;
use dsync_core::locks::{EventItem, HoldId, LockEvent, Mode, Owner, What};
use dsync_core::machine::Machine;
use dsync_core::types::Index;

use super::{Verdict, demand};

/// A request in the queue.
#[derive(Clone, Debug)]
struct Waiting {
    owner: Owner,
    items: Vec<EventItem>,
}

/// A granted request.
#[derive(Clone, Debug)]
struct Holding {
    owner: Owner,
    items: Vec<EventItem>,
    /// The lock that it waits to have alone.
    wish: Option<String>,
}

/// The queue and the holders, as the events tell them.
#[derive(Debug, Default)]
pub(crate) struct Fairness {
    applied: Index,
    queue: BTreeMap<HoldId, Waiting>,
    holders: BTreeMap<HoldId, Holding>,
    /// Permits of each semaphore, as last seen.
    permits: BTreeMap<String, u64>,
}

impl Fairness {
    /// One entry was applied, for the first time, and this happened.
    pub(crate) fn applied(
        &mut self,
        machine: &Machine,
        index: Index,
        events: &[AuditRecord],
    ) -> Verdict {
        if index <= self.applied {
            return Ok(());
        }
        self.applied = index;
        for event in events.iter().filter_map(|record| record.event.lock()) {
            self.learn_permits(machine, event);
            self.happened(event)?;
        }
        if events.is_empty() { Ok(()) } else { self.nobody_waits_for_nothing() }
    }

    /// What the name has; a name that has just vanished had what its last holder took at least.
    fn learn_permits(&mut self, machine: &Machine, event: &LockEvent) {
        for item in event.items.iter().filter(|item| item.mode == Mode::Permits) {
            let lock = machine.locks().get(&item.name);
            if let Some(permits) = lock.and_then(|lock| lock.permits_max) {
                self.permits.insert(item.name.clone(), permits.into());
            }
        }
    }

    fn happened(&mut self, event: &LockEvent) -> Verdict {
        match (event.what, event.wait, event.hold) {
            (What::Queued, Some(wait), _) => self.queued(wait, event),
            (What::Granted | What::ClaimOpened, wait, Some(hold)) => {
                return self.granted(wait, hold, event);
            }
            (What::UpgradeQueued, _, Some(hold)) => return self.wishes(hold, event),
            (What::Upgraded, _, Some(hold)) => return self.upgraded(hold, event),
            (What::Downgraded, _, Some(hold)) => self.changed(hold, event),
            (What::Left | What::PlaceLapsed, Some(wait), None) => drop(self.queue.remove(&wait)),
            (What::Left | What::PlaceLapsed, _, Some(hold)) => {
                if let Some(holding) = self.holders.get_mut(&hold) {
                    holding.wish = None;
                }
            }
            (
                What::Released | What::Undone | What::Expired | What::ClaimLapsed | What::Forced,
                _,
                Some(hold),
            ) => drop(self.holders.remove(&hold)),
            _ => {}
        }
        Ok(())
    }

    fn queued(&mut self, wait: HoldId, event: &LockEvent) {
        let (owner, items) = (event.owner.clone(), event.items.clone());
        self.queue.insert(wait, Waiting { owner, items });
    }

    fn granted(&mut self, wait: Option<HoldId>, hold: HoldId, event: &LockEvent) -> Verdict {
        if let Some(wait) = wait {
            self.queue.remove(&wait);
        }
        for item in &event.items {
            let holder = self.holder_in_the_way(item, &event.owner);
            demand(holder.is_none(), "a grant is compatible with every holder", || {
                format!("{event:?}, held by {holder:?}")
            })?;
            let passed = self.waiter_in_the_way(item, &event.owner, wait.unwrap_or(hold));
            demand(passed.is_none(), "nobody is passed by a later incompatible request", || {
                format!("{event:?} passes {passed:?}")
            })?;
        }
        let (owner, items) = (event.owner.clone(), event.items.clone());
        self.holders.insert(hold, Holding { owner, items, wish: None });
        Ok(())
    }

    fn wishes(&mut self, hold: HoldId, event: &LockEvent) -> Verdict {
        let name = event.items.first().map(|item| item.name.clone());
        let other = self.holders.iter().find(|(id, it)| **id != hold && it.wish == name);
        demand(other.is_none(), "a second upgrade of a lock is never queued", || {
            format!("{event:?} beside {other:?}")
        })?;
        if let Some(holding) = self.holders.get_mut(&hold) {
            holding.wish = name;
        }
        Ok(())
    }

    fn upgraded(&mut self, hold: HoldId, event: &LockEvent) -> Verdict {
        for item in &event.items {
            let holder = self.holder_in_the_way(item, &event.owner);
            demand(holder.is_none(), "who is upgraded is alone", || {
                format!("{event:?}, held by {holder:?}")
            })?;
        }
        self.changed(hold, event);
        if let Some(holding) = self.holders.get_mut(&hold) {
            holding.wish = None;
        }
        Ok(())
    }

    /// The event says what some of the hold's locks are now.
    fn changed(&mut self, hold: HoldId, event: &LockEvent) {
        let Some(holding) = self.holders.get_mut(&hold) else { return };
        for item in &event.items {
            if let Some(held) = holding.items.iter_mut().find(|held| held.name == item.name) {
                *held = item.clone();
            }
        }
    }

    /// Whoever has the lock in a way that this does not go with, or wants it alone.
    fn holder_in_the_way(&self, item: &EventItem, owner: &Owner) -> Option<&Holding> {
        if item.mode == Mode::Permits {
            let free = self.permits.get(&item.name)?.checked_sub(self.permits_held(&item.name));
            let fits = free.is_some_and(|free| free >= item.permits.into());
            return self.others_on(&item.name, owner).next().filter(|_| !fits);
        }
        self.others_on(&item.name, owner).find(|holding| {
            let wished = holding.wish.as_ref() == Some(&item.name);
            let mut held = holding.items.iter().filter(|held| held.name == item.name);
            wished || held.any(|held| excludes(held.mode, item.mode))
        })
    }

    /// Whoever was queued before `before` for the lock, in a way that this does not go with.
    fn waiter_in_the_way(
        &self,
        item: &EventItem,
        owner: &Owner,
        before: HoldId,
    ) -> Option<&Waiting> {
        let earlier = self.queue.range(..before).map(|(_, waiting)| waiting);
        let mut earlier = earlier.filter(|waiting| waiting.owner != *owner);
        let wanted = |waiting: &Waiting| -> u64 {
            let items = waiting.items.iter().filter(|it| it.name == item.name);
            items.map(|it| u64::from(it.permits)).sum()
        };
        if item.mode != Mode::Permits {
            return earlier.find(|waiting| {
                let mut items = waiting.items.iter().filter(|it| it.name == item.name);
                items.any(|it| excludes(it.mode, item.mode))
            });
        }
        let all = *self.permits.get(&item.name)?;
        let before: Vec<&Waiting> = earlier.filter(|waiting| wanted(waiting) > 0).collect();
        let needed = before.iter().map(|waiting| wanted(waiting)).sum::<u64>()
            + self.permits_held(&item.name)
            + u64::from(item.permits);
        before.first().copied().filter(|_| needed > all)
    }

    fn others_on<'a, 'b>(
        &'a self,
        name: &'b str,
        owner: &'b Owner,
    ) -> impl Iterator<Item = &'a Holding> + use<'a, 'b> {
        self.holders.values().filter(move |holding| {
            holding.owner != *owner && holding.items.iter().any(|held| held.name == name)
        })
    }

    fn permits_held(&self, name: &str) -> u64 {
        let items = self.holders.values().flat_map(|holding| &holding.items);
        items.filter(|item| item.name == name).map(|item| u64::from(item.permits)).sum()
    }

    fn nobody_waits_for_nothing(&self) -> Verdict {
        let idle = self.queue.iter().find(|(wait, waiting)| {
            waiting.items.iter().all(|item| {
                self.holder_in_the_way(item, &waiting.owner).is_none()
                    && self.waiter_in_the_way(item, &waiting.owner, **wait).is_none()
            })
        });
        demand(idle.is_none(), "nobody waits with nobody in the way", || format!("{idle:?}"))?;
        let alone = self.holders.values().find(|holding| {
            let wish = holding.wish.as_deref();
            wish.is_some_and(|name| self.others_on(name, &holding.owner).next().is_none())
        });
        demand(alone.is_none(), "nobody who is alone waits to be", || format!("{alone:?}"))
    }
}

fn excludes(one: Mode, other: Mode) -> bool {
    one == Mode::Exclusive || other == Mode::Exclusive
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u64) -> HoldId {
        HoldId { index: Index(index), position: 0 }
    }

    fn event(what: What, who: &str, mode: Mode, wait: Option<u64>, hold: Option<u64>) -> LockEvent {
        let name = "x".to_owned();
        LockEvent {
            what,
            owner: Owner { principal: "anonymous".to_owned(), name: who.to_owned() },
            items: vec![EventItem { name, mode, permits: 1, token: 0 }],
            hold: hold.map(id),
            wait: wait.map(id),
            attachment: None,
            elapsed_ms: 0,
            detail: String::new(),
        }
    }

    /// The rule that these events break.
    fn broken(events: &[LockEvent]) -> Option<&'static str> {
        let mut fairness = Fairness::default();
        fairness.permits.insert("x".to_owned(), 2);
        let mut all = events.iter().map(|event| fairness.happened(event));
        let broken = all.find_map(Result::err).map(|broken| broken.rule);
        drop(all);
        broken.or_else(|| fairness.nobody_waits_for_nothing().err().map(|broken| broken.rule))
    }

    use Mode::{Exclusive as X, Permits as P, Shared as S};

    #[test]
    fn a_queue_in_order_passes() {
        let events = [
            event(What::Granted, "a", X, None, Some(1)),
            event(What::Queued, "b", X, Some(2), None),
            event(What::Released, "a", X, None, Some(1)),
            event(What::Granted, "b", X, Some(2), Some(3)),
        ];
        assert_eq!(broken(&events), None);
    }

    #[test]
    fn a_reader_that_passes_a_writer_is_noticed() {
        let events = [
            event(What::Granted, "a", S, None, Some(1)),
            event(What::Queued, "b", X, Some(2), None),
            event(What::Granted, "c", S, None, Some(3)),
        ];
        assert_eq!(broken(&events), Some("nobody is passed by a later incompatible request"));
    }

    #[test]
    fn a_waiter_whom_nobody_wakes_is_noticed() {
        let events = [
            event(What::Granted, "a", X, None, Some(1)),
            event(What::Queued, "b", X, Some(2), None),
            event(What::Released, "a", X, None, Some(1)),
        ];
        assert_eq!(broken(&events), Some("nobody waits with nobody in the way"));
    }

    #[test]
    fn two_holders_that_do_not_go_together_are_noticed() {
        let events = [
            event(What::Granted, "a", S, None, Some(1)),
            event(What::Granted, "b", X, None, Some(2)),
        ];
        assert_eq!(broken(&events), Some("a grant is compatible with every holder"));
        let permits = |hold| event(What::Granted, "abc", P, None, Some(hold));
        let mut events = [permits(1), permits(2), permits(3)];
        for (number, event) in events.iter_mut().enumerate() {
            event.owner.name = number.to_string();
        }
        assert_eq!(broken(&events[..2]), None);
        assert_eq!(broken(&events), Some("a grant is compatible with every holder"));
    }

    #[test]
    fn an_upgrade_beside_a_reader_and_a_second_wish_are_noticed() {
        let readers = [
            event(What::Granted, "a", S, None, Some(1)),
            event(What::Granted, "b", S, None, Some(2)),
        ];
        let with = |more: &[LockEvent]| broken(&[&readers, more].concat());
        let upgraded = event(What::Upgraded, "a", X, None, Some(1));
        assert_eq!(with(&[upgraded]), Some("who is upgraded is alone"));
        let wish = |who, hold| event(What::UpgradeQueued, who, X, Some(hold), Some(hold));
        assert_eq!(with(&[wish("a", 1)]), None);
        let second = "a second upgrade of a lock is never queued";
        assert_eq!(with(&[wish("a", 1), wish("b", 2)]), Some(second));
        let passed = event(What::Granted, "c", S, None, Some(5));
        let rule = "a grant is compatible with every holder";
        assert_eq!(with(&[wish("a", 1), passed]), Some(rule));
    }
}
