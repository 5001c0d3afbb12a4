//! The same peer side on turmoil's network: time is virtual, so minutes pass in milliseconds and a
//! run repeats itself exactly.

#![cfg(feature = "simulated")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dsync_core::raft::{Envelope, Message};
use dsync_core::types::{BootId, NodeId, NodeName, Term};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::*;

const PORT: u16 = 7071;

fn host(id: u64) -> String {
    format!("node-{id}")
}

/// Another one for each process, by when it starts.
fn next_boot(id: u64) -> BootId {
    let now = turmoil::sim_elapsed().unwrap_or_default();
    BootId(u64::try_from(now.as_millis()).unwrap_or(u64::MAX) * 100 + id)
}

struct Node {
    id: u64,
    peers: Peers,
    events: mpsc::Receiver<PeerEvent>,
}

impl Node {
    async fn start(id: u64) -> turmoil::Result<Self> {
        let list: Vec<String> = (1..=2).map(|id| format!("{0}={0}:{PORT}", host(id))).collect();
        let config = PeerConfig {
            peers: list.join(",").parse()?,
            expected: 0,
            secrets: SecretSource::fixed(Secrets::parse(b"a secret of sixteen bytes")?),
            introduction: Introduction {
                versions: PROTOCOL,
                name: NodeName(host(id)),
                node_id: NodeId(id),
                boot_id: next_boot(id),
                cluster_id: None,
                empty: true,
                recovery: 0,
                boot_count: dsync_core::types::BootCount(1),
                recovered_end: dsync_core::types::Index(0),
            },
            held: BTreeMap::new(),
            resolver: Arc::new(SystemResolver),
            limits: PeerLimits::default(),
        };
        let (sender, events) = mpsc::channel(64);
        let peers = Peers::start(config, sender);
        PeerServer::start(net::TcpListener::bind(("0.0.0.0", PORT)).await?, &peers)?;
        Ok(Self { id, peers, events })
    }

    fn ping(&self, to: u64) {
        let (from, to, message) = (NodeId(self.id), NodeId(to), Message::TimeoutNow);
        self.peers.send(Envelope { from, to, term: Term(1), message });
    }

    async fn until(&mut self, wanted: impl Fn(&PeerEvent) -> bool) {
        while !wanted(&self.events.recv().await.expect("the peer side is running")) {}
    }

    async fn fully_connected(&self) {
        let mut changes = self.peers.shared.table.changes();
        let connected =
            |_: &u64| self.peers.known().iter().any(|peer| peer.dialled == 2 && peer.accepted == 2);
        changes.wait_for(connected).await.expect("the table lives");
    }
}

/// Node 2 answers every message; node 1 is the test.
fn simulation() -> turmoil::Sim<'static> {
    let mut sim =
        turmoil::Builder::new().simulation_duration(Duration::from_secs(600)).rng_seed(7).build();
    sim.host(host(2), || async {
        let mut node = Node::start(2).await?;
        loop {
            node.until(|event| matches!(event, PeerEvent::Message(_))).await;
            node.ping(1);
        }
    });
    sim
}

fn is_answer(event: &PeerEvent) -> bool {
    matches!(event, PeerEvent::Message(message) if message.from == NodeId(2))
}

