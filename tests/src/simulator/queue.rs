//! What will happen, in the order in which it will: by time, and at equal times by who came first.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use dsync_core::raft::{Boot, Envelope, Introduction};
use dsync_core::types::{Index, NodeId};

use super::ask::{Answer, Ask};
use super::disk::SnapshotFile;
use super::time::Instant;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// Bytes arrive at a machine.
    Deliver(Delivery),
    /// Something happens to one process, and only to that one: a restart voids it.
    Process { slot: usize, generation: u64, event: ProcessEvent },
    /// A sync ends.
    Synced { slot: usize, generation: u64 },
    /// A machine starts its process.
    Start { slot: usize },
    /// A stopped process goes on.
    Resume { slot: usize },
    /// The faults' turn.
    Fault,
    /// A cut of the network ends.
    Mend { cut: u64 },
    /// A client's turn.
    Wake { client: usize },
    /// A client has waited long enough for this operation.
    GiveUp { client: usize, op: u64 },
    /// An answer reaches a client.
    Answered { client: usize, op: u64, answer: Box<Answer>, at: Index },
}

/// What travels between machines.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// Connection it was sent on; a reset voids it.
    pub(crate) epoch: u64,
    pub(crate) parcel: Parcel,
}

/// What arrives.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    /// And the process that has sent it.
    Message(Box<Envelope>, Boot),
    Introduction(Box<Introduction>),
}

/// What happens inside one process.
#[derive(Debug)]
pub(crate) enum ProcessEvent {
    Tick,
    Arrived {
        from: usize,
        parcel: Parcel,
    },
    Persisted(dsync_core::raft::SyncProof),
    /// The oldest piece of applying work is done.
    Worked,
    /// A file is synced under its final name: the own machine's, or one that was received.
    FileStored {
        file: Box<SnapshotFile>,
        received: bool,
    },
    /// A client's request.
    Asked {
        client: usize,
        op: u64,
        ask: Box<Ask>,
    },
    /// The client that asked this has closed its connection.
    HungUp {
        client: usize,
        op: u64,
    },
    /// A connection broke.
    Unreachable(NodeId),
    /// Somebody floods this node with commands.
    Flood {
        commands: usize,
        bytes: usize,
    },
    /// An administrator asks it to stop in order.
    Drain,
    /// An administrator asks to hand the lead over.
    Transfer {
        to: Option<NodeId>,
    },
}

#[derive(Debug)]
struct Scheduled {
    at: Instant,
    sequence: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.sequence == other.sequence
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    /// Reversed: the heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}

/// The future.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Scheduled>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn push(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.heap.push(Scheduled { at, sequence: self.sequence, event });
    }

    /// The next event, if it happens before `end`.
    pub(crate) fn pop(&mut self, end: Instant) -> Option<(Instant, Event)> {
        if self.heap.peek()?.at >= end {
            return None;
        }
        self.heap.pop().map(|next| (next.at, next.event))
    }
}
