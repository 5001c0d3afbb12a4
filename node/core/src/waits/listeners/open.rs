//! One open request: what has happened to it so far, and why there may be nothing left to wait for.

use std::task::Waker;

use super::super::bell::Bell;
use crate::locks::{HoldId, What};

/// One request without an answer, or with one that is not delivered.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) news: Bell,
    pub(super) target: Option<HoldId>,
    /// Its entry is applied, and it waits.
    pub(super) waits: bool,
    /// An event says that it was queued or granted under this very number.
    pub(super) got: bool,
    /// The last look at the state did not find it.
    pub(super) missed: bool,
    /// A snapshot was installed since it was opened: events of it may have been skipped.
    pub(super) skipped: bool,
    pub(super) end: Option<End>,
}

/// Why there is nothing to wait for any more. The first reason stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::waits) enum End {
    /// An event says that it has ended.
    Ended,
    /// An event names a later attachment.
    Superseded,
    /// The state does not know it. Without `skipped` no event said why, so a later attachment has
    /// taken its place.
    Vanished { skipped: bool },
    /// This node stops.
    Stopping,
    /// This node has had no leader for too long.
    CutOff,
}

impl Open {
    /// Who is given back has to be woken.
    #[must_use]
    pub(super) fn end(&mut self, end: End) -> Option<Waker> {
        self.end.get_or_insert(end);
        self.news.ring()
    }
}

/// True of what gives a request something that it had not: a place, a hold, an exclusive lock.
pub(in crate::waits) fn gets(what: What) -> bool {
    matches!(
        what,
        What::Queued
            | What::UpgradeQueued
            | What::Granted
            | What::ClaimOpened
            | What::ClaimTaken
            | What::Upgraded
    )
}

/// True of what ends a wait, a wish or a hold.
pub(in crate::waits) fn ends(what: What) -> bool {
    matches!(
        what,
        What::Released
            | What::Undone
            | What::Expired
            | What::ClaimLapsed
            | What::Left
            | What::PlaceLapsed
            | What::Forced
    )
}
