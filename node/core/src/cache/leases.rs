//! Until when what a node keeps may be read: what a thread needs that serves hits beside the machines.
//!
//! A lease is a promise for a time, and nobody takes it back: it only ends, or grows. So a list of them
//! that is a little old errs on the safe side, and a reader needs no lock that the machines hold. What it
//! does need is the order of R3: find the copy, *then* look up its lease, *then* read the clock. The moment
//! at which it found the copy then lies before the lease's end, and the value was the newest one there.

use super::store::{Copy, Source};
use crate::types::LocalTime;

/// The leases of one node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leases(Vec<(Source, LocalTime)>);

impl Leases {
    pub(super) fn new(leases: impl IntoIterator<Item = (Source, LocalTime)>) -> Self {
        Self(leases.into_iter().collect())
    }

    /// When what is here by this right may be read no more; `None`: it may not be read at all.
    #[must_use]
    pub fn over(&self, source: &Source) -> Option<LocalTime> {
        self.0.iter().find(|(of, _)| of == source).map(|(_, over)| *over)
    }

    /// True if the copy may be served. `now` was read after these leases were looked up, and they after the
    /// copy was found.
    #[must_use]
    pub fn allow(&self, copy: &Copy, now: LocalTime) -> bool {
        self.over(&copy.source).is_some_and(|over| now < over)
    }

    /// How many sessions with other homes run.
    #[must_use]
    pub fn sessions(&self, now: LocalTime) -> usize {
        self.0.iter().filter(|(source, over)| source.session.is_some() && now < *over).count()
    }
}
