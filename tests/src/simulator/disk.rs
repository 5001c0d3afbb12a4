//! One node's disk: what is on it, what is only on its way, and what a crash leaves of that.
//!
//! The model is the log's contract, not its file format (that has power-cut tests of its own): records
//! become durable in order, all that were queued when a sync began with its completion. A crash keeps
//! any prefix of the rest: the device may have written them early, or torn the first that it loses.
//! Snapshot files are durable once their own sync is done; nothing refers to one before.
//!
//! The image also polices the records: a gap in the log, a term that falls, a vote that changes within
//! its term, a snapshot record without its file. All of these would be the core's fault.

use std::collections::VecDeque;

use bytes::Bytes;
use dsync_core::raft::{Entry, HardState, Payload, Record, Recovered, SnapshotMeta, SyncToken};
use dsync_core::types::{ClusterTime, Index, NodeId, Term};

use super::rng::Rng;
use super::time::Instant;

/// A snapshot file.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotFile {
    pub(crate) meta: SnapshotMeta,
    pub(crate) bytes: Bytes,
}

/// What would be found after a power cut.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) node_id: NodeId,
    /// Processes that have started on it.
    pub(crate) boots: u64,
    /// It was written down that it must not take part again.
    pub(crate) refused: bool,
    pub(crate) hard_state: HardState,
    pub(crate) snapshot: Option<SnapshotMeta>,
    pub(crate) log_start: Index,
    pub(crate) log_start_prev_term: Term,
    pub(crate) entries: VecDeque<Entry>,
    files: Vec<SnapshotFile>,
}

impl Image {
    pub(crate) fn empty(node_id: NodeId) -> Self {
        Self {
            node_id,
            boots: 0,
            refused: false,
            hard_state: HardState::default(),
            snapshot: None,
            log_start: Index(1),
            log_start_prev_term: Term(0),
            entries: VecDeque::new(),
            files: Vec::new(),
        }
    }

    /// End of the log.
    pub(crate) fn last(&self) -> Index {
        Index(self.log_start.0 + self.entries.len() as u64 - 1)
    }

    fn entry(&self, index: Index) -> Option<&Entry> {
        let offset = index.0.checked_sub(self.log_start.0)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// True if the entry of this index and term cannot be lost here any more, itself or as part of a
    /// snapshot.
    pub(crate) fn holds(&self, index: Index, term: Term) -> bool {
        self.snapshot.as_ref().is_some_and(|meta| meta.index >= index)
            || self.entry(index).is_some_and(|entry| entry.term == term)
    }

    /// Term of the entry at `index`, if it is in the log.
    pub(crate) fn term_at(&self, index: Index) -> Option<Term> {
        self.entry(index).map(|entry| entry.term)
    }

    /// The newest snapshot that a record names.
    pub(crate) fn newest_file(&self) -> Option<&SnapshotFile> {
        let meta = self.snapshot.as_ref()?;
        self.files.iter().find(|file| file.meta == *meta)
    }

    /// The newest stored file, whether a record names it yet or not.
    pub(crate) fn newest_stored(&self) -> Option<&SnapshotFile> {
        self.files.iter().max_by_key(|file| file.meta.index)
    }

    /// The file of that snapshot.
    pub(crate) fn file(&self, meta: &SnapshotMeta) -> Option<&SnapshotFile> {
        self.files.iter().find(|file| file.meta == *meta)
    }

    /// A file is synced under its final name.
    pub(crate) fn store(&mut self, file: SnapshotFile) {
        self.files.retain(|have| have.meta != file.meta);
        self.files.push(file);
    }

    /// Up to where that node's disk is known to have held the log, by the snapshot or an entry that
    /// counts.
    pub(crate) fn held_by(&self, node: NodeId, counts: impl Fn(&Entry) -> bool) -> Index {
        let in_snapshot = self.snapshot.iter().filter_map(|meta| meta.boots.get(&node).copied());
        let in_log = self.entries.iter().filter_map(|entry| match entry.payload {
            Payload::BootHeld { node: of, boot } if of == node && counts(entry) => Some(boot),
            _ => None,
        });
        let newest = in_snapshot.chain(in_log).max_by_key(|boot| boot.count);
        newest.map_or(Index(0), |boot| boot.held)
    }

    pub(crate) fn recovered(&self) -> Recovered {
        Recovered {
            hard_state: self.hard_state.clone(),
            snapshot: self.snapshot.clone(),
            log_start_prev_term: self.log_start_prev_term,
            log_start: self.log_start,
            entries: self.entries.iter().cloned().collect(),
        }
    }

    /// The next record is durable.
    fn write(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::HardState(hard) => self.write_hard_state(hard),
            Record::Entry(entry) => self.write_entry(entry),
            Record::Snapshot { meta, log_start, log_start_prev_term, discard_log } => {
                self.write_snapshot(meta, log_start, log_start_prev_term, discard_log)
            }
        }
    }

