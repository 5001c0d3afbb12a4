//! Finding the others behind a name.

use std::io;
use std::sync::Mutex;

use tokio::sync::watch;

use super::resolver::{Resolver, Resolving};
use super::*;

/// DNS as a test says it is.
#[derive(Debug)]
struct FakeDns {
    /// `None`: the name does not resolve.
    answer: Mutex<Option<Vec<SocketAddr>>>,
    /// How often the service's name was asked for.
    asked: watch::Sender<u64>,
}

impl FakeDns {
    fn new(answer: Option<Vec<SocketAddr>>) -> Arc<Self> {
        Arc::new(Self { answer: Mutex::new(answer), asked: watch::Sender::new(0) })
    }

    fn set(&self, answer: Option<Vec<SocketAddr>>) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Waits until the name was asked for so many times more: so the last answer but one is acted on.
    async fn asked_again(&self, times: u64) {
        let until = *self.asked.borrow() + times;
        within(self.asked.subscribe().wait_for(|asked| *asked >= until)).await.unwrap();
    }
}

impl Resolver for FakeDns {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        Box::pin(async move {
            if let Ok(address) = host.parse() {
                return Ok(vec![SocketAddr::new(address, port)]);
            }
            assert_eq!(host, "peers.example.");
            self.asked.send_modify(|asked| *asked += 1);
            let answer = self.answer.lock().unwrap().clone();
            answer.ok_or_else(|| io::Error::other("no such name"))
        })
    }
}

fn by_dns(id: u64, dns: &Arc<FakeDns>) -> Setup {
    let mut setup = Setup::new(id);
    setup.peers = "dns:peers.example.:7071".parse().unwrap();
    setup.resolver = dns.clone();
    // Asked again and again, as while a peer is missing.
    setup.expected = usize::MAX;
    setup
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn three_nodes_find_each_other_behind_one_name_and_none_finds_itself() {
    let dns = FakeDns::new(None);
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(by_dns(id, &dns).start().await);
    }
    // It does not resolve at first: a headless service without ready endpoints.
    dns.asked_again(6).await;
    dns.set(Some(nodes.iter().map(|node| node.address).collect()));
    for node in &nodes {
        for id in (1..=3).filter(|id| NodeId(*id) != node.introduction.node_id) {
            node.fully_connected(id).await;
        }
        assert_eq!(node.peers.known().len(), 2);
    }
    nodes[0].send(3, append(1));
    assert_eq!(nodes[2].message().await.from, NodeId(1));
}

#[tokio::test]
async fn a_name_that_resolves_no_more_takes_nobody_away() {
    let other = Setup::new(2).start().await;
    let dns = FakeDns::new(Some(vec![other.address]));
    let node = by_dns(1, &dns).start().await;
    node.knows(2, |peer| peer.dialled == 2).await;
    for answer in [None, Some(Vec::new())] {
        dns.set(answer);
        dns.asked_again(3).await;
        assert_eq!(node.info(2).unwrap().dialled, 2);
    }
    assert_eq!(node.peers.metrics().dialled.get(), 2, "it was never connected anew");
}

#[tokio::test]
async fn an_address_without_a_node_is_dialled_until_dns_says_that_it_is_gone() {
    let empty = listener().await;
    let address = empty.local_addr().unwrap();
    drop(empty);
    let dns = FakeDns::new(Some(vec![address]));
    let node = by_dns(1, &dns).start().await;
    dns.asked_again(2).await;
    assert_eq!(node.peers.targets().len(), 1);
    // An error is no word about anybody.
    dns.set(None);
    dns.asked_again(3).await;
    assert_eq!(node.peers.targets().len(), 1);
    dns.set(Some(Vec::new()));
    dns.asked_again(3).await;
    assert_eq!(node.peers.targets(), []);
}

/// A pod has an IPv4 and an IPv6 address.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_node_with_two_addresses_is_connected_once() {
    let other = Setup::new(2).start().await;
    let second = PeerServer::start(listener().await, &other.peers).unwrap().address();
    let dns = FakeDns::new(Some(vec![other.address]));
    let node = by_dns(1, &dns).start().await;
    node.knows(2, |peer| peer.dialled == 2).await;

    dns.set(Some(vec![other.address, second]));
    let problem = |node: &Node| {
        let targets = node.peers.targets();
        targets.into_iter().find_map(|target| target.problem).unwrap_or_default()
    };
    within(async {
        while !problem(&node).contains("already_connected") {
            dns.asked_again(1).await;
        }
    })
    .await;
    assert_eq!(node.info(2).unwrap().dialled, 2);
    assert_eq!(node.peers.metrics().dialled.get(), 2, "the good connections were ended");
}

#[tokio::test]
async fn a_list_with_names_and_the_node_itself_in_it_works() {
    let (first, second) = (listener().await, listener().await);
    let addresses = (first.local_addr().unwrap(), second.local_addr().unwrap());
    let list = format!("node-1={},node-2={}", addresses.0, addresses.1);
    let start = |id, listener| {
        let mut setup = Setup::new(id);
        setup.peers = list.parse().unwrap();
        setup.start_on(listener)
    };
    let (first, second) = (start(1, first), start(2, second));
    first.fully_connected(2).await;
    second.fully_connected(1).await;
    let connected =
        |node: &Node| node.peers.targets().into_iter().find_map(|target| target.connected).unwrap();
    assert_eq!(connected(&first), NodeName("node-2".into()));
}

/// Two addresses for every name.
#[derive(Debug)]
struct Twofold(Vec<SocketAddr>);

impl Resolver for Twofold {
    fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolving<'a> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

#[tokio::test]
async fn an_address_that_answers_wrongly_does_not_hide_the_next_one() {
    let other = Setup::new(2).start().await;
    let stranger = Setup::new(3).start().await;
    let mut setup = Setup::new(1);
    setup.peers = "node-2=any:7071".parse().unwrap();
    setup.resolver = Arc::new(Twofold(vec![stranger.address, other.address]));
    let node = setup.start().await;
    node.knows(2, |peer| peer.dialled == 2).await;
}

#[tokio::test]
async fn the_systems_resolver_knows_this_machine() {
    let found = within(SystemResolver.resolve("127.0.0.1", 7071)).await.unwrap();
    assert_eq!(found, ["127.0.0.1:7071".parse().unwrap()]);
}
