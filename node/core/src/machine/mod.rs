//! The replicated machine: everything that applying the log has made.
//!
//! Applying is a pure function of the state and the entry. No clock (the entry carries its stamp),
//! no hash order, no floats, no setting of the own node: the same log gives the same state on every
//! node, in every release of one feature level. [`Machine::hash`] is how nodes check that on each
//! other.
//!
//! One entry is applied in this order, and the order is part of the protocol:
//!
//! 1. its stamp moves time: what has ended by then ends ([`crate::locks`], `lease.rs`);
//! 2. its command's origin is checked: process, number, age (`session.rs`);
//! 3. its operation acts, and its outcome is remembered until its sender needs it no more.
//!
//! All state lives in persistent maps, so a clone is a frozen copy that costs nothing: the node
//! publishes one after every batch for readers, and writes snapshots from one while applying goes on.

mod command;
mod restore;
mod session;
mod settings;
mod snapshot;

#[cfg(test)]
mod machine_test;
#[cfg(test)]
mod snapshot_test;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use command::{Command, Operation, Origin, Outcome, RequestId, RequestRefusal, StoredCommand};
pub use restore::{Restore, RestoreError};
use rpds::RedBlackTreeMapSync;
pub use settings::{FirstState, Settings};
pub use snapshot::StoredChunk;

use crate::audit::{AuditHead, AuditRecord};
use crate::locks::{LockTable, LocksView, Turn};
use crate::raft::{Entry, Founding, Payload};
use crate::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName};
use crate::wire::{self, DecodeError};
use session::{Admission, Session};

/// The replicated state. A clone is a frozen copy and costs nothing; the default is the state before
/// the founding entry.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    applied: Index,
    /// The highest stamp applied.
    time: ClusterTime,
    /// Set by entry 1. Until then nothing else changes.
    founded: Option<Arc<Founded>>,
    sessions: RedBlackTreeMapSync<NodeId, Session>,
    locks: LockTable,
    audit: AuditHead,
}

/// What the founding entry fixed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct Founded {
    cluster_id: ClusterId,
    founders: BTreeMap<NodeId, NodeName>,
    settings: Settings,
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
    /// What happened to locks, in order.
    pub events: Vec<AuditRecord>,
    /// The entry holds bytes that this release cannot read. It changed nothing but the time, and
    /// nobody gets an answer.
    pub undecodable: Option<DecodeError>,
}

impl Machine {
    /// Applies the next committed entry.
    pub fn apply(&mut self, entry: &Entry) -> AppliedEntry {
        debug_assert_eq!(
            entry.index,
            self.applied.next(),
            "entries are applied in order, each once"
        );
        self.applied = entry.index;
        self.time = self.time.max(entry.stamp);
        let effect = match self.founded.clone() {
            Some(founded) => self.apply_founded(&founded.settings, &entry.payload),
            None => self.apply_unfounded(&entry.payload),
        };
        let (answer, undecodable) = match effect {
            Ok(answer) => (answer, None),
            Err(error) => (None, Some(error)),
        };
        AppliedEntry { index: entry.index, stamp: self.time, answer, events: Vec::new(), undecodable }
    }