    fn write_hard_state(&mut self, hard: HardState) -> Result<(), String> {
        let before = &self.hard_state;
        if hard.term < before.term {
            return Err(format!("the term on disk falls from {} to {}", before.term, hard.term));
        }
        if hard.term == before.term && before.vote.is_some() && hard.vote != before.vote {
            return Err(format!(
                "the vote on disk changes within term {} from {:?} to {:?}",
                hard.term, before.vote, hard.vote
            ));
        }
        if before.founded && !hard.founded {
            return Err("the founding mark is taken back".to_owned());
        }
        self.hard_state = hard;
        Ok(())
    }

    fn write_entry(&mut self, entry: Entry) -> Result<(), String> {
        if entry.index < self.log_start || entry.index > self.last().next() {
            return Err(format!(
                "entry {} does not follow a log of {}..={}",
                entry.index,
                self.log_start,
                self.last()
            ));
        }
        while self.last() >= entry.index {
            self.entries.pop_back();
        }
        self.entries.push_back(entry);
        Ok(())
    }

    fn write_snapshot(
        &mut self,
        meta: SnapshotMeta,
        log_start: Index,
        log_start_prev_term: Term,
        discard_log: bool,
    ) -> Result<(), String> {
        if !self.files.iter().any(|file| file.meta == meta) {
            return Err(format!("the record of snapshot {} has no synced file", meta.index));
        }
        if self.snapshot.as_ref().is_some_and(|have| have.index >= meta.index) {
            return Err(format!("snapshot {} is not newer than the last", meta.index));
        }
        if discard_log {
            self.entries.clear();
        } else {
            while self.entries.front().is_some_and(|entry| entry.index < log_start) {
                self.entries.pop_front();
            }
            if let Some(entry) = self.entries.iter().find(|entry| entry.index == meta.index)
                && entry.term != meta.term
            {
                return Err(format!(
                    "the log keeps entry {} of term {} that contradicts snapshot term {}",
                    entry.index, entry.term, meta.term
                ));
            }
        }
        if self.entries.front().is_some_and(|entry| entry.index != log_start)
            || log_start > meta.index.next()
        {
            return Err(format!("a log from {log_start} does not meet snapshot {}", meta.index));
        }
        self.files.retain(|file| file.meta.index >= meta.index);
        (self.log_start, self.log_start_prev_term) = (log_start, log_start_prev_term);
        self.snapshot = Some(meta);
        Ok(())
    }
}

/// Term and stamp of each entry, as the log would be if everything written so far were synced.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    first: Index,
    prev_term: Term,
    entries: VecDeque<(Term, ClusterTime)>,
}

impl Shape {
    fn of(image: &Image) -> Self {
        Self {
            first: image.log_start,
            prev_term: image.log_start_prev_term,
            entries: image.entries.iter().map(|entry| (entry.term, entry.stamp)).collect(),
        }
    }

