//! What stands in a log entry's command, and what applying it says.

use serde::{Deserialize, Serialize};

use crate::cache::{RingOperation, RingOutcome};
use crate::locks::{LockOperation, LockOutcome};
use crate::queue::{QueueOperation, QueueOutcome, RegistryOperation, RegistryOutcome};
pub use crate::types::RequestRefusal;
use crate::types::{ActiveTime, BootCount, BootId, ClusterTime, Index, NodeId};

/// A command of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredCommand {
    /// First format.
    V1(Command),
}

/// A command and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Which node sent it, and which of its commands it is.
    pub origin: Origin,
    /// What to do.
    pub operation: Operation,
}

/// Names a client's request, so that it may be sent again, to any node, with one effect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum RequestId {
    /// The client's own word for it (`Idempotency-Key`). Known within the principal, the operation
    /// and the names; kept for a while after it is settled.
    Key(String),
    /// A client that numbers its requests, and says which of them it will never ask about again.
    Numbered {
        /// The client, random.
        client: u64,
        /// Which of its requests, from 1.
        sequence: u64,
        /// Every number below this is settled at the client, and forgotten at once.
        low_water: u64,
    },
}

/// Makes a command exactly-once: it may stand in the log several times, and is applied once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The node that took it in.
    pub node: NodeId,
    /// Its process. A command whose boot is not its node's newest registered one changes nothing.
    pub boot: BootId,
    /// Its number within the process, from 1.
    pub sequence: u64,
    /// Every number below this is settled at the node: it may be forgotten, and is void from now on.
    pub low_water: u64,
    /// The state's [`ActiveTime`] at the node when it took the command in; one that is applied the
    /// retention after it, or later, is void.
    pub taken_at: ActiveTime,
}

/// What to do, by service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Of the nodes themselves.
    Node(NodeOperation),
    /// Of the locks.
    Lock {
        /// Which of its client's requests it is, if the client gave it an id.
        request: Option<RequestId>,
        /// What to do.
        operation: LockOperation,
    },
    /// Of the queues. A push or a settle may hold items of many clients' requests.
    Queue {
        /// Whose items these are; those of requests without an id are nobody's.
        requests: Vec<RequestItems>,
        /// What to do.
        operation: QueueOperation,
    },
    /// Of the ring's members: who is a home of cached keys.
    Ring(RingOperation),
    /// Of the registry of topics that are in Redis. Each may be done twice with one effect.
    QueueRegistry(RegistryOperation),
}

/// Some neighbouring items of an operation that belong to one request of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestItems {
    /// Who asks.
    pub principal: String,
    /// The client's id for its request.
    pub request: RequestId,
    /// The first of them, by its place in the operation.
    pub first: u32,
    /// How many.
    pub count: u32,
    /// Place of the first of them in its request.
    pub position: u32,
}

impl RequestItems {
    /// The item at this place of the operation is one of these.
    #[must_use]
    pub fn contains(&self, at: u32) -> bool {
        at >= self.first && at - self.first < self.count
    }
}

/// What a node says of itself and of others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeOperation {
    /// A process introduces itself before its first other command.
    RegisterBoot {
        /// How many processes its disk has seen, this one included.
        count: BootCount,
    },
    /// A process is silent: nobody listens there until it says otherwise. Proposed by the leader.
    LoseListeners(BootId),
    /// The sending process listens again.
    ResumeListeners,
    /// The sending process drains: nobody listens there any more.
    StopListening,
    /// Changes nothing, and brings its origin's low-water mark: sent for a command that was given up
    /// and may still lie in somebody's log, so that it is void from then on.
    RaiseLowWater,
}

impl Operation {
    /// An operation of the locks without a request id.
    #[must_use]
    pub fn lock(operation: LockOperation) -> Self {
        Self::Lock { request: None, operation }
    }

    /// An operation of the queues whose items have no request ids.
    #[must_use]
    pub fn queue(operation: QueueOperation) -> Self {
        Self::Queue { requests: Vec::new(), operation }
    }

    /// Refused before others when the leader has much under way: locks are to have room always.
    #[must_use]
    pub fn yields(&self) -> bool {
        matches!(self, Self::Queue { .. } | Self::QueueRegistry(_))
    }

    /// What it counts for in the window of commands without an answer: its items, each of which has an
    /// outcome of its own.
    #[must_use]
    pub fn items(&self) -> u64 {
        match self {
            Self::Node(_) | Self::Lock { .. } | Self::QueueRegistry(_) | Self::Ring(_) => 1,
            Self::Queue { operation, .. } => operation.items().max(1),
        }
    }

    /// Its client's id for it. Items of queues have ids of their own.
    #[must_use]
    pub fn request(&self) -> Option<&RequestId> {
        match self {
            Self::Node(_) | Self::Queue { .. } | Self::QueueRegistry(_) | Self::Ring(_) => None,
            Self::Lock { request, .. } => request.as_ref(),
        }
    }

    /// The same under its client's id for it. What a node does by itself has none, and items of queues
    /// have their own.
    #[must_use]
    pub fn with_request(self, request: Option<RequestId>) -> Self {
        match self {
            Self::Node(_) | Self::Queue { .. } | Self::QueueRegistry(_) | Self::Ring(_) => self,
            Self::Lock { operation, .. } => Self::Lock { request, operation },
        }
    }
}

/// A command that was applied, and where: the first of its copies, if the log holds several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// What applying said.
    pub outcome: Outcome,
    /// The entry that carried it.
    pub index: Index,
    /// Cluster time then.
    pub stamp: ClusterTime,
}

/// What applying a command says to the one who sent it. Kept in the state, and in snapshots, until
/// its sender says that it needs it no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Another process of the same disk has used this boot count or a later one: the disk was copied
    /// or restored, and this node must stop. Also the answer to any later command of a process that
    /// was registered once and is no longer the newest: whether an earlier copy of that command was
    /// applied is then forgotten, so it cannot be called void.
    DiskRefused,
    /// Not applied and never will be: too late, or below the low-water mark.
    Void,
    /// The request's id says that it must not be applied.
    RequestRefused(RequestRefusal),
    /// Of [`Operation::Node`].
    Node(NodeOutcome),
    /// Of [`Operation::Lock`].
    Lock(LockOutcome),
    /// Of [`Operation::Queue`].
    Queue(QueueOutcome),
    /// Of [`Operation::Ring`].
    Ring(RingOutcome),
    /// Of [`Operation::QueueRegistry`].
    QueueRegistry(RegistryOutcome),
}

/// What came of a [`NodeOperation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeOutcome {
    /// The boot is registered.
    BootRegistered,
    /// Of [`NodeOperation::LoseListeners`], [`NodeOperation::ResumeListeners`] and
    /// [`NodeOperation::StopListening`].
    ListenersNoted,
    /// Of [`NodeOperation::RaiseLowWater`].
    LowWaterRaised {
        /// The command's own number: what its process sent before has a lower one.
        sequence: u64,
    },
}
