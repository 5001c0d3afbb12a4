//! Numbers that decide how entries apply. They are replicated state, never a node's own flags.

use serde::{Deserialize, Serialize};

use crate::locks::Rules;

/// The settings, set by the founding entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How long a place in a lock's queue, and a grant that nobody has picked up yet, are kept for an
    /// asker that does not stay connected.
    pub claim_window_ms: u64,
    /// A command applied later than this after its node took it in is void.
    pub command_retention_ms: u64,
    /// Most waiters of one lock.
    pub lock_waiters_max: u32,
    /// Most holds and waits of one owner, together.
    pub owner_holds_max: u32,
    /// Most bytes of a lock's name, an owner's name, or a principal.
    pub name_bytes_max: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            claim_window_ms: 10_000,
            command_retention_ms: 300_000,
            lock_waiters_max: 10_000,
            owner_holds_max: 10_000,
            name_bytes_max: 256,
        }
    }
}

impl Settings {
    /// What of it the lock table obeys.
    #[must_use]
    pub fn lock_rules(&self) -> Rules {
        Rules {
            claim_window_ms: self.claim_window_ms,
            lock_waiters_max: self.lock_waiters_max,
            owner_holds_max: self.owner_holds_max,
            name_bytes_max: self.name_bytes_max,
        }
    }
}

/// The machine's first state, carried by the founding entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstState {
    /// First format.
    V1 {
        /// The settings.
        settings: Settings,
        /// The first fencing token: seconds since 2025-01-01 times 2^22 at the founding, so that a
        /// cluster founded again later never repeats one.
        token_base: u64,
    },
}
