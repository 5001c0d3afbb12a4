//! The peer side of a node: finding the others, proving the cluster secret, carrying messages.
//!
//! DNS (or a list) gives addresses, the handshake gives identity, the log gives membership. So this
//! module decides only who may talk: it never adds or removes a member, and that a name does not
//! resolve or an address does not answer is a reason to try again and nothing else.
//!
//! What it promises its user, the consensus driver: [`Peers::send`] never waits; messages to one node
//! by one lane arrive in the order sent, each at most once per connection, or not at all; what arrives
//! comes from the node that it names. What it does not promise: that anything arrives.
//!
//! ```text
//! discovery ─ addresses ─> dialler ─┐                                      ┌─> link ─> PeerEvent
//!                                   ├─ handshake ─ proven stream ─ table ──┤
//!               accept ─> server ──┘                                      └── outbox <─ send
//! ```
//!
//! Reading order: [`introduction`], [`secret`], [`handshake`], [`frame`], `table.rs`, `link.rs`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use dsync_core::cache::HomeLeaseMessage;
use dsync_core::raft::{Envelope, HeldBoot};
use dsync_core::types::NodeId;
use dsync_core::wire::PeerFrame;
use tokio::sync::mpsc;
use tokio::time::timeout;

mod audit_line;
mod cache_line;
mod dialler;
pub mod discovery;
pub mod frame;
pub mod handshake;
pub mod introduction;
pub mod limits;
mod link;
pub mod metrics;
pub mod net;
mod outbox;
pub mod resolver;
pub mod secret;
pub mod server;
mod shared;
mod table;

#[cfg(test)]
mod simulated_tests;
#[cfg(test)]
mod tests;

pub use audit_line::AuditLine;
pub use cache_line::{CacheLine, Heard};
pub use dialler::TargetStatus;
pub use discovery::{ParsePeerListError, PeerList};
pub use introduction::{Introduction, Lane, PROTOCOL, ProtocolVersions, Refusal};
pub use limits::PeerLimits;
pub use metrics::PeerMetrics;
pub use resolver::{Resolver, SystemResolver};
pub use secret::{SecretError, SecretSource, Secrets};
pub use server::PeerServer;

use self::frame::Frame;
use self::outbox::Pushed;
use self::shared::{Shared, Stage, follow_secrets};

/// What the peer side of a node has to know.
#[derive(Debug)]
pub struct PeerConfig {
    /// Where the others may be found.
    pub peers: PeerList,
    /// How many other nodes there should be, as far as is known: fewer means that DNS is asked more
    /// often. 0 if unknown.
    pub expected: usize,
    /// What proves that a node is of the cluster.
    pub secrets: SecretSource,
    /// This node.
    pub introduction: Introduction,
    /// What the log says of the nodes' processes.
    pub held: BTreeMap<NodeId, HeldBoot>,
    /// What turns names into addresses.
    pub resolver: Arc<dyn Resolver>,
    /// Times and sizes.
    pub limits: PeerLimits,
}

/// What the peer side tells the node. While nobody takes these, peers are not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A peer is connected, or has said something new of itself. May come several times with the same
    /// content, once for each connection.
    Introduced(Introduction),
    /// A message from the node that it names.
    Message(Envelope),
    /// A word about a home's lease, from this node.
    HomeLease(NodeId, HomeLeaseMessage),
    /// A connection to this node broke, or its queue overflowed: what was under way may be lost. It
    /// may be connected all the same, by another connection.
    Unreachable(NodeId),
    /// A node that knows the secret and this one do not talk. Repeated at every attempt.
    Refused {
        /// Where it is.
        address: SocketAddr,
        /// Why. "Ours" is meant from the side of the one that refuses.
        refusal: Refusal,
        /// True if the other node refused this one.
        by_peer: bool,
    },
}

/// A peer, for people and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// What it last said of itself.
    pub introduction: Introduction,
    /// Where it was last met.
    pub address: SocketAddr,
    /// The protocol version spoken with it.
    pub version: u16,
    /// Connections that this node dialled; two when all is well.
    pub dialled: usize,
    /// Connections that the peer dialled; two when all is well.
    pub accepted: usize,
    /// Bytes that wait to be sent to it.
    pub queued_bytes: usize,
}

impl PeerInfo {
    /// True if any connection stands.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.dialled + self.accepted > 0
    }
}

