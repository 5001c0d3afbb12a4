//! The Raft leader, as far as homes know it: it leases them the right to serve.

use std::collections::BTreeMap;

use dsync_core::cache::{Incarnation, Names, Rules};
use dsync_core::types::LocalTime;

/// The leader.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Leader {
    /// When it takes a home's grant to be over: counted from receipt, stretched by the drift.
    grants_over: BTreeMap<Incarnation, LocalTime>,
    /// Requests under way: when they were sent.
    asked: BTreeMap<Incarnation, LocalTime>,
}

impl Leader {
    /// A home asks.
    pub fn ask(&mut self, home: Incarnation, now: LocalTime) {
        self.asked.insert(home, now);
    }

    /// True if a request of the home is under way.
    pub fn is_asked(&self, home: Incarnation) -> bool {
        self.asked.contains_key(&home)
    }

    /// The request arrives, and is granted: when it was sent.
    pub fn grant(&mut self, home: Incarnation, now: LocalTime, rules: &Rules) -> Option<LocalTime> {
        let sent_at = self.asked.remove(&home)?;
        let over = sent_at.max(now).plus(rules.stretched(rules.home_lease_ms));
        let known = self.grants_over.entry(home).or_insert(over);
        *known = over.max(*known);
        Some(sent_at)
    }

    /// True if the home serves no more, as far as the leader can know.
    pub fn is_over(&self, home: Incarnation, now: LocalTime) -> bool {
        self.grants_over.get(&home).is_none_or(|over| now >= *over)
    }

    /// Forgets what is over, and what other homes than these asked for.
    pub fn forget(&mut self, now: LocalTime, homes: &[Incarnation], lease_ms: u64) {
        self.grants_over.retain(|_, over| now < *over);
        self.asked.retain(|home, sent_at| homes.contains(home) && now < sent_at.plus(lease_ms));
    }

    /// Counts from now.
    pub fn rename(&mut self, names: &mut impl Names) {
        self.grants_over.values_mut().for_each(|over| names.time(over, 0));
        self.asked.values_mut().for_each(|sent_at| names.time(sent_at, BEFORE));
    }
}

/// Older requests are forgotten.
const BEFORE: u64 = 50;
