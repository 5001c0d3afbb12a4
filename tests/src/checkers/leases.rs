//! Leases as their holders see them.
//!
//! A holder knows only its own clock, when it sent the request that was answered, and what the answer
//! said remains. From that it believes: until the sending plus what remains, less 0.1 % for the rate
//! of its clock and a millisecond for its grain. The promise is that nobody else believes to hold an
//! incompatible lease meanwhile, whatever leaders, clocks and disks did. The run's own clock is the
//! judge; no node has it.

use std::collections::BTreeMap;

use dsync_core::locks::Mode;

use super::{Verdict, demand};
use crate::simulator::Instant;

/// One owner's belief.
#[derive(Clone, Debug)]
struct Belief {
    owner: String,
    mode: Mode,
    until: Instant,
}

/// Who believes what, by lock.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    beliefs: BTreeMap<String, Vec<Belief>>,
}

impl Leases {
    /// An owner learns that it holds a lock until then.
    pub(crate) fn believes(
        &mut self,
        now: Instant,
        name: &str,
        owner: &str,
        mode: Mode,
        until: Instant,
    ) -> Verdict {
        let beliefs = self.beliefs.entry(name.to_owned()).or_default();
        beliefs.retain(|belief| belief.until > now);
        if until <= now {
            return Ok(());
        }
        let against = beliefs.iter().find(|belief| {
            belief.owner != owner && (belief.mode == Mode::Exclusive || mode == Mode::Exclusive)
        });
        demand(against.is_none(), "nobody believes in a lease that another has", || {
            format!("{owner} holds {name} {mode:?} until {until}, and so does {against:?}")
        })?;
        match beliefs.iter_mut().find(|belief| belief.owner == owner) {
            Some(belief) => belief.until = belief.until.max(until),
            None => beliefs.push(Belief { owner: owner.to_owned(), mode, until }),
        }
        Ok(())
    }

    /// An owner gives up believing: it sends a release, or vanishes.
    pub(crate) fn gives_up(&mut self, name: &str, owner: &str) {
        if let Some(beliefs) = self.beliefs.get_mut(name) {
            beliefs.retain(|belief| belief.owner != owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(0).plus_ms(ms)
    }

    #[test]
    fn two_exclusive_beliefs_that_overlap_are_refused() {
        let mut leases = Leases::default();
        assert!(leases.believes(at(0), "x", "a", Mode::Exclusive, at(100)).is_ok());
        assert!(leases.believes(at(99), "x", "b", Mode::Exclusive, at(200)).is_err());
        assert!(leases.believes(at(99), "y", "b", Mode::Exclusive, at(200)).is_ok());
        assert!(leases.believes(at(100), "x", "b", Mode::Exclusive, at(200)).is_ok());
    }

    #[test]
    fn readers_may_believe_together_and_a_release_ends_a_belief() {
        let mut leases = Leases::default();
        assert!(leases.believes(at(0), "x", "a", Mode::Shared, at(100)).is_ok());
        assert!(leases.believes(at(1), "x", "b", Mode::Shared, at(100)).is_ok());
        assert!(leases.believes(at(2), "x", "c", Mode::Exclusive, at(100)).is_err());
        leases.gives_up("x", "a");
        leases.gives_up("x", "b");
        assert!(leases.believes(at(3), "x", "c", Mode::Exclusive, at(100)).is_ok());
    }
}
