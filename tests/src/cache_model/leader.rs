//! The Raft leader, as far as homes know it: the product's own [`Grants`], and the asks that are under way.
//! An ask's arrival, its round and its answer are one step here; the home lease model takes them apart.

use std::collections::BTreeMap;

use dsync_core::cache::{Grants, Incarnation, Names};
use dsync_core::types::{LocalTime, Term};

use super::Bounds;

/// The leader.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Leader {
    grants: Grants,
    /// Requests under way: when they were sent.
    asked: BTreeMap<Incarnation, LocalTime>,
}

impl Leader {
    /// A leader takes office.
    pub fn new(bounds: &Bounds) -> Self {
        let grants = Grants::new(Term(1), bounds.rules).with_bug(bounds.bug);
        Self { grants, asked: BTreeMap::new() }
    }

    /// Another one does. It knows nothing of what was granted.
    pub fn succeed(&mut self, bounds: &Bounds) {
        self.grants = Self::new(bounds).grants;
    }

    /// A home asks.
    pub fn ask(&mut self, home: Incarnation, now: LocalTime) {
        self.asked.insert(home, now);
    }

    /// True if a request of the home is under way.
    pub fn is_asked(&self, home: Incarnation) -> bool {
        self.asked.contains_key(&home)
    }

    /// The request arrives, and may be granted: when it was sent.
    pub fn grant(
        &mut self,
        home: Incarnation,
        now: LocalTime,
        homes: &[Incarnation],
    ) -> Option<LocalTime> {
        let sent_at = self.asked.remove(&home)?;
        let asked = self.grants.ask(now, home, homes);
        (asked && self.grants.confirmed(home, homes)).then_some(sent_at)
    }

    /// True if the home serves no more, as far as the leader can know.
    pub fn is_over(&self, home: Incarnation, now: LocalTime) -> bool {
        self.grants.is_over(now, home)
    }

    /// Time passes. Whom the leader suspends here is a step of its own, so it proposes nobody.
    pub fn tick(&mut self, now: LocalTime, homes: &[Incarnation], lease_ms: u64) {
        self.grants.tick(now, homes, |_| false);
        self.asked.retain(|home, sent_at| homes.contains(home) && now < sent_at.plus(lease_ms));
    }

    /// Counts from now.
    pub fn rename(&mut self, names: &mut impl Names) {
        self.grants.rename(names);
        self.asked.values_mut().for_each(|sent_at| names.time(sent_at, BEFORE));
    }
}

/// Older requests are forgotten.
const BEFORE: u64 = 50;
