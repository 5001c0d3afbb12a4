//! Snapshots off the driver's path: writing them, reading pieces of them, receiving them, and hashing
//! states, all in one worker thread in order. The machine comes frozen, so applying goes on meanwhile.
//!
//! **When one is due.** Once the log has grown by as many bytes as the last snapshot has, and by a least
//! number. So what is written for snapshots stays in proportion to what is written to the log, however
//! large the state is; and the log, which is in memory and is applied again at a restart, stays in
//! proportion to the state. A count of entries would bound neither: entries have any size. One at a
//! time: a disk that is slower than the log grows would otherwise let frozen states pile up.
//!
//! Only loading a received snapshot is done on the driver's own time: nothing may be applied before
//! it, and a node that installs one is far behind anyway.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dsync_core::machine::{Machine, Restore, RestoreError};
use dsync_core::raft::{Entry, Raft, SnapshotMeta, SnapshotRead, SnapshotWrite, StateHash};
use dsync_core::types::{Index, NodeId};
use tokio::sync::mpsc::UnboundedSender;

use super::inbox::SnapshotEvent;
use crate::audit::AuditSync;
use crate::storage::{Incoming, SnapshotError, SnapshotStore};

/// A snapshot that was promised to be there cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotterError {
    /// The file.
    #[error(transparent)]
    Store(#[from] SnapshotError),
    /// Its content.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The system has no thread to give.
    #[error("cannot start the snapshot worker: {0}")]
    Thread(#[from] std::io::Error),
}

/// A follower that has asked for a piece within this time still needs the file it comes from.
const SENDING_FOR: Duration = Duration::from_secs(30);

/// What the worker does.
#[derive(Debug)]
enum Task {
    Take { meta: SnapshotMeta, machine: Machine },
    Read(SnapshotRead),
    Write(SnapshotWrite),
    Hash { index: Index, machine: Machine },
    DeleteOlder(SnapshotMeta),
}

/// When the next snapshot is to be taken; see the module.
#[derive(Debug)]
struct Due {
    every_bytes: u64,
    /// What was applied since the last one was begun, in bytes of the log.
    log_bytes: u64,
    /// Size of the last one.
    snapshot_bytes: u64,
    /// One is being written.
    taking: bool,
}

impl Due {
    fn applied(&mut self, bytes: u64) {
        self.log_bytes += bytes;
    }

    fn is_now(&self) -> bool {
        !self.taking && self.log_bytes >= self.every_bytes.max(self.snapshot_bytes)
    }

    fn begun(&mut self) {
        (self.taking, self.log_bytes) = (true, 0);
    }

    fn ended(&mut self, bytes: Option<u64>) {
        self.taking = false;
        self.snapshot_bytes = bytes.unwrap_or(self.snapshot_bytes);
    }

    /// The state comes from a snapshot of this size. One that is being written is of an older state,
    /// and ends by itself.
    fn restored(&mut self, bytes: u64) {
        (self.snapshot_bytes, self.log_bytes) = (bytes, 0);
    }
}

/// The driver's side of the worker.
#[derive(Debug)]
pub struct Snapshotter {
    folder: PathBuf,
    #[cfg(not(feature = "simulated"))]
    tasks: std::sync::mpsc::Sender<Task>,
    #[cfg(feature = "simulated")]
    worker: std::sync::Mutex<Worker>,
    due: Due,
    /// A state is being hashed.
    hashing: bool,
    /// A snapshot that a restart may rely on once the log behind this index is durable. Until then
    /// the log on disk still names the one before it.
    superseding: Option<(SnapshotMeta, Index)>,
}

impl Snapshotter {
    /// Starts the worker. A snapshot is taken after every `every_bytes` of applied entries, at least;
    /// `newest` is the one that the log starts from.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn start(
        folder: PathBuf,
        events: UnboundedSender<SnapshotEvent>,
        every_bytes: u64,
        newest: Option<&SnapshotMeta>,
        audit: AuditSync,
    ) -> Result<Self, SnapshotterError> {
        let store = SnapshotStore::open(&folder)?;
        let known = newest.map(|meta| (meta.index, meta.clone())).into_iter().collect();
        let snapshot_bytes = newest.map_or(Ok(0), |meta| store.size_bytes(meta))?;
        let worker = Worker { store, events, known, sending: BTreeMap::new(), audit };
        Ok(Self {
            folder,
            #[cfg(not(feature = "simulated"))]
            tasks: worker.spawn()?,
            #[cfg(feature = "simulated")]
            worker: std::sync::Mutex::new(worker),
            due: Due { every_bytes, log_bytes: 0, snapshot_bytes, taking: false },
            hashing: false,
            superseding: None,
        })
    }

    /// Called after every applied entry: takes a snapshot when one is due, and a hash if the machine says
    /// so.
    pub fn checkpoint(&mut self, entry: &Entry, machine: &Machine, hash_due: bool, raft: &Raft) {
        let index = entry.index;
        if hash_due && !self.hashing {
            self.hashing = true;
            self.give(Task::Hash { index, machine: machine.clone() });
        }
        self.due.applied(entry.weight_bytes() as u64);
        if self.due.is_now()
            && let Some(meta) = raft.snapshot_meta(index)
        {
            self.due.begun();
            self.give(Task::Take { meta, machine: machine.clone() });
        }
    }

    /// The one that was begun is done; `bytes` is its size, `None` if it could not be written: the
    /// next one is due after as much log again.
    pub fn taken(&mut self, bytes: Option<u64>) {
        self.due.ended(bytes);
    }

    /// A state's hash is known.
    pub fn hashed(&mut self) {
        self.hashing = false;
    }

    /// The core has written `meta` into the log, whose last entry then was `last`.
    pub fn supersedes(&mut self, meta: SnapshotMeta, last: Index) {
        self.superseding = Some((meta, last));
    }

    /// Deletes what a restart cannot need any more: an entry behind the snapshot's own record is
    /// durable, so the record is.
    pub fn clean(&mut self, durable: Index) {
        if self.superseding.as_ref().is_some_and(|(_, last)| durable > *last)
            && let Some((meta, _)) = self.superseding.take()
        {
            self.give(Task::DeleteOlder(meta));
        }
    }

    /// Fetches a piece for a follower.
    pub fn read(&self, read: SnapshotRead) {
        self.give(Task::Read(read));
    }

    /// Writes a piece from the leader.
    pub fn write(&self, write: SnapshotWrite) {
        self.give(Task::Write(write));
    }

    /// The machine that a stored snapshot holds.
    ///
    /// # Errors
    /// If it cannot be read or is damaged.
    pub fn load(&mut self, meta: &SnapshotMeta) -> Result<Machine, SnapshotterError> {
        let machine = load(&self.folder, meta)?;
        self.due.restored(SnapshotStore::reader(&self.folder).size_bytes(meta)?);
        Ok(machine)
    }

    fn give(&self, task: Task) {
        #[cfg(not(feature = "simulated"))]
        if self.tasks.send(task).is_err() {
            tracing::error!("the snapshot worker has ended: no snapshots until this node restarts");
        }
        #[cfg(feature = "simulated")]
        self.worker.lock().unwrap_or_else(std::sync::PoisonError::into_inner).run(task);
    }
}