    /// The cluster, once the founding entry is applied.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.founded.as_ref().map(|founded| founded.cluster_id)
    }

    /// The founders, once founded.
    #[must_use]
    pub fn founders(&self) -> Option<&BTreeMap<NodeId, NodeName>> {
        self.founded.as_ref().map(|founded| &founded.founders)
    }

    /// The settings, once founded.
    #[must_use]
    pub fn settings(&self) -> Option<&Settings> {
        self.founded.as_ref().map(|founded| &founded.settings)
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
        self.locks.next_due()
    }

    /// The locks as of [`Machine::time`].
    #[must_use]
    pub fn locks(&self) -> LocksView<'_> {
        self.locks.view(self.time)
    }

    /// The end of the audit trail.
    #[must_use]
    pub fn audit(&self) -> AuditHead {
        self.audit
    }

    /// The newest registered process of every node, in id order.
    pub fn boots(&self) -> impl Iterator<Item = (NodeId, BootId, BootCount)> + '_ {
        self.sessions.iter().map(|(node, session)| (*node, session.boot, session.count))
    }

    /// Checks what must hold between any two entries; for tests and the simulator.
    ///
    /// # Errors
    /// A sentence that names the broken rule.
    pub fn check_invariants(&self) -> Result<(), String> {
        for (node, session) in &self.sessions {
            let below = session.answers.first().is_some_and(|(at, _)| *at < session.low_water);
            if below {
                return Err(format!("node {node}: an answer below the low-water mark is kept"));
            }
        }
        self.locks.check_invariants(self.time)
    }

    fn apply_founded(
        &mut self,
        settings: &Settings,
        payload: &Payload,
    ) -> Result<Option<(Origin, Outcome)>, DecodeError> {
        let mut turn = Turn::new(self.applied, self.time, settings.lock_rules());
        self.locks.advance(&mut turn);
        let Payload::Command(bytes) = payload else { return Ok(None) };
        let StoredCommand::V1(command) = wire::decode("command", bytes)?;
        Ok(Some(self.execute(&mut turn, &command)))
    }

    fn apply_unfounded(
        &mut self,
        payload: &Payload,
    ) -> Result<Option<(Origin, Outcome)>, DecodeError> {
        if let Payload::Founding(founding) = payload {
            self.found(founding)?;
        }
        Ok(None)
    }

    fn found(&mut self, founding: &Founding) -> Result<(), DecodeError> {
        let FirstState::V1 { settings, token_base } =
            wire::decode("first state", &founding.machine)?;
        self.locks = LockTable::new(token_base);
        self.founded = Some(Arc::new(Founded {
            cluster_id: founding.cluster_id,
            founders: founding.founders.clone(),
            settings,
        }));
        Ok(())
    }

    fn execute(&mut self, turn: &mut Turn, command: &Command) -> (Origin, Outcome) {
        let origin = command.origin;
        let outcome = match &command.operation {
            Operation::RegisterBoot { count } => self.register(&origin, *count),
            operation => self.execute_once(turn, &origin, operation),
        };
        (origin, outcome)
    }

    /// Needs no number and no age to be safe: a repeat, however late, either names the process that
    /// is registered, or a count that is no longer higher.
    fn register(&mut self, origin: &Origin, count: BootCount) -> Outcome {
        let known = self.sessions.get(&origin.node);
        if known.is_some_and(|session| session.boot == origin.boot) {
            return Outcome::BootRegistered;
        }
        if known.is_some_and(|session| session.count >= count) {
            return Outcome::DiskRefused;
        }
        self.sessions.insert_mut(origin.node, Session::new(origin.boot, count));
        Outcome::BootRegistered
    }

    fn execute_once(&mut self, turn: &mut Turn, origin: &Origin, operation: &Operation) -> Outcome {
        let Some(session) = self.sessions.get_mut(&origin.node) else { return Outcome::Void };
        if let Admission::Settled(outcome) = session.admit(origin) {
            return outcome;
        }
        let outcome =
            if self.is_too_late(origin) { Outcome::Void } else { self.act(turn, operation) };
        if let Some(session) = self.sessions.get_mut(&origin.node) {
            session.remember(origin.sequence, outcome.clone());
        }
        outcome
    }

    fn is_too_late(&self, origin: &Origin) -> bool {
        let retention_ms = self.settings().map_or(0, |settings| settings.command_retention_ms);
        self.time.since(origin.taken_at) > retention_ms
    }

    fn act(&mut self, turn: &mut Turn, operation: &Operation) -> Outcome {
        match operation {
            Operation::AcquireLock(ask) => Outcome::Acquire(self.locks.acquire(turn, ask)),
            Operation::ReleaseLock(release) => Outcome::Release(self.locks.release(turn, release)),
            _ => Outcome::Hold(crate::locks::HoldOutcome::NotHeld),
        }
    }
}
