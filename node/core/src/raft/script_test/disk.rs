//! A disk that keeps what was synced and forgets the rest: what recovery may rely on.

use std::collections::VecDeque;

use crate::raft::{Entry, PersistBatch, Record, Recovered, SyncProof, SyncToken};
use crate::types::Index;

/// One node's disk.
#[derive(Debug, Default)]
pub(super) struct Disk {
    /// Batches complete only on `sync`, instead of at once.
    pub(super) manual: bool,
    under_way: VecDeque<(Vec<Record>, SyncToken)>,
    synced: Vec<Record>,
}

impl Disk {
    /// Takes a batch; its records are not safe yet.
    pub(super) fn write(&mut self, batch: PersistBatch) -> &[Record] {
        let (records, token) = batch.into_parts();
        self.under_way.push_back((records, token));
        self.under_way.back().map_or(&[], |(records, _)| records)
    }

    /// Completes the oldest batch.
    pub(super) fn sync(&mut self) -> Option<(Vec<Record>, SyncProof)> {
        let (records, token) = self.under_way.pop_front()?;
        self.synced.extend(records.iter().cloned());
        Some((records, token.synced()))
    }

    /// The power fails: what was not synced is gone.
    pub(super) fn crash(&mut self) {
        self.under_way.clear();
    }

    /// A copy of what is safe now.
    pub(super) fn copy(&self) -> Vec<Record> {
        self.synced.clone()
    }

    /// Puts an earlier copy back; an empty one is a wiped disk.
    pub(super) fn put_back(&mut self, copy: Vec<Record>) {
        self.under_way.clear();
        self.synced = copy;
    }

    /// Reads the records back in order: a later one wins over an earlier one.
    pub(super) fn recover(&self) -> Recovered {
        let mut recovered = Recovered::default();
        for record in &self.synced {
            replay(&mut recovered, record.clone());
        }
        recovered
    }
}

fn replay(recovered: &mut Recovered, record: Record) {
    match record {
        Record::HardState(hard_state) => recovered.hard_state = hard_state,
        Record::Entry(entry) => put(&mut recovered.entries, entry),
        Record::Snapshot { meta, log_start, log_start_prev_term, discard_log } => {
            recovered.entries.retain(|entry| !discard_log && entry.index >= log_start);
            recovered.snapshot = Some(meta);
            (recovered.log_start, recovered.log_start_prev_term) = (log_start, log_start_prev_term);
        }
    }
}

/// Replaces every entry with this index or a higher one.
fn put(entries: &mut Vec<Entry>, entry: Entry) {
    entries.retain(|kept| kept.index < entry.index);
    let last = entries.last().map_or(Index(entry.index.0 - 1), |kept| kept.index);
    assert_eq!(last.next(), entry.index, "the log on disk has no gaps");
    entries.push(entry);
}
