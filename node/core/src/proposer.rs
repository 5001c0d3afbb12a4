//! One process's commands on their way into the log (essay to come with the code).

use bytes::Bytes;

use crate::machine::{Operation, Origin, Outcome};
use crate::raft::Refusal;
use crate::types::{BootCount, BootId, ClusterTime, LocalTime, NodeId};

/// The outstanding commands of one process.
#[derive(Debug)]
pub struct Proposer {
    node: NodeId,
    boot: BootId,
    count: BootCount,
    retry_ms: u64,
}

/// A command that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub sequence: u64,
    /// Some attempt of it was not refused: it may be, or become, applied. False: it never will be.
    pub sent: bool,
    /// Why the last refused attempt was refused.
    pub refusal: Option<Refusal>,
}

impl Proposer {
    /// A process that has not registered yet.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId, count: BootCount, retry_ms: u64) -> Self {
        Self { node, boot, count, retry_ms }
    }

    /// Takes a command in, and numbers it. `cluster_time` is this node's applied time.
    pub fn submit(
        &mut self,
        now: LocalTime,
        cluster_time: ClusterTime,
        operation: Operation,
        deadline: LocalTime,
    ) -> u64 {
        let _ = (now, cluster_time, operation, deadline, self.node, self.boot, self.count);
        self.retry_ms
    }

    /// What to hand to Raft as `Input::Propose` now: tickets, each with its encoded commands.
    pub fn attempts(&mut self, now: LocalTime) -> Vec<(u64, Vec<Bytes>)> {
        let _ = now;
        Vec::new()
    }

    /// Raft did not take a ticket.
    pub fn refused(&mut self, now: LocalTime, ticket: u64, refusal: Refusal) {
        let _ = (now, ticket, refusal);
    }

    /// Another leader: everything outstanding goes out again with the next
    /// [`Proposer::attempts`].
    pub fn leader_changed(&mut self, now: LocalTime) {
        let _ = now;
    }

    /// A command was applied on this node; call it for every answer. `Some` if it is an outstanding
    /// one of this process: it is settled by that. [`Outcome::DiskRefused`], whatever the command:
    /// the node must stop.
    pub fn applied(&mut self, origin: &Origin, outcome: Outcome) -> Option<(u64, Outcome)> {
        let _ = origin;
        Some((0, outcome))
    }

    /// Gives up, and returns, what is past its deadline or was refused for good.
    pub fn expired(&mut self, now: LocalTime) -> Vec<Expired> {
        let _ = now;
        Vec::new()
    }

    /// When [`Proposer::attempts`] or [`Proposer::expired`] next has something to do, if nothing
    /// else happens. `None`: only after something else happens.
    #[must_use]
    pub fn next_wake(&self) -> Option<LocalTime> {
        None
    }

    /// The boot is registered: commands flow.
    #[must_use]
    pub fn registered(&self) -> bool {
        false
    }

    /// How many commands wait for an answer, the registration not counted.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        0
    }
}
