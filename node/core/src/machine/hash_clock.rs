//! When the state is hashed, to be compared with the other members'.
//!
//! All nodes have to hash the same states, so the state itself says when: after so many entries, and
//! not before as many bytes of log were applied as the messages of the queues take. A hash costs as
//! much as the state is large; so it stays in proportion to what was written.

use serde::{Deserialize, Serialize};

/// Entries from one hash to the next, at least.
const ENTRIES_MIN: u64 = 10_000;

/// What was applied since the last hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HashClock {
    entries: u64,
    log_bytes: u64,
}

impl HashClock {
    /// An entry was applied. True: the state is to be hashed now.
    pub(super) fn applied(&mut self, log_bytes: u64, state_bytes: u64) -> bool {
        self.entries += 1;
        self.log_bytes += log_bytes;
        let due = self.entries >= ENTRIES_MIN && self.log_bytes >= state_bytes;
        if due {
            *self = Self::default();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first_due(log_bytes: u64, state_bytes: u64) -> u64 {
        let mut clock = HashClock::default();
        (1..).find(|_| clock.applied(log_bytes, state_bytes)).unwrap()
    }

    #[test]
    fn a_small_state_is_hashed_every_so_many_entries_a_large_one_after_as_many_bytes() {
        assert_eq!(first_due(40, 0), ENTRIES_MIN);
        assert_eq!(first_due(40, 40 * ENTRIES_MIN), ENTRIES_MIN);
        assert_eq!(first_due(40, 50 * 40 * ENTRIES_MIN), 50 * ENTRIES_MIN);
    }

    #[test]
    fn it_begins_anew_after_each() {
        let mut clock = HashClock::default();
        let due: Vec<u64> = (1..=3 * ENTRIES_MIN).filter(|_| clock.applied(40, 0)).collect();
        assert_eq!(due, [1, 2, 3].map(|times| times * ENTRIES_MIN));
    }
}
