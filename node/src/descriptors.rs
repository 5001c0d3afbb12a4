//! File descriptors: the one resource that strangers can use up by connecting.
//!
//! A node that has none left can make no log segment and no snapshot and accept no peer. So the limit
//! is raised as far as the system lets it, and connections together get at most half of it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Far above what probes and scrapers need.
const ADMIN_CONNECTIONS_MAX: u32 = 256;
/// Assumed where the system names no limit.
const UNLIMITED: u64 = 1 << 20;

/// Raises the soft limit to the hard one; gives back what is in force now.
pub(crate) fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(UNLIMITED),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files cannot be raised");
            limit.current.unwrap_or(UNLIMITED)
        }
    }
}

/// How many connections the client port may hold: nearly half of the descriptors at most.
pub(crate) fn client_connections(wanted: u32, limit: u64) -> u32 {
    let share = limit / 2 - u64::from(admin_connections(limit));
    let allowed = wanted.min(u32::try_from(share).unwrap_or(u32::MAX));
    if allowed < wanted {
        tracing::warn!(allowed, wanted, "few connections: the limit of open files is low");
    }
    allowed
}

/// How many the admin port may hold: it is for probes and scrapers.
pub(crate) fn admin_connections(limit: u64) -> u32 {
    u32::try_from(limit / 8).unwrap_or(u32::MAX).min(ADMIN_CONNECTIONS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ports_together_leave_half_of_the_descriptors_to_the_log_and_the_peers() {
        assert_eq!((client_connections(10_000, 1_024), admin_connections(1_024)), (384, 128));
        assert_eq!((client_connections(10_000, 20_000), admin_connections(20_000)), (9_744, 256));
        assert_eq!(client_connections(10_000, 1 << 20), 10_000);
    }

    #[test]
    fn the_limit_is_raised_as_far_as_the_system_lets_it() {
        let limit = raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, getrlimit(Resource::Nofile).maximum);
        assert!(limit >= 256);
    }
}
