//! What those get who do not know the secret: nothing, within bounds.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Sends `bytes` and gives back all that comes until the other side closes.
pub(super) async fn say(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The other side may close before it has read everything: a reset is an end too.
    let _ = stream.write_all(bytes).await;
    rest_of(stream).await
}

async fn rest_of(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = within(stream.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

/// The deadline of the whole must do alone: a library's timer for headers sees neither a peer that
/// sends nothing (it may start with the first byte) nor one that stops between two requests.
#[tokio::test]
async fn silence_half_a_header_and_half_a_handshake_are_cut() {
    let hour = Duration::from_secs(3600);
    let short = Duration::from_millis(100);
    for (handshake, header) in [(short, hour), (hour, short)] {
        let limit = |limits: &mut PeerLimits| {
            (limits.handshake, limits.header) = (handshake, header);
        };
        let node = Setup::new(1).limits(limit).start().await;
        let challenge = format!(
            "GET {} HTTP/1.1\r\nhost: x\r\ndsync-peer-nonce: {}\r\n\r\n",
            handshake::STREAM_PATH,
            "ab".repeat(32)
        );
        assert_eq!(say(node.address, b"").await, "");
        assert_eq!(say(node.address, b"GET /peer/v1/st").await, "");
        let answer = say(node.address, challenge.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert_eq!(node.peers.metrics().accept_failures.get(), 3);
        assert_eq!(node.peers.known(), []);
    }
}

#[tokio::test]
async fn a_stranger_learns_no_name_and_no_id_and_no_event_tells_of_it() {
    let mut setup = Setup::new(0xabcd_ef01);
    setup.introduction.name = NodeName("its-name".into());
    setup.introduction.cluster_id = Some(ClusterId(0xabcd_ef02));
    let mut node = setup.start().await;
    let nonce = format!("dsync-peer-nonce: {}\r\n", "12".repeat(32));
    let proof = format!("dsync-peer-proof: {}\r\n", "34".repeat(32));
    let upgrade = "connection: upgrade\r\nupgrade: dsync-peer\r\n";
    let path = handshake::STREAM_PATH;
    let get =
        |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    let huge = format!("content-length: 100000000\r\n\r\n{}", "x".repeat(1_000_000));
    for (said, status) in [
        (get("/", ""), "404"),
        (get("/metrics", ""), "404"),
        (get(path, ""), "401"),
        (get(path, upgrade), "401"),
        (get(path, &format!("{proof}{upgrade}")), "401"),
        (get(path, "dsync-peer-nonce: short\r\n"), "401"),
        (get(path, &nonce) + &get(path, &format!("{proof}{upgrade}")), "403"),
        (get(path, &nonce) + &get(path, &nonce), "403"),
        (format!("POST {path} HTTP/1.1\r\nhost: x\r\n{huge}"), "405"),
        (format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(100_000)), "431"),
        (get("/", &"a: b\r\n".repeat(500)), "431"),
        ("\x16\x03\x01 not http at all\r\n\r\n".into(), "400"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(), ""),
    ] {
        let start = said.chars().take(60).collect::<String>();
        let answer = say(node.address, said.as_bytes()).await;
        let last = answer.split("HTTP/1.1 ").last().unwrap_or_default();
        assert!(last.starts_with(status), "{start:?}: {answer}");
        assert!(!answer.contains("101 Switching"), "{start:?}: {answer}");
        let lower = answer.to_lowercase();
        for hidden in ["its-name", "abcdef01", "abcdef02", "dsync-peer-proof"] {
            assert!(!lower.contains(hidden), "{start:?}: {answer}");
        }
    }
    assert!(node.events.try_recv().is_err());
    assert_eq!(node.peers.known(), []);
}

#[tokio::test]
async fn a_wrong_secret_is_told_so_and_gets_no_further() {
    let mut node = Setup::new(1).start().await;
    let wrong = "another secret of more than 16 bytes";
    let dialled = dial_as(node.address, introduction(2), wrong, Lane::Urgent).await;
    assert!(matches!(dialled, Err(HandshakeError::WrongSecret)), "{dialled:?}");
    assert_eq!(node.peers.known(), []);
    assert!(node.events.try_recv().is_err());
}

/// What each side of a handshake says, given the lines of its secret file.
async fn meet(dialler: &str, listener_lines: &str) -> (bool, bool) {
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let lines = secrets(listener_lines);
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        let hour = Duration::from_secs(3600);
        within(handshake::listen(stream, &lines, hour, introduction(1), async |_| Ok(1))).await
    };
    let (accepted, dialled) =
        tokio::join!(accept, dial_as(address, introduction(2), dialler, Lane::Urgent));
    (dialled.is_ok(), accepted.is_ok())
}

#[tokio::test]
async fn while_a_secret_is_replaced_one_shared_line_is_enough() {
    let old = "the old secret of the cluster";
    let new = "the new secret of the cluster";
    let both = [format!("{old}\n{new}\n"), format!("{new}\n{old}\n")];
    for two in &both {
        for one in [old, new] {
            assert_eq!(meet(one, two).await, (true, true));
            assert_eq!(meet(two, one).await, (true, true));
        }
        assert_eq!(meet(two, &both[0]).await, (true, true));
    }
    assert_eq!(meet(old, new).await, (false, false));
    assert_eq!(meet(&both[0], "a third one that nobody knows").await, (false, false));
}

#[tokio::test]
async fn a_replaced_secret_file_counts_without_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, SECRET).unwrap();
    let (sender, mut events) = mpsc::channel(64);
    let mut limits = Setup::new(1).limits;
    limits.secret_reload = Duration::from_millis(5);
    let config = PeerConfig {
        peers: PeerList::Listed(Vec::new()),
        expected: 0,
        secrets: SecretSource::file(&path).unwrap(),
        held: BTreeMap::new(),
        introduction: introduction(1),
        resolver: Arc::new(SystemResolver),
        limits,
    };
    let peers = Peers::start(config, sender);
    let address = PeerServer::start(listener().await, &peers).unwrap().address();
    let new = "the next secret of the cluster";
    let dial = || dial_as(address, introduction(2), new, Lane::Urgent);
    assert!(dial().await.is_err());
    // As a mounted secret changes: the whole file at once.
    let next = folder.path().join("next");
    std::fs::write(&next, format!("{SECRET}\n{new}\n")).unwrap();
    std::fs::rename(&next, &path).unwrap();
    let _proven = within(async {
        loop {
            if let Ok(proven) = dial().await {
                return proven;
            }
        }
    })
    .await;
    assert!(matches!(within(events.recv()).await, Some(PeerEvent::Introduced(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn silent_strangers_cannot_lock_the_peers_out() {
    let node = Setup::new(1)
        .limits(|limits| {
            limits.unproven = 4;
            limits.handshake = Duration::from_secs(3600);
            limits.header = Duration::from_secs(3600);
        })
        .start()
        .await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    let _peer = proven(node.address, 2, Lane::Urgent).await;
    node.knows(2, PeerInfo::is_connected).await;
    // The oldest have been closed, to the very first.
    assert_eq!(rest_of(silent.remove(0)).await, "");
    assert!(node.peers.metrics().evictions.get() >= 46);
}

/// One that has proven itself no longer takes a stranger's place, nor is it in danger.
#[tokio::test]
async fn a_proven_peer_is_never_evicted() {
    let mut node = Setup::new(1).limits(|limits| limits.unproven = 1).start().await;
    let mut peer = proven(node.address, 2, Lane::Bulk).await;
    node.knows(2, PeerInfo::is_connected).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(node.address).await.unwrap());
    }
    assert_eq!(rest_of(silent.remove(0)).await, "");
    let (from, to, term) = (NodeId(2), NodeId(1), Term(1));
    let envelope = Envelope { from, to, term, message: append(1) };
    liars::write(&mut peer, &Frame::Message(PeerFrame::V1(envelope))).await;
    assert_eq!(node.message().await.message, append(1));
}
