//! Snapshots off the driver's path: writing them, reading pieces of them, receiving them, and hashing
//! states, all in one worker thread in order. The machine comes frozen, so applying goes on meanwhile.
//!
//! Only loading a received snapshot is done on the driver's own time: nothing may be applied before
//! it, and a node that installs one is far behind anyway.

use bytes::Bytes;
use dsync_core::machine::{Machine, Restore, RestoreError};
use dsync_core::raft::{Raft, SnapshotMeta, SnapshotRead, SnapshotWrite, StateHash};
use dsync_core::types::Index;
use tokio::sync::mpsc::UnboundedSender;

use super::inbox::SnapshotEvent;
use crate::storage::{Received, SnapshotStore, SnapshotStoreError};

/// Largest piece sent at once: with its frame it stays below the peers' frame limit.
pub const PIECE_BYTES: usize = 128 << 10;
/// The state is hashed and compared with the other members' every so many entries.
pub const HASH_EVERY_ENTRIES: u64 = 10_000;

/// A snapshot that was promised to be there cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotterError {
    /// The file.
    #[error(transparent)]
    Store(#[from] SnapshotStoreError),
    /// Its content.
    #[error(transparent)]
    Restore(#[from] RestoreError),
}

/// What the worker does.
#[derive(Debug)]
enum Task {
    Take { meta: SnapshotMeta, machine: Machine },
    Read(SnapshotRead),
    Write(SnapshotWrite),
    Hash { index: Index, machine: Machine },
}

/// The driver's side of the worker.
#[derive(Debug)]
pub struct Snapshotter {
    store: SnapshotStore,
    #[cfg(not(feature = "simulated"))]
    tasks: std::sync::mpsc::Sender<Task>,
    #[cfg(feature = "simulated")]
    worker: std::sync::Mutex<Worker>,
    every_entries: u64,
    last_taken: Index,
}

impl Snapshotter {
    /// Starts the worker. A snapshot is taken every `every_entries` applied entries; `last_taken` is
    /// the newest one there is.
    #[must_use]
    pub fn start(
        store: SnapshotStore,
        events: UnboundedSender<SnapshotEvent>,
        every_entries: u64,
        last_taken: Index,
    ) -> Self {
        let worker = Worker { store: store.clone(), events };
        #[cfg(not(feature = "simulated"))]
        return Self { store, tasks: worker.spawn(), every_entries, last_taken };
        #[cfg(feature = "simulated")]
        Self { store, worker: std::sync::Mutex::new(worker), every_entries, last_taken }
    }

    /// Called after every applied entry: takes a snapshot or a hash when one is due.
    pub fn checkpoint(&mut self, index: Index, machine: &Machine, raft: &Raft) {
        if index.0.is_multiple_of(HASH_EVERY_ENTRIES) {
            self.give(Task::Hash { index, machine: machine.clone() });
        }
        if index.0 < self.last_taken.0 + self.every_entries {
            return;
        }
        if let Some(meta) = raft.snapshot_meta(index) {
            self.last_taken = index;
            self.give(Task::Take { meta, machine: machine.clone() });
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
        self.last_taken = meta.index;
        load(&self.store, meta)
    }

    fn give(&self, task: Task) {
        // A worker that is gone has said so; the driver is about to stop.
        #[cfg(not(feature = "simulated"))]
        let _ = self.tasks.send(task);
        #[cfg(feature = "simulated")]
        self.worker.lock().unwrap_or_else(std::sync::PoisonError::into_inner).run(task);
    }
}

/// The machine that a stored snapshot holds.
///
/// # Errors
/// If it cannot be read or is damaged.
pub fn load(store: &SnapshotStore, meta: &SnapshotMeta) -> Result<Machine, SnapshotterError> {
    let mut restore = Restore::new();
    for piece in store.load(meta)? {
        restore.push(&piece?)?;
    }
    Ok(restore.finish()?)
}

/// The worker's side.
#[derive(Debug)]
struct Worker {
    store: SnapshotStore,
    events: UnboundedSender<SnapshotEvent>,
}

impl Worker {
    #[cfg(not(feature = "simulated"))]
    fn spawn(mut self) -> std::sync::mpsc::Sender<Task> {
        let (tasks, to_do) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            while let Ok(task) = to_do.recv() {
                self.run(task);
            }
        });
        tasks
    }

    fn run(&mut self, task: Task) {
        let event = match task {
            Task::Take { meta, machine } => self.take(meta, machine),
            Task::Read(read) => self.piece(&read),
            Task::Write(write) => self.receive(write),
            Task::Hash { index, machine } => {
                Some(SnapshotEvent::Hashed(StateHash { index, hash: machine.hash() }))
            }
        };
        if let Some(event) = event {
            // Nobody listens any more: the node stops.
            let _ = self.events.send(event);
        }
    }

    /// A snapshot that cannot be written is tried again at the next occasion; until then the log is
    /// longer, and nothing is lost.
    fn take(&mut self, meta: SnapshotMeta, machine: Machine) -> Option<SnapshotEvent> {
        match self.store.write(&meta, machine.snapshot_chunks()) {
            Ok(()) => Some(SnapshotEvent::Taken(meta)),
            Err(error) => {
                tracing::error!(%error, "cannot write a snapshot; the log grows until one succeeds");
                None
            }
        }
    }

    /// A piece that cannot be read is asked for again by the core after a while.
    fn piece(&mut self, read: &SnapshotRead) -> Option<SnapshotEvent> {
        match self.store.read_piece(read.index, read.offset, PIECE_BYTES) {
            Ok(piece) => Some(SnapshotEvent::Piece {
                to: read.to,
                meta: piece.meta,
                offset: piece.offset,
                bytes: Bytes::from(piece.bytes),
                last: piece.last,
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot read a snapshot for a follower");
                None
            }
        }
    }

    fn receive(&mut self, write: SnapshotWrite) -> Option<SnapshotEvent> {
        match self.store.receive(&write) {
            Ok(Received::More) => None,
            Ok(Received::Complete) => Some(SnapshotEvent::Stored(write.meta)),
            Err(error) => Some(SnapshotEvent::Broken(error.to_string())),
        }
    }
}
