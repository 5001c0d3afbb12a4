//! The part of the log that is in memory: everything not yet compacted.
//!
//! `base` is the entry before the first one kept: its index and term are still needed to check an
//! append that starts right after it, its stamp to continue the cluster's time when nothing is kept.

use std::collections::VecDeque;

use super::entry::Entry;
use super::message::Position;
use crate::types::{ClusterTime, Index, Term};

/// Entries `base.index + 1 ..= last`, without gaps, stamps never falling.
#[derive(Clone, Debug, Default)]
pub(super) struct RaftLog {
    base: Position,
    base_stamp: ClusterTime,
    entries: VecDeque<Entry>,
}

impl RaftLog {
    /// A log that continues after `base`.
    pub(super) fn new(base: Position, base_stamp: ClusterTime, entries: Vec<Entry>) -> Self {
        let log = Self { base, base_stamp, entries: entries.into() };
        assert!(
            log.entries.iter().zip(base.index.0 + 1..).all(|(entry, index)| entry.index.0 == index),
            "the log has no gaps"
        );
        log
    }

    /// The entry before the first one kept.
    pub(super) fn base(&self) -> Position {
        self.base
    }

    /// First index kept; one past the end if nothing is.
    pub(super) fn first(&self) -> Index {
        self.base.index.next()
    }

    /// The end of the log.
    pub(super) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, |e| Position { index: e.index, term: e.term })
    }

    /// The stamp of the last entry, kept or compacted.
    pub(super) fn last_stamp(&self) -> ClusterTime {
        self.entries.back().map_or(self.base_stamp, |entry| entry.stamp)
    }

    /// Term of the entry at `index`; `None` if it is compacted away or not there yet.
    pub(super) fn term_at(&self, index: Index) -> Option<Term> {
        if index == self.base.index {
            return Some(self.base.term);
        }
        self.get(index).map(|entry| entry.term)
    }

    /// The entry at `index`, if kept.
    pub(super) fn get(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.base.index.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries from `from`, at least one if there is one, at most about `bytes`.
    pub(super) fn slice(&self, from: Index, bytes: usize) -> Vec<Entry> {
        let mut weight = 0;
        let mut slice = Vec::new();
        let mut index = from;
        while let Some(entry) = self.get(index) {
            weight += entry.weight_bytes();
            if weight > bytes && !slice.is_empty() {
                break;
            }
            slice.push(entry.clone());
            index = index.next();
        }
        slice
    }

    /// First index, not before `least`, from which the entries before `end` weigh at most `bytes`.
    pub(super) fn reach_back(&self, end: Index, least: Index, bytes: usize) -> Index {
        let mut weight = 0;
        let mut first = end;
        while first > least
            && let Some(entry) = self.get(first.prev())
        {
            weight += entry.weight_bytes();
            if weight > bytes {
                break;
            }
            first = entry.index;
        }
        first
    }

    /// Adds an entry at the end.
    pub(super) fn push(&mut self, entry: Entry) {
        assert_eq!(entry.index, self.last().index.next(), "entries are appended in order");
        self.entries.push_back(entry);
    }

    /// Cuts `from` and everything after it.
    pub(super) fn truncate(&mut self, from: Index) {
        let keep = from.0.saturating_sub(self.base.index.0 + 1);
        self.entries.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// Forgets everything before `first`. Entries that are not there cannot be forgotten.
    pub(super) fn compact(&mut self, first: Index) {
        while self.first() < first {
            let Some(entry) = self.entries.pop_front() else { break };
            self.base = Position { index: entry.index, term: entry.term };
            self.base_stamp = entry.stamp;
        }
    }

    /// The last entry at or before `at.index` whose term is not above `at.term`: where two logs may
    /// still agree. Skips whole terms in one exchange instead of one entry.
    pub(super) fn last_possible_match(&self, at: Position) -> Position {
        let mut index = at.index.min(self.last().index);
        while index > self.base.index {
            match self.term_at(index) {
                Some(term) if term > at.term => index = index.prev(),
                Some(term) => return Position { index, term },
                None => break,
            }
        }
        self.base
    }
}