#[test]
fn two_nodes_talk_over_a_simulated_network_and_keep_an_idle_connection() {
    let mut sim = simulation();
    sim.client(host(1), async {
        let mut node = Node::start(1).await?;
        node.fully_connected().await;
        node.ping(2);
        node.until(is_answer).await;
        // Many times the idle limit, with nothing but keepalives. Virtual time: this takes no time.
        sleep(Duration::from_secs(120)).await;
        assert_eq!(node.peers.metrics().dialled.get(), 2);
        node.ping(2);
        node.until(is_answer).await;
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_partition_is_noticed_within_the_idle_limit_and_healed_within_seconds() {
    let mut sim = simulation();
    sim.client(host(1), async {
        let mut node = Node::start(1).await?;
        node.fully_connected().await;
        turmoil::partition(host(1), host(2));
        let cut = Instant::now();
        node.until(|event| *event == PeerEvent::Unreachable(NodeId(2))).await;
        let limits = PeerLimits::default();
        assert!(cut.elapsed() <= limits.idle + limits.keepalive, "{:?}", cut.elapsed());
        // Long enough for both sides to have given up.
        sleep(Duration::from_secs(30)).await;
        assert!(!node.peers.known()[0].is_connected());
        node.ping(2);
        assert_eq!(node.peers.metrics().drops_unconnected.get(), 1);

        turmoil::repair(host(1), host(2));
        let healed = Instant::now();
        node.fully_connected().await;
        assert!(healed.elapsed() <= limits.connect + limits.handshake, "{:?}", healed.elapsed());
        node.ping(2);
        node.until(is_answer).await;
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn a_crashed_node_is_connected_again_when_it_is_back() {
    let mut sim = simulation();
    sim.client(host(1), async {
        let mut node = Node::start(1).await?;
        for _ in 0..3 {
            node.fully_connected().await;
            node.ping(2);
            node.until(is_answer).await;
            node.until(|event| *event == PeerEvent::Unreachable(NodeId(2))).await;
        }
        Ok(())
    });
    // The client cannot crash a host; the one who runs the simulation can.
    for _ in 0..3 {
        for _ in 0..5_000 {
            sim.step().unwrap();
        }
        sim.crash(host(2));
        for _ in 0..2_000 {
            sim.step().unwrap();
        }
        sim.bounce(host(2));
    }
    sim.run().unwrap();
}

/// Crashes node 2 and starts it again at once, cut off or not: how long until node 1 is connected to
/// the new process, in virtual time.
fn reconnected_after(cut_off: bool) -> Duration {
    let mut sim = simulation();
    let (met, restarts) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(None)));
    let written = met.clone();
    sim.client(host(1), async move {
        let mut node = Node::start(1).await?;
        node.fully_connected().await;
        written.lock().unwrap().push(turmoil::sim_elapsed());
        let first = node.peers.known()[0].introduction.boot_id;
        let anew =
            |event: &PeerEvent| matches!(event, PeerEvent::Introduced(it) if it.boot_id != first);
        node.until(anew).await;
        written.lock().unwrap().push(turmoil::sim_elapsed());
        Ok(())
    });
    while !sim.step().unwrap() {
        let mut restarted = restarts.lock().unwrap();
        if met.lock().unwrap().len() == 1 && restarted.is_none() {
            // What a crashed host says last (that its sockets are closed) never arrives.
            if cut_off {
                sim.partition(host(1), host(2));
            }
            sim.crash(host(2));
            sim.step().unwrap();
            sim.repair(host(1), host(2));
            sim.bounce(host(2));
            *restarted = Some(sim.elapsed());
        }
    }
    let met = met.lock().unwrap();
    met[1].expect("inside the simulation") - restarts.lock().unwrap().expect("it was restarted")
}

#[test]
fn a_node_that_is_killed_and_started_at_once_is_connected_within_a_second() {
    let took = reconnected_after(false);
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[test]
fn a_node_that_is_cut_off_without_a_word_and_started_at_once_is_connected_within_a_second() {
    let took = reconnected_after(true);
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

/// What node 1 sees, and when, in a run with a partition.
fn trace() -> Vec<(Duration, PeerEvent)> {
    let trace = Arc::new(Mutex::new(Vec::new()));
    let written = trace.clone();
    let mut sim = simulation();
    sim.client(host(1), async move {
        let mut node = Node::start(1).await?;
        let began = Instant::now();
        let end = began + Duration::from_secs(60);
        let mut cut = tokio::time::interval(Duration::from_secs(20));
        let mut whole = false;
        loop {
            tokio::select! {
                event = node.events.recv() => {
                    let event = event.expect("the peer side is running");
                    written.lock().unwrap().push((began.elapsed(), event));
                }
                _ = cut.tick() => {
                    whole = !whole;
                    match whole {
                        true => turmoil::repair(host(1), host(2)),
                        false => turmoil::partition(host(1), host(2)),
                    }
                }
                () = tokio::time::sleep_until(end) => return Ok(()),
            }
        }
    });
    sim.run().unwrap();
    let events = trace.lock().unwrap();
    events.clone()
}

#[test]
fn a_run_repeats_itself_to_the_millisecond() {
    let first = trace();
    assert!(first.iter().any(|(_, event)| matches!(event, PeerEvent::Unreachable(_))), "{first:?}");
    assert_eq!(first, trace());
}
