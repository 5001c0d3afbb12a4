//! The loop that owns the core and the machine.
//!
//! One task, so that nothing in here needs a lock. Each turn: wait for something, take in whatever
//! else has happened meanwhile, let the core think once, then carry out what it asks for. Taking in
//! many events per turn is what makes batches: one sync for many commands, one append for many
//! entries, one confirmation round for many reads.
//!
//! What is flushed before a reply? Nothing is decided here: the core keeps what must wait for the disk
//! to itself until the proof of the sync comes back (`dsync_core::raft`, `ready.rs`). The driver hands
//! batches to the writer in order and never waits for it; sends go out at once.
//!
//! A client's answer comes from this node's own applied state: its entry is applied here, the machine
//! is published, then the waiting request is answered. So a client that reads on the same node
//! afterwards sees what it did.
//!
//! What comes in is in `intake.rs`, what the core asks for in `carry_out.rs`, what others see of it in
//! `shown.rs`, the end in `drain.rs`.

mod carry_out;
mod drain;
mod home_leases;
mod intake;
mod shown;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dsync_core::machine::Machine;
use dsync_core::proposer::Proposer;
use dsync_core::raft::{Entry, Fatal, Input, Raft};
use dsync_core::types::{Index, NodeId};
use dsync_core::waits::Watch;
use tokio::time::Instant;

use self::drain::Draining;
use self::home_leases::LeaseDesk;
use super::founder::Founder;
use super::inbox::{DiskEvent, Event, Inbox};
use super::reads::Reads;
use super::snapshotter::{Snapshotter, SnapshotterError};
use super::waiters::Waiters;
use crate::audit::AuditPort;
use crate::clock;
use crate::events::Events;
use crate::handle::NodeStatus;
use crate::health::Health;
use crate::log_port::LogPort;
use crate::metrics::Metrics;
use crate::peers::{Introduction, Peers};
use crate::queues::Queues;
use crate::ring::RingMember;
use crate::waits::Listeners;

/// Events taken in at most before the core gets its turn.
const EVENTS_PER_TURN: usize = 1_024;
/// However much there is to do, the core's clock beats this often.
const TICK_AT_LEAST: Duration = Duration::from_millis(10);

/// Why the driver ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It was asked to.
    #[error("drained")]
    Drained,
    /// The core refuses to go on.
    #[error(transparent)]
    Core(#[from] Fatal),
    /// The log could not be written or synced; what is in memory must not be acted upon any more.
    #[error("the log failed: {0}")]
    Disk(String),
    /// A part of the node has ended without a word (a panic, most likely).
    #[error("{0} has ended unexpectedly")]
    Lost(&'static str),
    /// A snapshot that the core relies on cannot be read.
    #[error("the snapshot failed: {0}")]
    Snapshot(#[from] SnapshotterError),
}

/// What a driver is made of.
#[derive(Debug)]
pub struct DriverParts {
    /// The core, as recovered.
    pub raft: Raft,
    /// The machine, as restored from the snapshot that the core starts from.
    pub machine: Machine,
    /// This process's commands.
    pub proposer: Proposer,
    /// Makes the founding proposal on an empty disk.
    pub founder: Founder,
    /// The other nodes.
    pub peers: Peers,
    /// What they have been told of this one.
    pub introduction: Introduction,
    /// The log's writer.
    pub writer: LogPort,
    /// The snapshot worker.
    pub snapshotter: Snapshotter,
    /// Keeps the audit trail.
    pub audit: AuditPort,
    /// What happens.
    pub inbox: Inbox,
    /// Where the applied state is shown.
    pub published_machine: Arc<ArcSwap<Machine>>,
    /// Where the status is shown.
    pub published_status: Arc<ArcSwap<NodeStatus>>,
    /// Who waits here for something to be applied.
    pub listeners: Arc<Listeners>,
    /// Who waits here for messages.
    pub queues: Arc<Queues>,
    /// Where this node's caches see who is a home.
    pub ring: Arc<RingMember>,
    /// Where watchers look.
    pub events: Events,
    /// A leader declares nobody to listen at a node that was silent for this long.
    pub silence_limit_ms: u64,
    /// What is counted.
    pub metrics: Metrics,
    /// What the probes look at.
    pub health: Health,
}

/// See the module.
#[derive(Debug)]
pub struct Driver {
    parts: DriverParts,
    waiters: Waiters,
    reads: Reads,
    home_leases: LeaseDesk,
    /// Committed, handed out by the core, not applied yet.
    to_apply: VecDeque<Entry>,
    draining: Option<Draining>,
    ticked_at: Instant,
    last_leader: Option<NodeId>,
    watch: Watch,
    /// Entries up to here were in the log when this process began: what they did was counted by the
    /// one before it.
    counted: Index,
    /// What the peers' side knows of the log's statements on processes.
    held_changes: u64,
    stopped: Option<Stopped>,
}

impl Driver {
    /// A driver that has not begun.
    #[must_use]
    pub fn new(parts: DriverParts) -> Self {
        let (node, boot) = (parts.introduction.node_id, parts.introduction.boot_id);
        let watch = Watch::new(parts.silence_limit_ms);
        let counted = parts.raft.status().last;
        let held_changes = parts.raft.held_boots_changes();
        Self {
            parts,
            waiters: Waiters::default(),
            reads: Reads::new(boot),
            home_leases: LeaseDesk::new(node, boot),
            to_apply: VecDeque::new(),
            draining: None,
            ticked_at: Instant::now(),
            last_leader: None,
            watch,
            counted,
            held_changes,
            stopped: None,
        }
    }

    /// Runs until it is drained or must stop.
    pub async fn run(mut self) -> Stopped {
        let mut more = false;
        loop {
            if !more {
                let event = self.parts.inbox.next().await;
                self.take_in(event);
            }
            // Others of this runtime, and the clock, get their turn: if there is work left, because
            // it may be long; if not, because what brought this event has often brought more. Tasks
            // and sockets that are ready now say what they have to say, and one turn, one sync and
            // one append serve all of it instead of a part. If nothing is ready this costs one look.
            tokio::task::yield_now().await;
            self.parts.health.beat();
            if self.ticked_at.elapsed() >= TICK_AT_LEAST {
                self.tick();
            }
            for _ in 0..EVENTS_PER_TURN {
                let Some(event) = self.parts.inbox.try_next() else { break };
                self.take_in(event);
            }
            self.feed_core();
            more = self.work();
            self.publish_status();
            if let Some(stopped) = self.stopped.take().or_else(|| self.drained()) {
                self.finish();
                return stopped;
            }
        }
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Disk(DiskEvent::Synced(proof)) => self.step(Input::Persisted(proof)),
            Event::Disk(DiskEvent::Failed(why)) => self.stop(Stopped::Disk(why)),
            Event::Snapshot(event) => self.snapshot_event(event),
            Event::Peer(event) => self.peer_event(event),
            Event::Request(request) => self.request(request),
            Event::Tick => self.tick(),
            Event::Lost(part) => self.stop(Stopped::Lost(part)),
        }
    }

    fn step(&mut self, input: Input) {
        self.parts.raft.step(clock::now(), input);
    }

    fn stop(&mut self, stopped: Stopped) {
        self.stopped.get_or_insert(stopped);
    }
}
