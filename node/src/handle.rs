//! What the rest of the node sees of consensus: submit an operation, wait for a read barrier, look at
//! the published state.
//!
//! The driver (`consensus/driver/`) owns the core and the machine. It publishes a frozen copy of
//! the machine and a status after every batch that it applies, so looking costs no message to it.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use dsync_core::cache::{Incarnation, Process};
use dsync_core::locks::{Acquire, LockOperation, Upgrade};
pub use dsync_core::machine::Applied;
use dsync_core::machine::{Machine, Operation, RequestId};
use dsync_core::raft::{Membership, RaftStatus};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, LocalTime, NodeId, NodeName};
pub use dsync_core::waits::{ReadState, SubmitError};
use dsync_redis_store::RedisStore;
use tokio::sync::{mpsc, oneshot};

use crate::events::Events;
use crate::queues::Queues;
use crate::ring::RingMember;
use crate::waits::{self, Answer, HandleClock, Listeners, Patience, UpkeepTask};

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
    /// Answer once the published machine contains everything answered anywhere before now, with the
    /// cluster time at the leader.
    Barrier {
        /// When to give up.
        deadline: Instant,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<ClusterTime, SubmitError>>,
    },
    /// Ask whoever leads for a home's lease.
    HomeLease {
        /// The home, of this process.
        home: Incarnation,
        /// When it asks.
        sent_at: LocalTime,
        /// Told if the lease is granted; dropped if it is not, or not in time.
        granted: oneshot::Sender<()>,
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
    listeners: Arc<Listeners>,
    queues: Arc<Queues>,
    ring: Arc<RingMember>,
    events: Events,
    clock: HandleClock,
    _upkeep: Arc<UpkeepTask>,
}

/// A way to the driver that does not keep it running.
#[derive(Clone, Debug)]
pub(crate) struct WeakDriver(mpsc::WeakSender<DriverRequest>);

impl NodeHandle {
    /// Joins the three ends. The driver keeps the other ones. `redis`: where topics may be that are not in
    /// the log. Within a tokio runtime.
    #[must_use]
    pub fn new(
        requests: mpsc::Sender<DriverRequest>,
        machine: Arc<ArcSwap<Machine>>,
        status: Arc<ArcSwap<NodeStatus>>,
        redis: Option<Arc<RedisStore>>,
    ) -> Self {
        let listeners = Arc::new(Listeners::new(status.load().boot_id));
        let events = Events::new(machine.load().audit().count);
        let driver = WeakDriver(requests.downgrade());
        let boot = status.load().boot_id;
        let queues = Arc::new(Queues::new(boot, machine.clone(), driver.clone(), redis));
        let process = Process { node: status.load().node_id, boot };
        let ring = Arc::new(RingMember::new(process, machine.clone(), driver.clone()));
        let upkeep = UpkeepTask::start(listeners.clone(), machine.clone(), driver);
        let (clock, _upkeep) = (HandleClock::start(), Arc::new(upkeep));
        Self { requests, machine, status, listeners, queues, ring, events, clock, _upkeep }
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
        submit(&self.requests, operation, deadline).await
    }

    /// Asks for locks, and waits for them as long as the client does. `ask.attachment` and
    /// `ask.queue` are set here. A client that hangs up drops this future.
    ///
    /// # Errors
    /// See [`SubmitError`]. After `Unknown` and `NoLeader { sent: true }` the request is given up in
    /// the background; after `Stopping` its place is kept for a while, for the same request on
    /// another node.
    pub async fn acquire(
        &self,
        request: Option<RequestId>,
        ask: Acquire,
        patience: Patience,
    ) -> Result<Answer, SubmitError> {
        let queue = !patience.wait.is_zero();
        let operation = |attachment| {
            let ask = Acquire { queue, attachment: Some(attachment), ..ask };
            Operation::Lock { request, operation: LockOperation::Acquire(ask) }
        };
        waits::ask(self, &self.listeners, patience.asks(operation)).await
    }

