//! What the clients of the whole lock service surely held, and whether that can be.
//!
//! A client knows that it held a lock from the moment in which it was told so until it sent away what
//! gives the lock up, or until its lease was over as it has to count it: from the sending of the request
//! that was answered. All clients of a test share one clock. So two such times of incompatible holds that
//! overlap are a broken promise, whatever happened to requests without an answer; and where one is over
//! before the other begins, the later token must be the higher one.

use std::collections::BTreeMap;
use std::time::Instant;

/// How a lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Alone.
    Exclusive,
    /// With other readers.
    Shared,
    /// So many permits of so many.
    Permits(u32, u32),
}

/// A time in which somebody surely held a lock.
#[derive(Clone, Debug)]
pub struct Belief {
    /// Who.
    pub owner: String,
    /// How.
    pub part: Part,
    /// Its fencing token.
    pub token: u64,
    /// When it was told.
    pub from: Instant,
    /// When it gave the lock up, or its lease was over.
    pub until: Instant,
    /// It let readers in then and read on: they share its token.
    pub downgraded: bool,
}

/// All beliefs, by lock.
#[derive(Debug, Default)]
pub struct Beliefs(BTreeMap<String, Vec<Belief>>);

impl Beliefs {
    /// One more. One that was over before it began says nothing.
    pub fn add(&mut self, lock: &str, belief: Belief) {
        if belief.from < belief.until {
            self.0.entry(lock.to_owned()).or_default().push(belief);
        }
    }

    /// Everything of others.
    pub fn extend(&mut self, others: Self) {
        for (lock, beliefs) in others.0 {
            self.0.entry(lock).or_default().extend(beliefs);
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What cannot be, in sentences; empty if all is well.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.0.iter().flat_map(|(lock, beliefs)| faults(lock, beliefs)).collect()
    }
}

fn faults(lock: &str, beliefs: &[Belief]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut sorted: Vec<&Belief> = beliefs.iter().collect();
    sorted.sort_by_key(|belief| belief.from);
    for (at, later) in sorted.iter().enumerate() {
        let earlier = sorted[..at].iter().filter(|earlier| earlier.owner != later.owner);
        let (over, held): (Vec<&Belief>, Vec<&Belief>) =
            earlier.copied().partition(|earlier| earlier.until <= later.from);
        if let Some(other) = held.iter().find(|other| excludes(other.part, later.part)) {
            faults.push(format!("{lock} is held by two: {other:?} and {later:?}"));
        }
        if let Part::Permits(permits, max) = later.part {
            let taken: u32 = held.iter().map(|other| permits_of(other.part)).sum();
            if taken + permits > max {
                faults.push(format!("{lock} is overspent: {held:?} and {later:?}"));
            }
        }
        let not_risen = |earlier: &&&Belief| {
            let shares = earlier.downgraded && later.part == Part::Shared;
            let lowest = if shares { earlier.token } else { earlier.token + 1 };
            excludes(earlier.part, later.part) && later.token < lowest
        };
        if let Some(earlier) = over.iter().find(not_risen) {
            faults.push(format!("the token of {lock} does not rise: {earlier:?}, then {later:?}"));
        }
    }
    faults
}

fn excludes(one: Part, other: Part) -> bool {
    let plain = |part| !matches!(part, Part::Permits(..));
    plain(one) && plain(other) && (one == Part::Exclusive || other == Part::Exclusive)
}

fn permits_of(part: Part) -> u32 {
    if let Part::Permits(permits, _) = part { permits } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn faults_of(beliefs: &[(&str, Part, u64, u64, u64)]) -> Vec<String> {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut all = Beliefs::default();
        for (owner, part, token, from, until) in beliefs.iter().copied() {
            let (owner, from, until) = (owner.to_owned(), at(from), at(until));
            let downgraded = owner == "downgrader";
            all.add("x", Belief { owner, part, token, from, until, downgraded });
        }
        all.faults()
    }

    #[test]
    fn one_after_the_other_with_rising_tokens_is_well() {
        use Part::{Exclusive, Shared};
        let told = [
            ("a", Exclusive, 1, 0, 10),
            ("b", Shared, 2, 10, 30),
            ("c", Shared, 2, 15, 20),
            ("c", Exclusive, 3, 30, 40),
        ];
        assert!(faults_of(&told).is_empty());
    }

    #[test]
    fn two_at_once_are_found() {
        use Part::{Exclusive, Permits, Shared};
        assert_eq!(faults_of(&[("a", Exclusive, 1, 0, 10), ("b", Shared, 2, 9, 20)]).len(), 1);
        assert_eq!(faults_of(&[("a", Shared, 1, 0, 10), ("b", Exclusive, 2, 9, 20)]).len(), 1);
        let two = ("a", Permits(2, 3), 1, 0, 10);
        assert!(faults_of(&[two, ("b", Permits(1, 3), 2, 5, 20)]).is_empty());
        assert_eq!(faults_of(&[two, ("b", Permits(2, 3), 2, 5, 20)]).len(), 1);
    }

    #[test]
    fn a_token_that_does_not_rise_is_found() {
        use Part::{Exclusive, Shared};
        assert_eq!(faults_of(&[("a", Exclusive, 2, 0, 10), ("b", Exclusive, 2, 10, 20)]).len(), 1);
        assert_eq!(faults_of(&[("a", Shared, 5, 0, 10), ("b", Exclusive, 4, 10, 20)]).len(), 1);
        assert!(faults_of(&[("a", Shared, 5, 0, 10), ("b", Shared, 5, 10, 20)]).is_empty());
        let downgraded = ("downgrader", Exclusive, 5, 0, 10);
        assert!(faults_of(&[downgraded, ("b", Shared, 5, 10, 20)]).is_empty());
        assert_eq!(faults_of(&[downgraded, ("b", Shared, 4, 10, 20)]).len(), 1);
        assert_eq!(faults_of(&[downgraded, ("b", Exclusive, 5, 10, 20)]).len(), 1);
    }
}
