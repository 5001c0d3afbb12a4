//! Who comes to the peer port without the cluster's secret: a curious one, and a whole node.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::locks::{LockClient, Mode};
use dsync_tests::process::until::{PATIENCE, until};

use crate::turns;

const TIMEOUT: Duration = PATIENCE;

/// All that the node sends before it closes.
fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the node keeps a stranger: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_stranger_on_the_peer_port_gets_nothing() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let leader = &cluster.nodes[cluster.leader()];
    let mut client = LockClient::new(leader.client, TIMEOUT);
    client.acquire("a-private-name", "a-private-owner", Mode::Exclusive).unwrap();
    let status = leader.status().unwrap();
    let id = |field: &str| status[field].as_str().unwrap().to_owned();
    let private = [
        id("cluster_id"),
        id("id"),
        id("boot_id"),
        "a-private".to_owned(),
        "the secret of".to_owned(),
        cluster.nodes[1].peer.to_string(),
    ];
    let nonce = "dsync-peer-nonce: ".to_owned() + &"12".repeat(32);
    let proof = "dsync-peer-proof: ".to_owned() + &"34".repeat(32);
    let upgrade = "connection: upgrade\r\nupgrade: dsync-peer";
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n\r\n")
    };
    let stream = "/peer/v1/stream";
    for said in [
        get("/status", "a: b"),
        get("/metrics", "a: b"),
        get("/v1/locks/a-private-name", "a: b"),
        get(stream, upgrade),
        get(stream, &nonce),
        get(stream, &nonce) + &get(stream, &format!("{proof}\r\n{upgrade}")),
        "POST /lock/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{"
            .to_owned(),
        "\x16\x03\x01\x02\x00".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        String::new(),
    ] {
        let answer = say(leader.peer, said.as_bytes());
        assert!(!answer.contains("HTTP/1.1 2") && !answer.contains("HTTP/1.1 101"), "{answer}");
        for secret in &private {
            assert!(!answer.contains(secret.as_str()), "{said:?} was told {secret}: {answer}");
        }
    }
    until("the node is ready", || leader.is_ready().then_some(()));
}

#[test]
fn a_node_with_another_secret_stays_outside_and_the_others_serve() {
    let _turn = turns::together();
    let mut cluster = Cluster::prepare();
    let secret = cluster.write_secret("other-secret", "the secret of some other cluster");
    let peers = cluster.peers();
    cluster.nodes[2].join(&peers, NODES, &secret);
    for node in &mut cluster.nodes {
        node.start();
    }
    // All three founders are needed: with a stranger among them nobody founds anything.
    for node in &cluster.nodes {
        until("it says why there is no cluster", || {
            let (ready, text) = node.readiness()?;
            (!ready && text.contains("no cluster yet")).then_some(())
        });
    }
    cluster.nodes[2].stop();
    let secret = cluster.write_secret("secret-again", "the secret of the process suites");
    cluster.nodes[2].join(&peers, NODES, &secret);
    cluster.nodes[2].start();
    cluster.await_ready();

    cluster.nodes[2].stop();
    let secret = cluster.write_secret("third-secret", "the secret of a third cluster");
    cluster.nodes[2].join(&peers, NODES, &secret);
    cluster.nodes[2].start();
    let mut client = LockClient::new(cluster.nodes[0].client, TIMEOUT);
    until("the others serve", || client.acquire("l", "o", Mode::Exclusive).ok());
    let stranger = &cluster.nodes[2];
    until("the stranger answers its own probe", || stranger.readiness());
    assert!(!stranger.is_ready(), "{:?}", stranger.readiness());
    let status = stranger.status().unwrap();
    assert_eq!(status["locks"]["active_locks"].get("l"), None, "{status}");
}

#[test]
fn silent_strangers_on_every_peer_port_do_not_keep_a_node_from_coming_back() {
    /// More than a node keeps unproven at a time.
    const STRANGERS: usize = 200;
    let _turn = turns::together();
    let mut cluster = Cluster::start();
    let follower = cluster.follower();
    cluster.nodes[follower].kill();
    let peers = cluster.nodes.each_ref().map(|node| node.peer);
    cluster.nodes[follower].start();
    until("the node's peer port is open", || TcpStream::connect(peers[follower]).ok());
    let connect = |at: usize| TcpStream::connect(peers[at % NODES]).unwrap();
    let strangers: Vec<_> = (0..STRANGERS * NODES).map(connect).collect();
    cluster.await_ready();
    drop(strangers);
}
