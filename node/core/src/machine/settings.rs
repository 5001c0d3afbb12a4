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
    /// The lease of who does not say, and of a revoked hold without one.
    pub default_lease_ms: u64,
    /// Longest lease that can be asked for.
    pub lease_ms_max: u64,
    /// Most locks in one request.
    pub request_names_max: u32,
    /// Most permits of one lock.
    pub permits_max: u32,
    /// Most holds and waits in the whole cluster, each name of each counted.
    pub presences_max: u32,
    /// Most request ids that are remembered at a time.
    pub request_ids_max: u32,
    /// How long a request id is remembered after it is settled.
    pub request_retention_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            claim_window_ms: 10_000,
            command_retention_ms: 300_000,
            lock_waiters_max: 10_000,
            owner_holds_max: 10_000,
            name_bytes_max: 256,
            default_lease_ms: 60_000,
            lease_ms_max: 30 * 24 * 3_600_000,
            request_names_max: 128,
            permits_max: 1_000_000,
            presences_max: 5_000_000,
            request_ids_max: 1_000_000,
            request_retention_ms: 300_000,
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
            default_lease_ms: self.default_lease_ms,
            lease_ms_max: self.lease_ms_max,
            request_names_max: self.request_names_max,
            permits_max: self.permits_max,
            presences_max: self.presences_max,
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
