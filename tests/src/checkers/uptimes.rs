//! How long each machine's process has been running: what a dead one has promised, nobody keeps.

use std::collections::BTreeMap;

use crate::simulator::Instant;

/// When the process that runs on each machine has started.
#[derive(Debug, Default)]
pub(crate) struct Uptimes(BTreeMap<usize, Instant>);

impl Uptimes {
    pub(crate) fn started(&mut self, slot: usize, now: Instant) {
        self.0.insert(slot, now);
    }

    pub(crate) fn died(&mut self, slot: usize) {
        self.0.remove(&slot);
    }

    /// The process that runs there has run since then.
    pub(crate) fn covers(&self, slot: usize, since: Instant) -> bool {
        self.0.get(&slot).is_some_and(|started| *started <= since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_covers_only_what_comes_after_it() {
        let (mut uptimes, at) = (Uptimes::default(), |ms| Instant(0).plus_ms(ms));
        uptimes.started(1, at(5));
        assert!(uptimes.covers(1, at(5)));
        assert!(!uptimes.covers(1, at(4)));
        uptimes.died(1);
        assert!(!uptimes.covers(1, at(9)));
    }
}
