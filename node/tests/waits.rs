//! Waiting on whole nodes: three of them in this process, with real disks and sockets.

#![cfg(not(feature = "simulated"))]
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::TcpListener as Port;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dsync_core::locks::{Acquire, LockItem, LockOperation, LockOutcome, Mode, Owner, Release};
use dsync_core::machine::{Machine, Operation, Outcome, Settings};
use dsync_core::raft::{RoleKind, Timing};
use dsync_core::types::NodeName;
use dsync_node::audit::TrailOptions;
use dsync_node::config::FoundingBy;
use dsync_node::events::EventFilter;
use dsync_node::handle::{NodeHandle, SubmitError};
use dsync_node::health::Health;
use dsync_node::member::{Member, MemberConfig};
use dsync_node::metrics::Metrics;
use dsync_node::peers::discovery::ListedPeer;
use dsync_node::peers::net::TcpListener;
use dsync_node::peers::{PeerLimits, PeerList, SecretSource, Secrets, SystemResolver};
use dsync_node::storage::LogOptions;
use dsync_node::waits::{Answer, Patience, WaitOutcome};

/// Far above anything that should happen here.
const LONG: Duration = Duration::from_secs(300);

struct Node {
    member: Member,
    metrics: Metrics,
    _data: tempfile::TempDir,
}

struct Cluster(Vec<Node>);

impl Cluster {
    /// Three nodes that have found each other, each with its process registered.
    async fn start() -> Self {
        let ports: Vec<Port> = (0..3).map(|_| Port::bind("127.0.0.1:0").unwrap()).collect();
        let peers: Vec<ListedPeer> = ports.iter().enumerate().map(listed).collect();
        let nodes = ports.into_iter().enumerate();
        let cluster = Self(nodes.map(|(n, port)| node(n, port, &peers)).collect());
        for n in 0..3 {
            until(|| cluster.node(n).status().registered).await;
        }
        cluster
    }

    fn node(&self, n: usize) -> &NodeHandle {
        &self.0[n].member.handle
    }

    fn leader(&self) -> Option<usize> {
        (0..3).find(|n| self.node(*n).status().raft.role == RoleKind::Leader)
    }

    fn a_follower(&self) -> usize {
        let leader = self.leader();
        (0..3).find(|n| Some(*n) != leader).unwrap()
    }

    /// Comes back when the state is so on every node.
    async fn everywhere(&self, is_so: impl Fn(&Machine) -> bool) {
        until(|| (0..self.0.len()).all(|n| is_so(&self.node(n).machine()))).await;
    }
}

fn listed((n, port): (usize, &Port)) -> ListedPeer {
    let port = port.local_addr().unwrap().port();
    ListedPeer { host: "127.0.0.1".into(), name: Some(NodeName(format!("n{n}"))), port }
}

fn node(n: usize, port: Port, peers: &[ListedPeer]) -> Node {
    let (data, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
    let config = MemberConfig {
        name: NodeName(format!("n{n}")),
        data: data.path().to_owned(),
        peers: PeerList::Listed(peers.to_vec()),
        founders: peers.len(),
        settings: Settings::default(),
        founding: FoundingBy::Auto,
        secrets: SecretSource::fixed(Secrets::parse(b"0123456789abcdef0123456789abcdef").unwrap()),
        resolver: Arc::new(SystemResolver),
        peer_limits: PeerLimits::default(),
        timing: Timing::default(),
        log: LogOptions { segment_bytes: 1 << 20, ..LogOptions::new(7) },
        snapshot_every_bytes: 8 << 20,
        audit: TrailOptions::new(1 << 20, None),
    };
    port.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(port).unwrap();
    let member = Member::start(config, listener, &metrics, &Health::new()).unwrap();
    Node { member, metrics, _data: data }
}

async fn until(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "it did not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".into(), name: name.into() }
}

fn ask(who: &str) -> Acquire {
    let item = LockItem { name: "x".into(), mode: Mode::Exclusive, permits: 1, permits_max: 1 };
    let (owner, items) = (owner(who), vec![item]);
    Acquire { owner, items, ttl_ms: Some(0), queue: true, attachment: None }
}

async fn acquire(node: &NodeHandle, who: &str) -> Result<Answer, SubmitError> {
    node.acquire(None, ask(who), Patience { wait: LONG, deadline: Instant::now() + LONG }).await
}

fn wait(node: &NodeHandle, who: &'static str) -> tokio::task::JoinHandle<Answer> {
    let node = node.clone();
    tokio::spawn(async move { acquire(&node, who).await.unwrap() })
}

