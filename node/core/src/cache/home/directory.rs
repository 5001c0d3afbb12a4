//! A home's directory: for each of its keys who may have a copy, and the write that is under way.

use std::collections::BTreeMap;

use super::session::{Sharers, Slot};
use crate::cache::placement::Process;
use crate::cache::value::{Key, Version, Write};
use crate::types::LocalTime;

/// One key. The visible value itself is in the store; an entry without one is on its way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Entry {
    /// Who may have a copy of the visible value.
    pub(super) sharers: Sharers,
    /// Copies are being taken back.
    pub(super) round: Option<Round>,
    /// When the value goes by itself: the one moment of this key among the home's expiries.
    pub(super) expires: Option<LocalTime>,
}

/// One invalidation round of a key, for a write or for forgetting the key. Writes that arrive meanwhile
/// share it: nobody gets a copy before its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Round {
    /// Values below this version are void at the end.
    pub(super) below: Version,
    /// Whose acknowledgement of which number is still to come.
    pub(super) waiting: BTreeMap<Slot, u64>,
    /// What happens at the end, in this order.
    pub(super) writes: Vec<PendingWrite>,
}

/// A write whose round is under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct PendingWrite {
    /// Who is told.
    pub(super) from: Process,
    /// Under which number.
    pub(super) request: u64,
    /// What.
    pub(super) write: Write,
}

/// All entries.
pub(super) type Directory = BTreeMap<Key, Entry>;
