//! Everything that can happen to the driver, from five sides.
//!
//! The disk and the snapshot worker answer what the driver asked of them, so their channels need no
//! bound of their own. Peers and clients are bounded: a full channel slows their sockets down.

use bytes::Bytes;
use dsync_core::raft::{SnapshotMeta, StateHash, SyncProof};
use dsync_core::types::NodeId;
use tokio::sync::mpsc;
use tokio::time::Interval;

use crate::handle::DriverRequest;
use crate::peers::PeerEvent;

/// What the log writer says.
#[derive(Debug)]
pub enum DiskEvent {
    /// A batch, and all before it, is durable.
    Synced(SyncProof),
    /// A write or a sync failed: nothing after it can be trusted.
    Failed(String),
}

/// What the snapshot worker says.
#[derive(Debug)]
pub enum SnapshotEvent {
    /// The own machine's snapshot is complete and durable.
    Taken {
        /// Of which state.
        meta: SnapshotMeta,
        /// Size of its file.
        bytes: u64,
    },
    /// It could not be written.
    NotTaken,
    /// A piece that a follower needs.
    Piece {
        /// Who.
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
    /// A received snapshot is complete, checked and durable.
    Stored(SnapshotMeta),
    /// A received snapshot is unusable; it has to be sent again.
    Broken(String),
    /// The hash of the machine's state at a checkpoint.
    Hashed(StateHash),
}

/// One thing that happened.
#[derive(Debug)]
pub(super) enum Event {
    Disk(DiskEvent),
    Snapshot(SnapshotEvent),
    Peer(PeerEvent),
    Request(DriverRequest),
    Tick,
    /// A part of the node has ended without a word.
    Lost(&'static str),
}

/// The receiving ends.
#[derive(Debug)]
pub struct Inbox {
    /// From the log writer.
    pub disk: mpsc::UnboundedReceiver<DiskEvent>,
    /// From the snapshot worker.
    pub snapshots: mpsc::UnboundedReceiver<SnapshotEvent>,
    /// From the other nodes.
    pub peers: mpsc::Receiver<PeerEvent>,
    /// From this node's servers.
    pub requests: mpsc::Receiver<DriverRequest>,
    /// The beat of the core's clock.
    pub ticks: Interval,
}

impl Inbox {
    /// Waits for something to happen. The disk first: what it answers lets messages go.
    pub(super) async fn next(&mut self) -> Event {
        tokio::select! {
            biased;
            event = self.disk.recv() => event.map_or(Event::Lost("the log writer"), Event::Disk),
            _ = self.ticks.tick() => Event::Tick,
            event = self.snapshots.recv() => {
                event.map_or(Event::Lost("the snapshot worker"), Event::Snapshot)
            }
            event = self.peers.recv() => event.map_or(Event::Lost("the peer side"), Event::Peer),
            request = self.requests.recv() => {
                request.map_or(Event::Lost("the servers"), Event::Request)
            }
        }
    }

    /// What else has happened already, so that it can be worked off together.
    pub(super) fn try_next(&mut self) -> Option<Event> {
        if let Ok(event) = self.disk.try_recv() {
            return Some(Event::Disk(event));
        }
        if let Ok(event) = self.peers.try_recv() {
            return Some(Event::Peer(event));
        }
        if let Ok(request) = self.requests.try_recv() {
            return Some(Event::Request(request));
        }
        self.snapshots.try_recv().ok().map(Event::Snapshot)
    }
}
