//! The leader's half of home leases: who may serve, and until when that has to be reckoned with.
//!
//! # Problem
//!
//! A home that is taken out of the ring must serve no more, and the leader cannot reach it: it may be cut
//! off, paused, or gone and started again. And what one leader has granted the next one does not know.
//!
//! # Idea
//!
//! Leases (Gray and Cheriton 1989), counted by each side on its own clock so that doubt is on the safe
//! side: the home counts from the *sending* of its request, the leader from the *receipt*, stretched by the
//! drift of clocks.
//!
//! ```text
//! home     asks ---------------------------- lease over
//! leader        receives ------------------------- grant over: may suspend
//!                  | quorum round |
//!                  begins         confirmed: answers, if the home is in service in the state then
//! ```
//!
//! **A grant needs a quorum round that begins after the receipt**, the same as a linearizable read. A
//! leader that was paused and deposed would else grant what its successor has waited for: some voter that
//! confirmed the round had not voted for the successor yet, so the successor's term began after the home
//! had asked.
//!
//! **What this leader has not granted counts as granted when it first looked**: by an earlier leader, or
//! to a home that has just entered and has not asked yet. So a new leader waits one lease, from taking
//! office, before it suspends anybody.
//!
//! **Whom it has proposed to suspend it grants nothing any more**, in its term; in another term the
//! proposal is void ([`RingOperation::Suspend`]). A home that an earlier leader has suspended is out of the
//! state that the confirmed round is as recent as.
//!
//! One value of this type is one leader's in one term.

use std::collections::{BTreeMap, BTreeSet};

use super::bug::{Bug, Bugs};
use super::placement::Incarnation;
use super::ring::RingOperation;
use super::rules::Rules;
use crate::types::{LocalTime, Term};

/// What a leader has granted in its term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Grants {
    term: Term,
    rules: Rules,
    /// When each home's grant is over. Of every home in service that this leader has seen.
    over: BTreeMap<Incarnation, LocalTime>,
    /// Proposed to be suspended.
    given_up: BTreeSet<Incarnation>,
    /// When that was proposed last.
    proposed_at: Option<LocalTime>,
    bugs: Bugs,
}

impl Grants {
    /// A leader takes office.
    #[must_use]
    pub fn new(term: Term, rules: Rules) -> Self {
        Self {
            term,
            rules,
            over: BTreeMap::new(),
            given_up: BTreeSet::new(),
            proposed_at: None,
            bugs: Bugs::default(),
        }
    }

    /// Its term.
    #[must_use]
    pub fn term(&self) -> Term {
        self.term
    }

    /// A home asks; `homes` are in service as applied here. True: a quorum round is to begin, now or later,
    /// and [`Grants::confirmed`] says what to answer after it.
    pub fn ask(&mut self, now: LocalTime, home: Incarnation, homes: &[Incarnation]) -> bool {
        if !self.may_have(home, homes) {
            return false;
        }
        let over = match self.bugs.has(Bug::SuspendedBeforeGrantEnds) {
            true => now,
            false => now.plus(self.rules.stretched(self.rules.home_lease_ms)),
        };
        let known = self.over.entry(home).or_insert(over);
        *known = over.max(*known);
        true
    }

    /// The round is confirmed, this is the leader of the same term still, and `homes` are in service as of
    /// that round or later. True: the home has the lease that it asked for, from its sending on.
    #[must_use]
    pub fn confirmed(&self, home: Incarnation, homes: &[Incarnation]) -> bool {
        self.may_have(home, homes) || self.bugs.has(Bug::GrantedToSuspended)
    }

    /// Time passes. Whom to suspend: to be proposed as it is, by this leader, in this term. `may_go`: the
    /// ring is settled without these.
    pub fn tick(
        &mut self,
        now: LocalTime,
        homes: &[Incarnation],
        may_go: impl Fn(&[Incarnation]) -> bool,
    ) -> Option<RingOperation> {
        self.over.retain(|home, _| homes.contains(home));
        self.given_up.retain(|home| homes.contains(home));
        let unknown = self.unknown_over(now);
        for home in homes {
            self.over.entry(*home).or_insert(unknown);
        }
        let known = self.over.keys().copied();
        let homes: Vec<Incarnation> = known.filter(|home| self.is_over(now, *home)).collect();
        let waits = self.proposed_at.is_some_and(|at| now < at.plus(self.rules.session_ms));
        let new = homes.iter().any(|home| !self.given_up.contains(home));
        if homes.is_empty() || !may_go(&homes) || (waits && !new) {
            return None;
        }
        self.proposed_at = Some(now);
        self.given_up.extend(&homes);
        Some(RingOperation::Suspend { homes, term: self.term })
    }

    /// True once the home's grant is over.
    #[must_use]
    pub fn is_over(&self, now: LocalTime, home: Incarnation) -> bool {
        self.over.get(&home).is_some_and(|over| now >= *over)
    }

    /// Counts from now, as a model checker needs it: see `canonical.rs`.
    #[cfg(feature = "bugs")]
    pub fn rename(&mut self, names: &mut impl super::canonical::Names) {
        self.over.values_mut().for_each(|over| names.time(over, 0));
        let session_ms = self.rules.session_ms;
        self.proposed_at.iter_mut().for_each(|at| names.time(at, session_ms));
    }

    /// Puts a mistake back.
    #[cfg(feature = "bugs")]
    #[must_use]
    pub fn with_bug(mut self, bug: Option<Bug>) -> Self {
        self.bugs.put_back(bug);
        self
    }

    fn may_have(&self, home: Incarnation, homes: &[Incarnation]) -> bool {
        homes.contains(&home) && !self.given_up.contains(&home)
    }

    fn unknown_over(&self, now: LocalTime) -> LocalTime {
        match self.bugs.has(Bug::NewLeaderDoesNotWait) {
            true => now,
            false => now.plus(self.rules.stretched(self.rules.home_lease_ms)),
        }
    }
}