/// The machine that a stored snapshot holds.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn load(folder: &Path, meta: &SnapshotMeta) -> Result<Machine, SnapshotterError> {
    let mut restore = Restore::new();
    for piece in SnapshotStore::reader(folder).load(meta)? {
        restore.push(&piece)?;
    }
    Ok(restore.finish()?)
}

/// The worker's side.
#[derive(Debug)]
struct Worker {
    store: SnapshotStore,
    events: UnboundedSender<SnapshotEvent>,
    /// The snapshots that are on disk.
    known: BTreeMap<Index, SnapshotMeta>,
    /// What each follower is being sent, and when it asked last.
    sending: BTreeMap<NodeId, (Index, Instant)>,
    audit: AuditSync,
}

impl Worker {
    #[cfg(not(feature = "simulated"))]
    fn spawn(mut self) -> std::io::Result<std::sync::mpsc::Sender<Task>> {
        let (tasks, to_do) = std::sync::mpsc::channel();
        std::thread::Builder::new().name("snapshotter".into()).spawn(move || {
            while let Ok(task) = to_do.recv() {
                self.run(task);
            }
        })?;
        Ok(tasks)
    }

    fn run(&mut self, task: Task) {
        let event = match task {
            Task::Take { meta, machine } => Some(self.take(meta, machine)),
            Task::Read(read) => self.piece(&read),
            Task::Write(write) => self.receive(&write),
            Task::Hash { index, machine } => {
                Some(SnapshotEvent::Hashed(StateHash { index, hash: machine.hash() }))
            }
            Task::DeleteOlder(meta) => self.delete_older(&meta),
        };
        if let Some(event) = event {
            // Nobody listens any more: the node stops.
            let _ = self.events.send(event);
        }
    }