    /// Asks for a shared lock of a hold to become exclusive, and waits for it. Otherwise as
    /// [`NodeHandle::acquire`]; a wish that is given up leaves the shared hold as it is.
    ///
    /// # Errors
    /// See [`NodeHandle::acquire`].
    pub async fn upgrade(
        &self,
        request: Option<RequestId>,
        ask: Upgrade,
        patience: Patience,
    ) -> Result<Answer, SubmitError> {
        let queue = !patience.wait.is_zero();
        let operation = |attachment| {
            let ask = Upgrade { queue, attachment: Some(attachment), ..ask };
            Operation::Lock { request, operation: LockOperation::Upgrade(ask) }
        };
        waits::ask(self, &self.listeners, patience.asks(operation)).await
    }

    /// What this node's clients push, receive and settle.
    #[must_use]
    pub fn queues(&self) -> &Arc<Queues> {
        &self.queues
    }

    /// This node's part in the ring of the caches' homes.
    #[must_use]
    pub fn ring(&self) -> &Arc<RingMember> {
        &self.ring
    }

    /// What happens to locks, as this node applies it.
    #[must_use]
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// The requests of this node that are open.
    #[must_use]
    pub fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// A state that contains everything answered anywhere before this call (linearizable read).
    ///
    /// # Errors
    /// If no leader confirms it before the deadline.
    pub async fn read(&self, deadline: Instant) -> Result<ReadState, SubmitError> {
        let (reply, answer) = oneshot::channel();
        self.ask(DriverRequest::Barrier { deadline, reply }).await?;
        let time = answer.await.unwrap_or(Err(SubmitError::Stopping))?;
        Ok(ReadState::new(self.machine(), time))
    }

    /// This node's applied state, maybe behind the leader's, at the time that the leader said last.
    #[must_use]
    pub fn stale_state(&self) -> ReadState {
        ReadState::new(self.machine(), self.status().raft.time)
    }

    /// This node's applied state: maybe behind the leader's.
    #[must_use]
    pub fn machine(&self) -> Arc<Machine> {
        self.machine.load_full()
    }

    /// The clock that its waiting requests go by.
    #[must_use]
    pub(crate) fn clock(&self) -> HandleClock {
        self.clock
    }

    /// This node's view.
    #[must_use]
    pub fn status(&self) -> Arc<NodeStatus> {
        self.status.load_full()
    }

    /// Tells everybody who waits here to go elsewhere, with the machine's word that their places are
    /// kept; then hands the lead over and stops the driver.
    pub async fn drain(&self) {
        self.events.close();
        self.queues.stop();
        if let Err(error) = waits::stop_listening(self, &self.listeners).await {
            tracing::warn!(%error, "stopping without having said so to the cluster");
        }
        let (done, ended) = oneshot::channel();
        if self.ask(DriverRequest::Drain { done }).await.is_ok() {
            let _ = ended.await;
        }
    }

    async fn ask(&self, request: DriverRequest) -> Result<(), SubmitError> {
        self.requests.send(request).await.map_err(|_| SubmitError::Stopping)
    }
}

impl WeakDriver {
    /// See [`NodeHandle::submit`].
    pub(crate) async fn submit(
        &self,
        operation: Operation,
        deadline: Instant,
    ) -> Result<Applied, SubmitError> {
        let requests = self.0.upgrade().ok_or(SubmitError::Stopping)?;
        submit(&requests, operation, deadline).await
    }

    /// False: the driver has ended.
    pub(crate) async fn ask(&self, request: DriverRequest) -> bool {
        match self.0.upgrade() {
            Some(requests) => requests.send(request).await.is_ok(),
            None => false,
        }
    }
}

async fn submit(
    requests: &mpsc::Sender<DriverRequest>,
    operation: Operation,
    deadline: Instant,
) -> Result<Applied, SubmitError> {
    let (reply, answer) = oneshot::channel();
    let request = DriverRequest::Submit { operation, deadline, reply };
    requests.send(request).await.map_err(|_| SubmitError::Stopping)?;
    // A driver that ends without a word may have handed the operation to a leader.
    answer.await.unwrap_or(Err(SubmitError::Unknown))
}
