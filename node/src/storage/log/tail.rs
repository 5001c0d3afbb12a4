//! What the log amounts to at its end: enough to begin a new segment with.
//!
//! A new segment begins with this, so that the records before it may be deleted once no entry in
//! them is needed. Entries themselves are not repeated: a segment goes only when all of its entries
//! lie below `log_start`.

use std::collections::VecDeque;

use dsync_core::raft::{Entry, HardState, Record, Recovered, SnapshotMeta};
use dsync_core::types::{Index, Term};

/// The state that a new segment repeats.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    pub hard_state: HardState,
    pub snapshot: Option<Compaction>,
    /// Last entry of the log; (0, 0) before the first.
    pub last: (Index, Term),
}

/// What a snapshot record says, without its order to void the log: that has been obeyed.
#[derive(Clone, Debug)]
pub(super) struct Compaction {
    pub meta: SnapshotMeta,
    pub log_start: Index,
    pub log_start_prev_term: Term,
}

impl Tail {
    pub(super) fn log_start(&self) -> Index {
        self.snapshot.as_ref().map_or(Index(1), |snapshot| snapshot.log_start)
    }

    /// The records that a new segment begins with.
    pub(super) fn preamble(&self) -> Vec<Record> {
        let mut records = vec![Record::HardState(self.hard_state.clone())];
        if let Some(Compaction { meta, log_start, log_start_prev_term }) = self.snapshot.clone() {
            let discard_log = false;
            records.push(Record::Snapshot { meta, log_start, log_start_prev_term, discard_log });
        }
        records
    }

    /// The state after one more record.
    pub(super) fn follow(&mut self, record: &Record) {
        match record {
            Record::HardState(hard_state) => self.hard_state = hard_state.clone(),
            Record::Entry(entry) => self.last = (entry.index, entry.term),
            Record::Snapshot { meta, log_start, log_start_prev_term, discard_log } => {
                if *discard_log {
                    self.last = (meta.index, meta.term);
                }
                if self.last.0 < log_start.prev() {
                    self.last = (log_start.prev(), *log_start_prev_term);
                }
                self.snapshot = Some(Compaction {
                    meta: meta.clone(),
                    log_start: *log_start,
                    log_start_prev_term: *log_start_prev_term,
                });
            }
        }
    }
}

/// The log as it is read back, record by record.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub tail: Tail,
    /// Without gaps, the last one is `tail.last`; its first may lie above `log_start` until the end
    /// shows whether anything is missing.
    entries: VecDeque<Entry>,
    begun: bool,
}

impl Replay {
    /// A segment begins, and says where the log stood.
    pub(super) fn begin_segment(&mut self, last: (Index, Term)) -> Result<(), &'static str> {
        if self.begun && self.tail.last != last {
            return Err("segment does not follow the one before it");
        }
        self.begun = true;
        self.tail.last = last;
        Ok(())
    }

    /// One record follows.
    pub(super) fn follow(&mut self, record: Record) -> Result<(), &'static str> {
        if let Record::Entry(entry) = &record
            && entry.index > self.tail.last.0.next()
        {
            return Err("entries are missing before this one");
        }
        self.tail.follow(&record);
        match record {
            Record::HardState(_) => {}
            Record::Entry(entry) => {
                self.keep_below(entry.index);
                self.entries.push_back(entry);
            }
            Record::Snapshot { discard_log, log_start, .. } => {
                if discard_log {
                    self.entries.clear();
                }
                while self.entries.front().is_some_and(|entry| entry.index < log_start) {
                    self.entries.pop_front();
                }
            }
        }
        Ok(())
    }

    /// Everything has been read.
    pub(super) fn finish(&mut self) -> Result<Recovered, &'static str> {
        let log_start = self.tail.log_start();
        self.entries.retain(|entry| entry.index >= log_start);
        let first = self.entries.front().map_or(self.tail.last.0.next(), |entry| entry.index);
        if first != log_start {
            return Err("the beginning of the log is missing");
        }
        let snapshot = self.tail.snapshot.clone();
        Ok(Recovered {
            hard_state: self.tail.hard_state.clone(),
            log_start_prev_term: snapshot.as_ref().map_or(Term(0), |it| it.log_start_prev_term),
            snapshot: snapshot.map(|it| it.meta),
            log_start,
            entries: std::mem::take(&mut self.entries).into(),
        })
    }

    fn keep_below(&mut self, index: Index) {
        while self.entries.back().is_some_and(|entry| entry.index >= index) {
            self.entries.pop_back();
        }
    }
}