    /// A snapshot that cannot be written is tried again at the next occasion; until then the log is
    /// longer, and nothing is lost.
    fn take(&mut self, meta: SnapshotMeta, machine: Machine) -> SnapshotEvent {
        // The snapshot lets the log forget these entries: what they did must be in the trail by then.
        self.audit.sync(None);
        let written = self.store.write(&meta, machine.snapshot_chunks());
        match written.and_then(|()| self.store.size_bytes(&meta)) {
            Ok(bytes) => {
                self.known.insert(meta.index, meta.clone());
                SnapshotEvent::Taken { meta, bytes }
            }
            Err(error) => {
                tracing::error!(%error, "cannot write a snapshot; the log grows until one succeeds");
                SnapshotEvent::NotTaken
            }
        }
    }

    /// The piece asked for; or the first one of the newest snapshot, if nothing has been sent yet or
    /// that file is gone. A piece that cannot be read is asked for again by the core after a while.
    fn piece(&mut self, read: &SnapshotRead) -> Option<SnapshotEvent> {
        let (meta, offset) = match self.known.get(&read.index) {
            Some(meta) if read.offset > 0 => (meta.clone(), read.offset),
            _ => (self.known.values().next_back()?.clone(), 0),
        };
        self.sending.insert(read.to, (meta.index, Instant::now()));
        match self.store.read_piece(&meta, offset) {
            Ok(piece) => {
                let (to, bytes, last) = (read.to, piece.bytes, piece.last);
                Some(SnapshotEvent::Piece { to, meta, offset, bytes, last })
            }
            Err(error) => {
                tracing::warn!(%error, "cannot read a snapshot for a follower");
                None
            }
        }
    }

    fn receive(&mut self, write: &SnapshotWrite) -> Option<SnapshotEvent> {
        match self.store.receive(write) {
            Ok(Incoming::More { .. }) => None,
            Ok(Incoming::Stored(meta)) => {
                // As in `take`: it will stand for entries that this node has applied.
                self.audit.sync(None);
                self.known.insert(meta.index, meta.clone());
                Some(SnapshotEvent::Stored(meta))
            }
            Err(error) => Some(SnapshotEvent::Broken(error.to_string())),
        }
    }

    /// Spares what followers are being sent, each its own: one whose file is gone has to begin again,
    /// and on a busy cluster would never end.
    fn delete_older(&mut self, than: &SnapshotMeta) -> Option<SnapshotEvent> {
        self.sending.retain(|_, (_, at)| at.elapsed() < SENDING_FOR);
        let spared: BTreeSet<Index> = self.sending.values().map(|(index, _)| *index).collect();
        self.known.retain(|index, _| *index >= than.index || spared.contains(index));
        if let Err(error) = self.store.delete_older(than, &spared) {
            tracing::warn!(%error, "cannot delete old snapshots");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::Due;

    fn due(snapshot_bytes: u64) -> Due {
        Due { every_bytes: 100, log_bytes: 0, snapshot_bytes, taking: false }
    }

    #[test]
    fn a_snapshot_is_due_after_as_much_log_as_the_last_one_has_and_a_least_amount() {
        for (snapshot_bytes, at) in [(0, 100), (99, 100), (5_000, 5_000)] {
            let mut due = due(snapshot_bytes);
            due.applied(at - 1);
            assert!(!due.is_now(), "{snapshot_bytes}");
            due.applied(1);
            assert!(due.is_now(), "{snapshot_bytes}");
        }
    }

    #[test]
    fn one_is_taken_at_a_time_and_what_came_meanwhile_counts_for_the_next() {
        let mut due = due(0);
        due.applied(100);
        due.begun();
        due.applied(300);
        assert!(!due.is_now());
        due.ended(Some(200));
        assert!(due.is_now());
    }

    #[test]
    fn one_that_fails_is_tried_again_after_as_much_log_again() {
        let mut due = due(50);
        due.applied(100);
        due.begun();
        due.ended(None);
        assert!(!due.is_now());
        due.applied(100);
        assert!(due.is_now());
    }
}
