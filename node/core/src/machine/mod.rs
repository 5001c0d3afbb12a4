//! The replicated machine (essay to come with the code).

mod command;
mod settings;
mod snapshot;

use std::collections::BTreeMap;

pub use command::{Command, Operation, Origin, Outcome, StoredCommand};
pub use settings::{FirstState, Settings};
pub use snapshot::{Restore, RestoreError};

use crate::locks::{LockTable, LocksView};
use crate::raft::Entry;
use crate::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName};
use crate::wire::DecodeError;

/// The replicated state: everything that applying the log has made. A clone is a frozen copy and
/// costs nothing; the default is the state before the founding entry.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    applied: Index,
    time: ClusterTime,
    locks: LockTable,
}

/// What applying one entry did.
#[derive(Debug)]
pub struct AppliedEntry {
    /// The entry.
    pub index: Index,
    /// Its stamp.
    pub stamp: ClusterTime,
    /// For a command: whose it is and what came of it.
    pub answer: Option<(Origin, Outcome)>,
    /// The entry holds bytes that this release cannot read; it changed nothing but the time.
    pub undecodable: Option<DecodeError>,
}

impl Machine {
    /// Applies the next committed entry.
    pub fn apply(&mut self, entry: &Entry) -> AppliedEntry {
        self.applied = entry.index;
        self.time = self.time.max(entry.stamp);
        AppliedEntry { index: entry.index, stamp: self.time, answer: None, undecodable: None }
    }

    /// The cluster, once the founding entry is applied.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        None
    }

    /// The founders; empty before the founding entry.
    #[must_use]
    pub fn founders(&self) -> &BTreeMap<NodeId, NodeName> {
        static NONE: BTreeMap<NodeId, NodeName> = BTreeMap::new();
        &NONE
    }

    /// The settings, once founded.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        None
    }

    /// The last entry applied.
    #[must_use]
    pub fn applied(&self) -> Index {
        self.applied
    }

    /// Cluster time: the highest stamp applied.
    #[must_use]
    pub fn time(&self) -> ClusterTime {
        self.time
    }

    /// When the next lease, claim or place ends; not later than [`Machine::time`] while some that
    /// have ended are still to be cleared away. `None`: nothing is timed.
    #[must_use]
    pub fn next_due(&self) -> Option<ClusterTime> {
        None
    }

    /// The locks as of [`Machine::time`].
    #[must_use]
    pub fn locks(&self) -> LocksView<'_> {
        self.locks.view(self.time)
    }

    /// The newest registered boot of every node, in id order.
    pub fn boots(&self) -> impl Iterator<Item = (NodeId, BootId, BootCount)> + '_ {
        std::iter::empty()
    }

    /// A hash of the whole state. Equal states have equal hashes, however they came about. It costs
    /// as much as writing a snapshot, so take it from a frozen copy.
    #[must_use]
    pub fn hash(&self) -> u64 {
        0
    }

    /// Checks what must hold between any two entries; for tests and the simulator.
    ///
    /// # Errors
    /// A sentence that names the broken rule.
    pub fn check_invariants(&self) -> Result<(), String> {
        Ok(())
    }
}
