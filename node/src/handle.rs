//! What the rest of the node sees of consensus: submit an operation, wait for a read barrier, look at
//! the published state.
//!
//! The driver (`consensus/driver.rs`) owns the core and the machine. It publishes a frozen copy of
//! the machine and a status after every batch that it applies, so looking costs no message to it.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use dsync_core::machine::{Machine, Operation, Outcome};
use dsync_core::raft::{Membership, RaftStatus};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName};
use tokio::sync::{mpsc, oneshot};

/// Why an operation has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitError {
    /// There was no leader before the deadline. Whether the operation was applied is unknown only if
    /// `sent` is true.
    #[error("no leader")]
    NoLeader {
        /// It had been handed to some leader before.
        sent: bool,
    },
    /// The leader's queue is full; nothing was applied.
    #[error("overloaded")]
    Overloaded,
    /// The deadline passed; the operation may or may not be applied.
    #[error("outcome unknown")]
    Unknown,
    /// This node is shutting down or has stopped; nothing was applied.
    #[error("stopping")]
    Stopping,
    /// This node is not a member of a cluster (yet); nothing was applied.
    #[error("not a member")]
    NotMember,
}

/// An applied operation.
#[derive(Clone, Debug)]
pub struct Applied {
    /// What applying said.
    pub outcome: Outcome,
    /// The entry that carried it.
    pub index: Index,
    /// That entry's stamp.
    pub stamp: ClusterTime,
}

/// A node's view of itself and the cluster.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// This node.
    pub node_id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// This process.
    pub boot_id: BootId,
    /// How many processes have started on this disk.
    pub boot_count: BootCount,
    /// The cluster, once known.
    pub cluster_id: Option<ClusterId>,
    /// Role, term, leader, indexes.
    pub raft: RaftStatus,
    /// The configuration in force, as this node knows it.
    pub membership: Option<Membership>,
    /// Why this node does not take part, if it does not: one sentence for people.
    pub outside: Option<String>,
    /// This process has registered itself in the log and can send commands.
    pub registered: bool,
}

/// What is asked of the driver.
#[derive(Debug)]
pub enum DriverRequest {
    /// Apply an operation exactly once and say what came of it.
    Submit {
        /// What to do.
        operation: Operation,
        /// When to give up.
        deadline: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Applied, SubmitError>>,
    },
    /// Answer once the published machine contains everything answered anywhere before now.
    Barrier {
        /// When to give up.
        deadline: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), SubmitError>>,
    },
    /// Hand the lead over (if this node has it), refuse new work, then stop.
    Drain {
        /// Told when the driver has ended.
        done: oneshot::Sender<()>,
    },
}

/// A cheap, cloneable way to the driver.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    requests: mpsc::Sender<DriverRequest>,
    machine: Arc<ArcSwap<Machine>>,
    status: Arc<ArcSwap<NodeStatus>>,
}

impl NodeHandle {
    /// Joins the three ends. The driver keeps the other ones.
    #[must_use]
    pub fn new(
        requests: mpsc::Sender<DriverRequest>,
        machine: Arc<ArcSwap<Machine>>,
        status: Arc<ArcSwap<NodeStatus>>,
    ) -> Self {
        Self { requests, machine, status }
    }

    /// Applies an operation exactly once, wherever the leader is, and says what came of it.
    ///
    /// # Errors
    /// See [`SubmitError`]; only `Unknown` and `NoLeader { sent: true }` leave the outcome open.
    pub async fn submit(
        &self,
        operation: Operation,
        deadline: Instant,
    ) -> Result<Applied, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(DriverRequest::Submit { operation, deadline, reply }).await?;
        // A driver that ends without a word may have handed the operation to a leader.
        answer.await.unwrap_or(Err(SubmitError::Unknown))
    }

    /// A machine that contains everything answered anywhere before this call (linearizable read).
    ///
    /// # Errors
    /// If no leader confirms it before the deadline.
    pub async fn read(&self, deadline: Instant) -> Result<Arc<Machine>, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(DriverRequest::Barrier { deadline, reply }).await?;
        answer.await.unwrap_or(Err(SubmitError::Stopping))?;
        Ok(self.machine())
    }

    /// This node's applied state: maybe behind the leader's.
    #[must_use]
    pub fn machine(&self) -> Arc<Machine> {
        self.machine.load_full()
    }

    /// This node's view.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        self.status.load_full()
    }

    /// Hands the lead over and stops the driver.
    pub async fn drain(&self) {
        let (done, ended) = oneshot::channel();
        if self.ask(DriverRequest::Drain { done }).await.is_ok() {
            let _ = ended.await;
        }
    }

    async fn ask(&self, request: DriverRequest) -> Result<(), SubmitError> {
        self.requests.send(request).await.map_err(|_| SubmitError::Stopping)
    }
}
