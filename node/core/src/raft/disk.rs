//! What is on its way to the disk, and what waits for it.
//!
//! Records collect in the open batch until the shell takes them. Batches complete in order. A message
//! that claims something about the disk is sealed under the newest batch that exists when it is made
//! (if it holds anything unsynced) and opened by that batch's proof.
//!
//! The trap (openraft #1960, etcd's asynchronous storage): entry 5 of term 2 is being written; a new
//! leader replaces it by entry 5 of term 3; the first write completes. It must not count for the
//! second. So each batch under way remembers up to where *today's* log it will make durable, and a
//! truncation lowers that for every batch already taken.

use std::collections::VecDeque;

use super::entry::Record;
use super::message::Envelope;
use super::ready::{PersistBatch, SyncProof};
use crate::types::{Index, LocalTime};

/// A batch the shell has taken and not yet proved.
#[derive(Debug)]
struct UnderWay {
    number: u64,
    /// Log end that this batch makes durable, as far as it still stands in the log.
    log_end: Index,
    taken_at: LocalTime,
}

/// The queue to the disk.
#[derive(Debug)]
pub(super) struct DiskQueue {
    open: Vec<Record>,
    open_since: LocalTime,
    open_number: u64,
    under_way: VecDeque<UnderWay>,
    sealed: VecDeque<(u64, Envelope)>,
    durable: Index,
    /// Test only: forget the trap above.
    stale_writes_count: bool,
}

impl DiskQueue {
    /// Everything recovered is durable.
    pub(super) fn new(durable: Index, stale_writes_count: bool) -> Self {
        Self {
            open: Vec::new(),
            open_since: LocalTime(0),
            open_number: 1,
            under_way: VecDeque::new(),
            sealed: VecDeque::new(),
            durable,
            stale_writes_count,
        }
    }

    /// Last index of today's log that is synced.
    pub(super) fn durable(&self) -> Index {
        self.durable
    }

    /// Adds a record to the open batch.
    pub(super) fn push(&mut self, now: LocalTime, record: Record) {
        if self.open.is_empty() {
            self.open_since = now;
        }
        self.open.push(record);
    }

    /// Takes the open batch out for writing.
    pub(super) fn take(&mut self, log_end: Index) -> Option<PersistBatch> {
        if self.open.is_empty() {
            return None;
        }
        let number = self.open_number;
        self.open_number += 1;
        self.under_way.push_back(UnderWay { number, log_end, taken_at: self.open_since });
        Some(PersistBatch::new(number, std::mem::take(&mut self.open)))
    }

    /// The log was cut from `from` on: no write taken so far makes what will stand there durable.
    pub(super) fn truncated(&mut self, from: Index) {
        if self.stale_writes_count {
            return;
        }
        let kept = from.prev();
        self.durable = self.durable.min(kept);
        for batch in &mut self.under_way {
            batch.log_end = batch.log_end.min(kept);
        }
    }

    /// Keeps `envelope` until all that is unsynced now is synced; gives it back if nothing is.
    pub(super) fn seal(&mut self, envelope: Envelope) -> Option<Envelope> {
        let newest = if self.open.is_empty() {
            self.under_way.back().map(|batch| batch.number)
        } else {
            Some(self.open_number)
        };
        match newest {
            Some(number) => {
                self.sealed.push_back((number, envelope));
                None
            }
            None => Some(envelope),
        }
    }

    /// A batch, and all before it, is synced: what it sealed may go.
    pub(super) fn synced(&mut self, proof: &SyncProof) -> Vec<Envelope> {
        while let Some(batch) = self.under_way.front() {
            if batch.number > proof.number() {
                break;
            }
            self.durable = self.durable.max(batch.log_end);
            self.under_way.pop_front();
        }
        let mut opened = Vec::new();
        while self.sealed.front().is_some_and(|(number, _)| *number <= proof.number()) {
            opened.extend(self.sealed.pop_front().map(|(_, envelope)| envelope));
        }
        opened
    }

    /// How long the oldest unsynced record has waited, in milliseconds; 0 if nothing waits.
    pub(super) fn oldest_age_ms(&self, now: LocalTime) -> u64 {
        let oldest = self.under_way.front().map(|batch| batch.taken_at);
        let oldest = oldest.or((!self.open.is_empty()).then_some(self.open_since));
        oldest.map_or(0, |since| now.since(since))
    }
}
