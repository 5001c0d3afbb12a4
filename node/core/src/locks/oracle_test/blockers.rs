//! The oracle's grant rule and its deadlocks.
//!
//! The rule is one question, read aloud: *who is against it?* Answered with nobody left out, it
//! decides grants; answered for a world from which some owners have gone, it decides who can ever go
//! on. An owner that nobody is against can go on, give everything back, and so free others; who is
//! never freed is in a knot. No path is searched.

use super::oracle::{Hold, Oracle, Wait, bit, part_of};
use super::world::{owner, who};
use crate::locks::{HOLDERS_NAMED_MAX, Mode, Owner};

/// One lock that an owner cannot go on without.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    pub who: usize,
    pub name: usize,
    pub mode: Mode,
    permits: u32,
    max: u32,
    /// How many of the waits came before; `None`: a wish, which stands before all.
    before: Option<usize>,
}

/// Who is against a want, and whether by what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Blocker {
    pub who: usize,
    pub holds: bool,
}

impl Oracle {
    pub(super) fn is_grantable(&self, at: usize) -> bool {
        self.wants_of_wait(at).all(|want| self.blockers(&want, 0).is_empty())
    }

    /// Who holds and is in the way of this wait.
    pub(super) fn holders_against(&self, at: usize) -> Vec<Owner> {
        let mut holders: Vec<usize> = Vec::new();
        for want in self.wants_of_wait(at) {
            let against = self.holders_of(&want);
            for blocker in against.into_iter().filter(|blocker| blocker.holds) {
                if !holders.contains(&blocker.who) {
                    holders.push(blocker.who);
                }
            }
        }
        holders.sort_unstable();
        holders.into_iter().take(HOLDERS_NAMED_MAX).map(owner).collect()
    }

    /// Everything that somebody waits or wishes for.
    pub(super) fn wants(&self) -> Vec<Want> {
        let wishes = self.holds.iter().filter_map(|hold| {
            let (who, mode, permits, max, before) = (hold.who, Mode::Exclusive, 1, 1, None);
            hold.wish.map(|wish| Want { who, name: wish.name, mode, permits, max, before })
        });
        wishes.chain((0..self.waits.len()).flat_map(|at| self.wants_of_wait(at))).collect()
    }

    fn wants_of_wait(&self, at: usize) -> impl Iterator<Item = Want> {
        let wait = &self.waits[at];
        wait.parts.iter().map(move |part| Want {
            who: wait.who,
            name: part.name,
            mode: part.mode,
            permits: part.permits,
            max: part.max,
            before: Some(at),
        })
    }

    /// Everybody whose holds or earlier wants exclude this one, without those who have `gone`.
    /// Sorted, each owner once: what it holds is said first.
    pub(super) fn blockers(&self, want: &Want, gone: u32) -> Vec<Blocker> {
        let other = |who: usize| who != want.who && gone & bit(who) == 0;
        let mut against = Vec::new();
        let mut taken = want.permits;
        for hold in self.holds.iter().filter(|hold| other(hold.who)) {
            let Some(part) = part_of(&hold.parts, want.name) else { continue };
            taken += part.permits;
            if self.holder_excludes(want, hold, part.mode) {
                against.push(Blocker { who: hold.who, holds: true });
            }
        }
        for wait in self.waits[..want.before.unwrap_or(0)].iter().filter(|wait| other(wait.who)) {
            let Some(part) = part_of(&wait.parts, want.name) else { continue };
            taken += part.permits;
            if clash(part.mode, want.mode) {
                against.push(Blocker { who: wait.who, holds: false });
            }
        }
        if want.mode == Mode::Permits && taken <= want.max {
            return Vec::new();
        }
        against.sort_by_key(|blocker| (blocker.who, !blocker.holds));
        against.dedup_by_key(|blocker| blocker.who);
        against
    }

    /// In the way or not.
    fn holders_of(&self, want: &Want) -> Vec<Blocker> {
        let on = |hold: &&Hold| hold.who != want.who && part_of(&hold.parts, want.name).is_some();
        let holders = self.holds.iter().filter(on);
        let mut holders: Vec<_> =
            holders.map(|hold| Blocker { who: hold.who, holds: true }).collect();
        holders.sort_unstable();
        holders
    }

    fn holder_excludes(&self, want: &Want, hold: &Hold, mode: Mode) -> bool {
        let wishes = hold.wish.is_some_and(|wish| wish.name == want.name);
        want.before.is_none() || wishes || clash(mode, want.mode)
    }

    /// The owners that will never be freed, a bit each.
    pub(super) fn stuck(&self) -> u32 {
        let wants = self.wants();
        let mut stuck = wants.iter().fold(0, |owners, want| owners | bit(want.who));
        loop {
            let bound = wants.iter().filter(|want| !self.blockers(want, !stuck).is_empty());
            let still = bound.fold(0, |owners, want| owners | bit(want.who)) & stuck;
            if still == stuck {
                return stuck;
            }
            stuck = still;
        }
    }

    /// Who waits for whom by which lock, and whether for a holder. In order.
    pub(super) fn edges(&self) -> Vec<(usize, usize, Blocker)> {
        let mut edges = Vec::new();
        for want in self.wants() {
            let against = self.blockers(&want, 0);
            edges.extend(against.into_iter().map(|blocker| (want.who, want.name, blocker)));
        }
        edges.sort_unstable();
        edges
    }

    /// The cycle that the table names is one of `self`, in which its asker waits.
    pub(super) fn check_cycle(
        &self,
        asker: usize,
        cycle: &[(Owner, String)],
    ) -> Result<(), String> {
        let (edges, stuck) = (self.edges(), self.stuck());
        let numbers: Vec<Option<usize>> = cycle.iter().map(|(owner, _)| who(owner)).collect();
        let mut distinct = numbers.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let mut real = numbers.first() == Some(&Some(asker)) && distinct.len() == numbers.len();
        for (at, (_, name)) in cycle.iter().enumerate() {
            let next = numbers[(at + 1) % numbers.len()];
            real &= edges.iter().any(|(waiter, lock, blocker)| {
                Some(*waiter) == numbers[at]
                    && super::world::LOCKS[*lock] == name
                    && Some(blocker.who) == next
                    && stuck & bit(*waiter) != 0
            });
        }
        if real { Ok(()) } else { Err(format!("cycle: the one named is none: {cycle:?}")) }
    }
}

pub(super) fn clash(one: Mode, other: Mode) -> bool {
    !(one == Mode::Shared && other == Mode::Shared)
}

impl Wait {
    pub(super) fn is_for_several(&self) -> bool {
        self.parts.len() > 1
    }
}
