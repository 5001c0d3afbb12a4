//! The door of the core: what goes in, what comes out, and the lock on what must wait for the disk.
//!
//! Persist-before-reply is a type here. A message that depends on the disk stays inside the core,
//! sealed under the number of the batch it depends on. The batch leaves in a [`Ready`] as a
//! [`PersistBatch`]; taking its records out yields the only [`SyncToken`] for it; only that token
//! makes the [`SyncProof`] that opens the seal. A shell that forgets to sync sends nothing.

use bytes::Bytes;

use super::entry::{Entry, Record, SnapshotMeta};
use super::membership::Founding;
use super::message::{Commands, Envelope, Refusal, StateHash};
use crate::types::{BootCount, BootId, ClusterTime, Index, NodeId};

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A message arrived.
    Message(Envelope),
    /// Take these commands into the log, here or at the leader. Nothing comes back if it works: the
    /// entries are applied. A refusal comes back in [`Ready::refused`].
    Propose {
        /// Number of this attempt.
        ticket: u64,
        /// What to take in, all or none.
        commands: Commands,
    },
    /// Tell when this node's applied state contains everything answered anywhere before now
    /// (linearizable read). The answer comes in [`Ready::reads`]; none at all is possible, so ask
    /// again with another number after a while.
    Read {
        /// Number of this attempt.
        id: u64,
    },
    /// A batch is synced.
    Persisted(SyncProof),
    /// The machine has applied up to here.
    Applied {
        /// Last entry applied.
        index: Index,
        /// When the machine next has something to end. `None`: nothing is timed.
        next_due: Option<ClusterTime>,
    },
    /// This process's registration is applied; it stands here.
    BootRegistered {
        /// Its index.
        index: Index,
    },
    /// The state's hash at a checkpoint.
    StateHash(StateHash),
    /// Hand the lead over, to this node or to the most advanced.
    Transfer {
        /// Whom, if it matters.
        to: Option<NodeId>,
    },
    /// The connection to this member broke: what was under way may be lost.
    Unreachable(NodeId),
    /// A snapshot of the own machine is complete and synced.
    SnapshotTaken(SnapshotMeta),
    /// The piece asked for by [`Ready::snapshot_reads`].
    SnapshotData {
        /// For which follower.
        to: NodeId,
        /// Of which snapshot.
        meta: SnapshotMeta,
        /// From which byte.
        offset: u64,
        /// The bytes.
        bytes: Bytes,
        /// They are its end.
        last: bool,
    },
    /// A snapshot received through [`Ready::snapshot_writes`] is complete, checked and synced under
    /// its final name.
    SnapshotStored(SnapshotMeta),
    /// A received piece could not be written, or the whole did not pass its checks: start over.
    SnapshotBroken,
    /// Hold this founding proposal as entry 1. Only on an empty disk.
    Found(Founding),
}

/// What the shell has to do now. All of it may run at once, except: `restore` before `apply`, and a
/// later `Ready`'s records after this one's.
#[derive(Debug, Default)]
pub struct Ready {
    /// To write and sync, in order.
    pub persist: Option<PersistBatch>,
    /// To send; nothing of it waits for `persist`.
    pub send: Vec<Envelope>,
    /// Replace the machine by this stored snapshot before applying.
    pub restore: Option<SnapshotMeta>,
    /// Committed entries to apply, in order.
    pub apply: Vec<Entry>,
    /// Reads that may be answered from the applied state now, as of this cluster time; `None`: they have
    /// to be asked again.
    pub reads: Vec<(u64, Option<ClusterTime>)>,
    /// Proposals that were not taken.
    pub refused: Vec<(u64, Refusal)>,
    /// Pieces of the current snapshot that followers need.
    pub snapshot_reads: Vec<SnapshotRead>,
    /// Pieces to write into the snapshot being received.
    pub snapshot_writes: Vec<SnapshotWrite>,
    /// The node must stop.
    pub fatal: Option<Fatal>,
}

impl Ready {
    /// True if there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.persist.is_none()
            && self.send.is_empty()
            && self.restore.is_none()
            && self.apply.is_empty()
            && self.reads.is_empty()
            && self.refused.is_empty()
            && self.snapshot_reads.is_empty()
            && self.snapshot_writes.is_empty()
            && self.fatal.is_none()
    }
}

/// Asks the shell for a piece of the newest stored snapshot; answered by [`Input::SnapshotData`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRead {
    /// For which follower.
    pub to: NodeId,
    /// Of which snapshot. If the shell has a newer one only, it answers with that from byte 0.
    pub index: Index,
    /// From which byte.
    pub offset: u64,
}

/// A piece of a snapshot that the leader sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotWrite {
    /// Which snapshot.
    pub meta: SnapshotMeta,
    /// Where the bytes belong. 0 starts over.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
    /// They are its end: check it, sync it, give it its name, say [`Input::SnapshotStored`].
    pub last: bool,
}

/// Why a node must stop for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Two founding proposals met before either was confirmed.
    #[error(
        "bootstrap_conflict: two founding proposals meet, {ours} and {theirs}; start the nodes again on empty disks with one list of founders"
    )]
    BootstrapConflict {
        /// The one held here.
        ours: crate::types::ClusterId,
        /// The one that came.
        theirs: crate::types::ClusterId,
    },
    /// This disk is a copy, or was set back to an earlier state. The shell writes that down in the
    /// folder: it holds for every later process.
    #[error(
        "disk_refused: this data folder is a copy or was restored from an earlier state: it has held the log up to entry {held} and now ends at {recovered}; it must not take part again: start the newer folder, or run on without it"
    )]
    DiskRefused {
        /// The process that was refused.
        boot: BootId,
        /// What its disk is known to have held.
        held: Index,
        /// What it holds.
        recovered: Index,
    },
    /// Another process of this node is as new, or newer. Nothing is written down: the folder may be
    /// that process's by now.
    #[error(
        "boot_superseded: start {ours} of this data folder is not the newest, start {newest} is known: the folder is a copy, or was taken over; start the newer folder, or run on without it"
    )]
    BootSuperseded {
        /// The count of this process.
        ours: BootCount,
        /// The count of the newest.
        newest: BootCount,
    },
    /// This member's state differs from the quorum's.
    #[error("state_diverged: the state after entry {index} differs from the quorum's")]
    StateDiverged {
        /// Where it was noticed.
        index: Index,
    },
}

/// Records to write, in order, and sync.
#[derive(Debug)]
pub struct PersistBatch {
    number: u64,
    records: Vec<Record>,
}

impl PersistBatch {
    pub(super) fn new(number: u64, records: Vec<Record>) -> Self {
        Self { number, records }
    }

    /// The records, and the duty that comes with them.
    pub fn into_parts(self) -> (Vec<Record>, SyncToken) {
        (self.records, SyncToken(self.number))
    }
}

/// The duty to sync one batch. Cannot be copied or made by hand.
#[derive(Debug)]
#[must_use]
pub struct SyncToken(u64);

impl SyncToken {
    /// Declares that the batch of this token, and every earlier one, is durable: call it when
    /// `fdatasync` has returned success, and at no other time.
    #[must_use]
    pub fn synced(self) -> SyncProof {
        SyncProof(self.0)
    }
}

/// Proof that a batch, and all before it, is durable.
#[derive(Debug)]
pub struct SyncProof(u64);

impl SyncProof {
    pub(super) fn number(&self) -> u64 {
        self.0
    }
}