async fn release(node: &NodeHandle, who: &str) {
    let release =
        Operation::lock(LockOperation::Release(Release { owner: owner(who), name: "x".into() }));
    let applied = node.submit(release, Instant::now() + LONG).await.unwrap();
    assert!(matches!(applied.outcome, Outcome::Lock(LockOutcome::Release(_))));
}

fn token(answer: Answer) -> u64 {
    match answer.deliver() {
        WaitOutcome::Granted { tokens, .. } => tokens[0],
        other => panic!("{other:?}"),
    }
}

fn waits(count: usize) -> impl Fn(&Machine) -> bool {
    move |machine| machine.locks().waits() == count
}

fn holder(machine: &Machine) -> Option<String> {
    Some(machine.locks().get("x")?.holders.first()?.owner.name.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_goes_from_node_to_node_and_every_watcher_sees_the_same() {
    let cluster = Cluster::start().await;
    let watch = |n: usize| cluster.node(n).events().subscribe(Some(1), EventFilter::All).unwrap();
    let mut watches: Vec<_> = (0..3).map(watch).collect();
    let first = token(acquire(cluster.node(0), "ann").await.unwrap());
    let bob = wait(cluster.node(1), "bob");
    cluster.everywhere(waits(1)).await;
    let cid = wait(cluster.node(2), "cid");
    cluster.everywhere(waits(2)).await;
    release(cluster.node(2), "ann").await;
    let second = token(bob.await.unwrap());
    release(cluster.node(0), "bob").await;
    let third = token(cid.await.unwrap());
    assert!(first < second && second < third);
    // Granted, queued, queued, released, granted, released, granted.
    let mut seen = BTreeSet::new();
    for watch in &mut watches {
        let mut records = Vec::new();
        for _ in 0..7 {
            records.push(tokio::time::timeout(LONG, watch.next()).await.unwrap().unwrap());
        }
        seen.insert(format!("{records:?}"));
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let metrics = cluster.0[0].metrics.open_metrics();
    for line in ["dsync_lock_grants_total 3\n", "dsync_lock_wait_seconds_count 2\n"] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_hangs_up_at_a_follower_leaves_the_queue_and_an_unheard_grant_is_undone() {
    let cluster = Cluster::start().await;
    let follower = cluster.node(cluster.a_follower());
    token(acquire(cluster.node(0), "ann").await.unwrap());
    let bob = wait(follower, "bob");
    cluster.everywhere(waits(1)).await;
    bob.abort();
    cluster.everywhere(waits(0)).await;
    let cid = wait(follower, "cid");
    cluster.everywhere(waits(1)).await;
    release(cluster.node(0), "ann").await;
    drop(cid.await.unwrap());
    cluster.everywhere(|machine| holder(machine).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_at_a_node_that_drains_keeps_the_place_at_another() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().unwrap();
    let other = cluster.a_follower();
    token(acquire(cluster.node(other), "ann").await.unwrap());
    let node = cluster.node(leader).clone();
    let bob = tokio::spawn(async move { acquire(&node, "bob").await });
    cluster.everywhere(waits(1)).await;
    let cid = wait(cluster.node(other), "cid");
    cluster.everywhere(waits(2)).await;
    cluster.node(leader).drain().await;
    assert_eq!(bob.await.unwrap().unwrap_err(), SubmitError::Stopping);
    let bob = wait(cluster.node(other), "bob");
    let machine = || cluster.node(other).machine();
    until(|| machine().locks().get("x").unwrap().waiters.iter().all(|it| it.attached)).await;
    release(cluster.node(other), "ann").await;
    token(bob.await.unwrap());
    assert!(!cid.is_finished());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_taken_to_listen_at_a_node_that_is_silent() {
    let mut cluster = Cluster::start().await;
    let gone = cluster.a_follower();
    token(acquire(cluster.node(gone), "ann").await.unwrap());
    let bob = wait(cluster.node(gone), "bob");
    cluster.everywhere(waits(1)).await;
    let boot = cluster.node(gone).status().boot_id;
    // As if killed: nothing is said to anybody.
    let node = cluster.0.remove(gone);
    node.member.driver.abort();
    let node = (node.member.handle, bob);
    until(|| cluster.0[0].member.handle.machine().locks().is_lost(boot)).await;
    let other = cluster.0[0].member.handle.clone();
    let bob = wait(&other, "bob");
    until(|| other.machine().locks().get("x").unwrap().waiters[0].attached).await;
    release(&other, "ann").await;
    token(bob.await.unwrap());
    drop(node);
}
