//! How long each machine's process has been running: what a dead one has promised, nobody keeps.

use std::collections::BTreeMap;

use dsync_core::types::BootId;

use crate::simulator::Instant;

/// The process that runs on each machine, and when it has started.
#[derive(Debug, Default)]
pub(crate) struct Uptimes(BTreeMap<usize, (BootId, Instant)>);

impl Uptimes {
    pub(crate) fn started(&mut self, slot: usize, boot: BootId, now: Instant) {
        self.0.insert(slot, (boot, now));
    }

    pub(crate) fn died(&mut self, slot: usize) {
        self.0.remove(&slot);
    }

    /// The process that runs there has run since then.
    pub(crate) fn covers(&self, slot: usize, since: Instant) -> bool {
        self.0.get(&slot).is_some_and(|(_, started)| *started <= since)
    }

    /// This very process runs.
    pub(crate) fn is_running(&self, boot: BootId) -> bool {
        self.0.values().any(|(running, _)| *running == boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_covers_only_what_comes_after_it() {
        let (mut uptimes, at) = (Uptimes::default(), |ms| Instant(0).plus_ms(ms));
        uptimes.started(1, BootId(7), at(5));
        assert!(uptimes.covers(1, at(5)) && uptimes.is_running(BootId(7)));
        assert!(!uptimes.covers(1, at(4)) && !uptimes.is_running(BootId(6)));
        uptimes.died(1);
        assert!(!uptimes.covers(1, at(9)) && !uptimes.is_running(BootId(7)));
    }
}
