//! Whole peers on the loopback, and what strangers and liars get from them.
//!
//! Nothing here waits for a time to pass: every wait is for a condition, and [`within`] only turns a
//! test that would hang into one that fails.

#![cfg(not(feature = "simulated"))]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dsync_core::raft::{Envelope, HeldBoot, Message, Position};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName, Term};
use tokio::sync::mpsc;

use super::handshake::HandshakeError;
use super::net::{TcpListener, TcpStream};
use super::*;

mod discovery;
mod exchange;
mod identity;
mod liars;
mod strangers;

const SECRET: &str = "a secret of more than sixteen bytes";

/// A node's peer side with its ear and its address.
struct Node {
    peers: Peers,
    events: mpsc::Receiver<PeerEvent>,
    address: SocketAddr,
    introduction: Introduction,
}

/// What a test may want to be different.
struct Setup {
    introduction: Introduction,
    peers: PeerList,
    resolver: Arc<dyn Resolver>,
    limits: PeerLimits,
    expected: usize,
    events: usize,
}

impl Setup {
    fn new(id: u64) -> Self {
        Self {
            introduction: introduction(id),
            peers: PeerList::Listed(Vec::new()),
            resolver: Arc::new(SystemResolver),
            // Shorter pauses than in production, so that the tests take little time.
            limits: PeerLimits {
                resolve_missing: Duration::from_millis(5),
                retry_max: Duration::from_millis(50),
                ..PeerLimits::default()
            },
            expected: 0,
            events: 1024,
        }
    }

    fn dialling(mut self, addresses: &[SocketAddr]) -> Self {
        let entries: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        if !entries.is_empty() {
            self.peers = entries.join(",").parse().unwrap();
        }
        self
    }

    fn limits(mut self, change: impl FnOnce(&mut PeerLimits)) -> Self {
        change(&mut self.limits);
        self
    }

    async fn start(self) -> Node {
        self.start_on(listener().await)
    }

    fn start_on(self, listener: TcpListener) -> Node {
        let (sender, events) = mpsc::channel(self.events);
        let config = PeerConfig {
            peers: self.peers,
            expected: self.expected,
            secrets: SecretSource::fixed(secrets(SECRET)),
            introduction: self.introduction.clone(),
            held: BTreeMap::new(),
            resolver: self.resolver,
            limits: self.limits,
        };
        let peers = Peers::start(config, sender);
        let address = PeerServer::start(listener, &peers).unwrap().address();
        Node { peers, events, address, introduction: self.introduction }
    }
}

impl Node {
    /// The next event for which `pick` gives something; the others are passed over.
    async fn event<T>(&mut self, mut pick: impl FnMut(PeerEvent) -> Option<T>) -> T {
        within(async {
            loop {
                let event = self.events.recv().await.expect("the peer side is running");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        })
        .await
    }

    async fn message(&mut self) -> Envelope {
        self.event(|event| match event {
            PeerEvent::Message(envelope) => Some(envelope),
            _ => None,
        })
        .await
    }

    async fn refusal(&mut self) -> (Refusal, bool) {
        self.event(|event| match event {
            PeerEvent::Refused { refusal, by_peer, .. } => Some((refusal, by_peer)),
            _ => None,
        })
        .await
    }

    async fn unreachable(&mut self, id: u64) {
        self.event(|event| (event == PeerEvent::Unreachable(NodeId(id))).then_some(())).await;
    }

    /// Waits until what is known of node `id` is as wanted.
    async fn knows(&self, id: u64, wanted: impl Fn(&PeerInfo) -> bool) -> PeerInfo {
        let find = || self.info(id).filter(|peer| wanted(peer));
        let mut changes = self.peers.shared.table.changes();
        within(changes.wait_for(|_| find().is_some())).await.unwrap();
        self.info(id).unwrap()
    }

    fn info(&self, id: u64) -> Option<PeerInfo> {
        self.peers.known().into_iter().find(|peer| peer.introduction.node_id == NodeId(id))
    }

    async fn fully_connected(&self, id: u64) {
        self.knows(id, |peer| peer.dialled == 2 && peer.accepted == 2).await;
    }

    fn send(&self, to: u64, message: Message) {
        let from = self.introduction.node_id;
        self.peers.send(Envelope { from, to: NodeId(to), term: Term(1), message });
    }
}

/// So many nodes, numbered from 1, each of which is given the addresses of all.
async fn cluster(size: u64) -> Vec<Node> {
    let mut listeners = Vec::new();
    for _ in 0..size {
        listeners.push(listener().await);
    }
    let addresses: Vec<SocketAddr> = listeners.iter().map(|l| l.local_addr().unwrap()).collect();
    let start = |(id, listener)| Setup::new(id).dialling(&addresses).start_on(listener);
    let nodes: Vec<Node> = (1..).zip(listeners).map(start).collect();
    for node in &nodes {
        for other in (1..=size).filter(|id| NodeId(*id) != node.introduction.node_id) {
            node.fully_connected(other).await;
        }
    }
    nodes
}

fn introduction(id: u64) -> Introduction {
    Introduction {
        versions: PROTOCOL,
        name: NodeName(format!("node-{id}")),
        node_id: NodeId(id),
        boot_id: BootId(1000 + id),
        cluster_id: None,
        empty: true,
        recovery: 0,
        boot_count: BootCount(1),
        recovered_end: Index(0),
    }
}

fn secrets(lines: &str) -> Secrets {
    Secrets::parse(lines.as_bytes()).unwrap()
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// Urgent.
fn heartbeat(round: u64) -> Message {
    Message::Heartbeat {
        commit: Index(0),
        round,
        sync_age_ms: 0,
        quorum_hash: None,
        time: ClusterTime(0),
    }
}

/// Bulk.
fn append(index: u64) -> Message {
    let prev = Position { index: Index(index), term: Term(1) };
    Message::Append { prev, entries: Vec::new(), commit: Index(0) }
}

/// Bulk, of about so many bytes.
fn large(bytes: usize) -> Message {
    Message::Forward { ticket: 1, commands: vec![vec![7; bytes].into()].into() }
}

/// A connection proven by hand, as node `id`.
async fn proven(to: SocketAddr, id: u64, lane: Lane) -> handshake::Proven {
    dial_as(to, introduction(id), SECRET, lane).await.unwrap()
}

async fn dial_as(
    to: SocketAddr,
    own: Introduction,
    lines: &str,
    lane: Lane,
) -> Result<handshake::Proven, HandshakeError> {
    let stream = TcpStream::connect(to).await.unwrap();
    within(handshake::dial(stream, &secrets(lines), lane, own, async |_| Ok(1))).await
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(300), future).await.expect("it does not come")
}