/// The running peer side. Dropping it stops everything at once; [`Peers::shutdown`] writes out first
/// what waits.
#[derive(Debug)]
pub struct Peers {
    shared: Arc<Shared>,
    /// Ends when the last task has dropped its sender.
    all_ended: tokio::sync::Mutex<mpsc::Receiver<()>>,
}

impl Peers {
    /// Starts to look for the others and to connect. Incoming connections need a [`PeerServer`] as
    /// well. Must be called within a tokio runtime. A message takes up to 528 KiB, so the capacity of
    /// `events` bounds what received messages can take in memory.
    #[must_use]
    pub fn start(config: PeerConfig, events: mpsc::Sender<PeerEvent>) -> Self {
        let (tasks, all_ended) = mpsc::channel(1);
        let (peers, expected) = (config.peers.clone(), config.expected);
        let shared = Arc::new(Shared::new(config, events, tasks));
        shared.spawn(discovery::run(shared.clone(), peers, expected));
        shared.spawn(follow_secrets(shared.clone()));
        Self { shared, all_ended: tokio::sync::Mutex::new(all_ended) }
    }

    /// Sends a message to the node that it names. Never waits. Drops it if no connection leads there,
    /// if the queue is full, or if it does not fit into a frame.
    pub fn send(&self, envelope: Envelope) {
        let lane = if envelope.message.is_urgent() { Lane::Urgent } else { Lane::Bulk };
        self.send_frame(envelope.to, lane, &Frame::Message(PeerFrame::V1(envelope)));
    }

    /// Sends a word about a home's lease, beside votes and heartbeats: what is late is of no use.
    /// Otherwise as [`Peers::send`].
    pub fn send_home_lease(&self, to: NodeId, message: HomeLeaseMessage) {
        self.send_frame(to, Lane::Urgent, &Frame::HomeLease(message));
    }

    fn send_frame(&self, to: NodeId, lane: Lane, frame: &Frame) {
        let metrics = &self.shared.metrics;
        let Some(outbox) = self.shared.table.outbox(to, lane) else {
            return metrics.drops_unconnected.one();
        };
        match frame::encode(frame) {
            Ok(bytes) => self.pushed(to, outbox.push(bytes)),
            Err(bytes) => {
                metrics.drops_oversized.one();
                tracing::error!(%to, bytes, "a message does not fit into a frame and is dropped");
            }
        }
    }

    fn pushed(&self, to: NodeId, pushed: Pushed) {
        match pushed {
            Pushed::Queued => {}
            Pushed::Closed => self.shared.metrics.drops_unconnected.one(),
            Pushed::Dropped { messages, first } => {
                self.shared.metrics.drops_overflow.add(messages);
                if first {
                    tracing::warn!(%to, "a peer does not keep up: messages to it are dropped");
                    // If there is no room for the hint, the missing answers will tell.
                    let _ = self.shared.events.try_send(PeerEvent::Unreachable(to));
                }
            }
        }
    }

    /// Tells all peers who this node is from now on. Name, node id and boot id stay for the life of
    /// the process.
    pub fn set_introduction(&self, introduction: Introduction) {
        self.shared.table.set_own(introduction);
    }

    /// Says what the log says now of the nodes' processes.
    pub fn set_held(&self, held: BTreeMap<NodeId, HeldBoot>) {
        self.shared.table.set_held(held);
    }

    /// Every node met so far, by node id, connected or not.
    #[must_use]
    pub fn known(&self) -> Vec<PeerInfo> {
        self.shared.table.known()
    }

    /// Every address that is dialled, and what is in the way.
    #[must_use]
    pub fn targets(&self) -> Vec<TargetStatus> {
        self.shared.targets().values().cloned().collect()
    }

    /// The counters.
    #[must_use]
    pub fn metrics(&self) -> Arc<PeerMetrics> {
        self.shared.metrics.clone()
    }

    /// Accepts no more, writes what waits (a second at most), closes all connections and returns when
    /// every task has ended.
    pub async fn shutdown(&self) {
        self.shared.stage.send_replace(Stage::Draining);
        self.shared.table.close_all();
        self.shared.close_tasks();
        let mut all_ended = self.all_ended.lock().await;
        if timeout(self.shared.limits.drain, all_ended.recv()).await.is_err() {
            self.shared.stage.send_replace(Stage::Stopped);
            all_ended.recv().await;
        }
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.shared.close_tasks();
        self.shared.stage.send_replace(Stage::Stopped);
    }
}
