//! Who is told every event, and nothing else, knows who holds and who waits.

use std::collections::BTreeMap;

use super::oracle::Oracle;
use super::same;
use super::world::{Part, lock, who};
use crate::locks::{EventItem, HoldId, LockEvent, Mode, What};

/// What the events so far have told.
#[derive(Debug, Default)]
pub(super) struct Replay {
    holds: BTreeMap<HoldId, Told>,
    waits: BTreeMap<HoldId, Told>,
    /// Which lock of which hold.
    wishes: BTreeMap<HoldId, usize>,
}

/// A hold, or a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    who: usize,
    /// Name, mode, permits, token.
    items: Vec<(usize, Mode, u32, u64)>,
    claim: bool,
    revoked: bool,
}

impl Replay {
    /// Takes in one event; an event that cannot have happened is an error.
    pub(super) fn hear(&mut self, event: &LockEvent) -> Result<(), String> {
        let heard = match event.what {
            What::Queued => self.queued(event),
            What::Granted => self.granted(event, false),
            What::ClaimOpened => self.granted(event, true),
            What::ClaimTaken => self.hold(event).map(|hold| hold.claim = false),
            What::UpgradeQueued => self.wishes(event),
            What::Upgraded => self.changed(event, Mode::Exclusive),
            What::Downgraded => self.changed(event, Mode::Shared),
            What::Released | What::Undone | What::Expired | What::ClaimLapsed | What::Forced => {
                self.ended(event)
            }
            What::Left | What::PlaceLapsed => self.left(event),
            What::Revoked => self.revoked(event),
            What::Refused | What::Deadlock => Some(()),
        };
        heard.ok_or_else(|| format!("events: this cannot have happened: {event:?}"))
    }

    fn queued(&mut self, event: &LockEvent) -> Option<()> {
        let told = told(event, false)?;
        self.waits.insert(event.wait?, told).is_none().then_some(())
    }

    fn granted(&mut self, event: &LockEvent, claim: bool) -> Option<()> {
        if let Some(wait) = event.wait {
            self.waits.remove(&wait)?;
        }
        self.holds.insert(event.hold?, told(event, claim)?).is_none().then_some(())
    }

    fn hold(&mut self, event: &LockEvent) -> Option<&mut Told> {
        let hold = self.holds.get_mut(&event.hold?)?;
        (who(&event.owner)? == hold.who).then_some(hold)
    }

    fn wishes(&mut self, event: &LockEvent) -> Option<()> {
        self.hold(event)?;
        self.wishes.insert(event.hold?, lock(&event.items.first()?.name)?).is_none().then_some(())
    }

    fn changed(&mut self, event: &LockEvent, mode: Mode) -> Option<()> {
        let [item] = &event.items[..] else { return None };
        let changed = described(item)?;
        let hold = self.hold(event)?;
        let old = hold.items.iter_mut().find(|old| old.0 == changed.0)?;
        let really = old.1 != mode && changed.1 == mode;
        *old = changed;
        if mode == Mode::Exclusive {
            self.wishes.remove(&event.hold?);
        }
        really.then_some(())
    }

    fn ended(&mut self, event: &LockEvent) -> Option<()> {
        let mut expected = told(event, false)?;
        let hold = self.hold(event)?;
        (expected.claim, expected.revoked) = (hold.claim, hold.revoked);
        let alike = *hold == expected && (event.what == What::ClaimLapsed) <= hold.claim;
        self.holds.remove(&event.hold?);
        self.wishes.remove(&event.hold?);
        alike.then_some(())
    }

    fn left(&mut self, event: &LockEvent) -> Option<()> {
        match event.hold {
            Some(hold) => self.wishes.remove(&hold).map(|_| ()),
            None => self.waits.remove(&event.wait?).map(|_| ()),
        }
    }

    fn revoked(&mut self, event: &LockEvent) -> Option<()> {
        self.hold(event)?.revoked = true;
        Some(())
    }

    /// It knows what the oracle knows.
    pub(super) fn check(&self, oracle: &Oracle) -> Result<(), String> {
        let items = |parts: &[Part]| {
            parts.iter().map(|part| (part.name, part.mode, part.permits, part.token)).collect()
        };
        let holds = oracle.holds.iter().map(|hold| {
            let (who, claim, revoked) = (hold.who, hold.claim, hold.revoked);
            (hold.id, Told { who, items: items(&hold.parts), claim, revoked })
        });
        same("events, holds", &self.holds, &holds.collect())?;
        let waits = oracle.waits.iter().map(|wait| {
            let (who, claim, revoked) = (wait.who, false, false);
            (wait.id, Told { who, items: items(&wait.parts), claim, revoked })
        });
        same("events, waits", &self.waits, &waits.collect())?;
        let wishes = oracle.holds.iter().filter_map(|hold| Some((hold.id, hold.wish?.name)));
        same("events, wishes", &self.wishes, &wishes.collect())
    }
}

fn told(event: &LockEvent, claim: bool) -> Option<Told> {
    let items = event.items.iter().map(described).collect::<Option<Vec<_>>>()?;
    Some(Told { who: who(&event.owner)?, items, claim, revoked: false })
}

fn described(item: &EventItem) -> Option<(usize, Mode, u32, u64)> {
    Some((lock(&item.name)?, item.mode, item.permits, item.token))
}
