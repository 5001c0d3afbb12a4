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