    fn last(&self) -> Index {
        Index(self.first.0 + self.entries.len() as u64 - 1)
    }

    /// Term and, if it is still there, stamp of the entry at `index`.
    pub(crate) fn at(&self, index: Index) -> Option<(Term, Option<ClusterTime>)> {
        if index.next() == self.first {
            return Some((self.prev_term, None));
        }
        let offset = index.0.checked_sub(self.first.0)?;
        let (term, stamp) = self.entries.get(usize::try_from(offset).ok()?)?;
        Some((*term, Some(*stamp)))
    }

    /// Follows one record.
    pub(crate) fn follow(&mut self, record: &Record) {
        match record {
            Record::HardState(_) => {}
            Record::Entry(entry) => {
                while self.last() >= entry.index && !self.entries.is_empty() {
                    self.entries.pop_back();
                }
                self.entries.push_back((entry.term, entry.stamp));
            }
            Record::Snapshot { log_start, log_start_prev_term, discard_log, .. } => {
                if *discard_log {
                    self.entries.clear();
                    self.first = *log_start;
                }
                while self.first < *log_start && self.entries.pop_front().is_some() {
                    self.first = self.first.next();
                }
                (self.first, self.prev_term) = (*log_start, *log_start_prev_term);
            }
        }
    }
}

/// Records that were handed over together, and the duty to sync them.
#[derive(Debug)]
struct Batch {
    records: Vec<Record>,
    token: SyncToken,
}

/// The disk and the queue before it.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) image: Image,
    pub(crate) shape: Shape,
    queue: VecDeque<Batch>,
    /// How many of the queue the sync under way covers.
    syncing: usize,
    /// No sync completes before this.
    pub(crate) stalled_until: Instant,
}

impl Disk {
    pub(crate) fn new(image: Image) -> Self {
        let shape = Shape::of(&image);
        Self { image, shape, queue: VecDeque::new(), syncing: 0, stalled_until: Instant(0) }
    }

    /// True if a sync is under way.
    pub(crate) fn hangs(&self) -> bool {
        self.syncing > 0
    }

    /// Queues a batch. True if a sync has to be started.
    pub(crate) fn write(&mut self, records: Vec<Record>, token: SyncToken) -> bool {
        self.queue.push_back(Batch { records, token });
        self.begin_sync()
    }

    /// Starts a sync over all that is queued, unless one is under way.
    pub(crate) fn begin_sync(&mut self) -> bool {
        let idle = self.syncing == 0 && !self.queue.is_empty();
        if idle {
            self.syncing = self.queue.len();
        }
        idle
    }

    /// The sync under way is done: its records are on the image.
    pub(crate) fn complete_sync(&mut self) -> Result<Option<SyncToken>, String> {
        let mut last = None;
        for batch in self.queue.drain(..std::mem::take(&mut self.syncing)) {
            for record in batch.records {
                self.image.write(record)?;
            }
            last = Some(batch.token);
        }
        Ok(last)
    }

    /// The machine loses power: of what is not synced, some prefix survives.
    pub(crate) fn crash(&mut self, rng: &mut Rng) -> Result<(), String> {
        let records: Vec<Record> = self.queue.drain(..).flat_map(|batch| batch.records).collect();
        let keep = match rng.below(3) {
            0 => 0,
            1 => records.len(),
            _ => rng.index(records.len() + 1),
        };
        for record in records.into_iter().take(keep) {
            self.image.write(record)?;
        }
        self.syncing = 0;
        self.shape = Shape::of(&self.image);
        Ok(())
    }

    /// Replaces the disk's contents, by an old copy or by nothing.
    pub(crate) fn replace(&mut self, image: Image) -> Image {
        self.queue.clear();
        self.syncing = 0;
        self.shape = Shape::of(&image);
        std::mem::replace(&mut self.image, image)
    }
}
