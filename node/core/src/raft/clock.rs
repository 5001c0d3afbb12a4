//! Cluster time: how a leader stamps entries.
//!
//! There is no wall clock. A leader takes the stamp of the last entry in its log when it took office
//! as the base, and adds what has elapsed on its own clock since. The base is fixed for the term, so
//! a term's stamps run at the leader's clock rate; they never fall, because the leader's log holds
//! every entry that can be committed before its own. While nobody leads, time stands still: a lease
//! grows by the time without a leader, never shrinks.
//!
//! What a reader is told (how long a hold has been held, what is left of it) is as of the time that an
//! entry would be stamped with now, not of the last stamp: in a quiet cluster that may be hours old.
//! So the leader says it with heartbeats and with answers to reads. It decides nothing: a hold ends by
//! a stamp only.

use crate::types::{ClusterTime, LocalTime};

/// A leader's stamp of office.
#[derive(Clone, Copy, Debug)]
pub(super) struct StampClock {
    base: ClusterTime,
    office_since: LocalTime,
}

impl StampClock {
    /// Taking office with a log that ends at `last_stamp`.
    pub(super) fn new(last_stamp: ClusterTime, now: LocalTime) -> Self {
        Self { base: last_stamp, office_since: now }
    }

    /// Cluster time at `now`.
    pub(super) fn read(&self, now: LocalTime) -> ClusterTime {
        self.base.plus(now.since(self.office_since))
    }
}
