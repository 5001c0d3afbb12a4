//! Clients that are silent, slow, endless, many, or talk nonsense: each is answered or cut as
//! documented, everybody else is served meanwhile, and the node's memory stays bounded.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::{HttpClient, Response, read_response};
use dsync_tests::process::locks::{Answer, LockClient, Mode};
use dsync_tests::process::node::Node;
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::process_table::{open_files_max, raise_open_files};
use dsync_tests::process::until::{PATIENCE, until};

use crate::turns;

const TIMEOUT: Duration = PATIENCE;
/// The head of a request may take 10 s; a loaded machine may be late.
const CUT_WITHIN: Duration = PATIENCE;
const MIB: u64 = 1 << 20;
/// Above what a node needs for all that is done to it here together.
const MEMORY_MAX: u64 = 400 * MIB;
/// As many idle connections as are asked for; as many more files as this test needs for itself.
const IDLE: usize = 5_000;
const FILES_SPARE: usize = 300;
/// For those who are served beside the idle ones.
const SEATS_FREE: usize = 50;
/// Connections that a node has seats for where files are plenty.
const SEATS_MAX: usize = 10_000;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(CUT_WITHIN)).unwrap();
    stream
}

/// Reads to the end that the node makes; what came before it, and when it came.
fn rest(mut stream: &TcpStream, began: Instant) -> (String, Duration) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("not cut within {CUT_WITHIN:?}: {error}"),
    }
    (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed())
}

/// Somebody else takes and gives back a lock.
fn others_are_served(node: &Node, lock: &str) {
    let mut client = LockClient::new(node.client, TIMEOUT);
    let taken =
        until("somebody else is served", || client.acquire(lock, "ordinary", Mode::Exclusive).ok());
    assert!(matches!(taken, Answer::Granted { .. }), "{taken:?}");
    until("and gives back", || client.release(lock, "ordinary").ok());
}

#[test]
fn a_silent_connection_and_half_a_header_are_cut() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let node = &cluster.nodes[cluster.leader()];
    let began = Instant::now();
    let silent = connect(node.client);
    let mut half = connect(node.client);
    half.write_all(b"POST /lock/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-le").unwrap();
    let mut half_body = connect(node.client);
    let head = b"POST /lock/acquire HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{\"re";
    half_body.write_all(head).unwrap();
    let silent_admin = connect(node.admin);
    others_are_served(node, "beside-silence");

    let (said, silent_after) = rest(&silent, began);
    assert_eq!(said, "");
    let (said, half_after) = rest(&half, began);
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    let (said, body_after) = rest(&half_body, began);
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    assert_eq!(rest(&silent_admin, began).0, "");
    others_are_served(node, "after-silence");
    measured(&format!(
        "hostile: cut after {silent_after:.1?} of silence, {half_after:.1?} with half a header, \
         {body_after:.1?} with half a body"
    ));
}

#[test]
fn a_hundred_megabytes_are_refused_and_not_kept() {
    const BODY: usize = 100_000_000;
    let _turn = turns::together();
    let cluster = Cluster::start();
    let node = &cluster.nodes[cluster.leader()];
    let before = node.resident_bytes();
    let declared = format!("content-length: {BODY}");
    let bodies = [declared.as_str(), "transfer-encoding: chunked"];
    let senders: Vec<_> = bodies
        .iter()
        .cycle()
        .take(8)
        .map(|header| {
            let (address, header) = (node.client, (*header).to_owned());
            thread::spawn(move || send_body(address, &header, BODY))
        })
        .collect();
    others_are_served(node, "beside-bodies");
    for sender in senders {
        let response = sender.join().unwrap();
        assert_eq!(response.status, 413, "{}", response.text());
        assert_eq!(response.json()["code"], "payload_too_large");
    }
    let after = node.resident_bytes();
    assert!(after < MEMORY_MAX, "{} MiB", after / MIB);
    measured(&format!(
        "hostile: 8 bodies of 100 MB: {} MiB before, {} MiB after",
        before / MIB,
        after / MIB
    ));
}

/// Sends until the body ends or the node has had enough, and reads the answer.
fn send_body(address: SocketAddr, header: &str, bytes: usize) -> Response {
    let mut stream = connect(address);
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    let head = format!("POST /lock/acquire HTTP/1.1\r\nhost: localhost\r\n{header}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let piece = vec![b'x'; 1 << 16];
    let chunked = header.contains("chunked");
    let mut left = bytes;
    while left > 0 {
        let count = left.min(piece.len());
        let written = if chunked {
            let chunk = [format!("{count:x}\r\n").as_bytes(), &piece[..count], b"\r\n"].concat();
            stream.write_all(&chunk)
        } else {
            stream.write_all(&piece[..count])
        };
        if written.is_err() {
            break;
        }
        left -= count;
    }
    read_response(&mut BufReader::new(stream), Instant::now() + CUT_WITHIN)
        .expect("an answer before the end")
}

#[test]
fn thousands_of_idle_connections_are_carried_and_the_node_serves_on() {
    // Alone: it takes nearly all the files that this process may open.
    let _turn = turns::alone();
    let files = raise_open_files() - FILES_SPARE;
    let cluster = Cluster::start();
    let node = &cluster.nodes[cluster.leader()];
    let count = IDLE.min(files).min(seats(node) - SEATS_FREE);
    let before = node.resident_bytes();
    let began = Instant::now();
    let mut idle: Vec<_> = (0..count).map(|number| idle_connection(node, number)).collect();
    let opened = began.elapsed();
    others_are_served(node, "beside-idlers");
    let carried = connections(node);
    assert!(carried >= count * 8 / 10, "{carried} of {count} are left");
    until("the node says that it is ready", || node.is_ready().then_some(()));
    let during = node.resident_bytes();
    assert!(during < MEMORY_MAX, "{} MiB", during / MIB);

    let opened_in_all = fill(node, &mut idle, files);
    until("the admin port has seats of its own", || node.is_ready().then_some(()));
    assert!(node.resident_bytes() < MEMORY_MAX);
    drop(idle);
    until("there are seats again", || {
        let answer = HttpClient::new(node.client, TIMEOUT).get("/status").ok()?;
        (answer.status == 200).then_some(())
    });
    others_are_served(node, "after-idlers");
    measured(&format!(
        "hostile: {carried} of {count} connections opened in {opened:.1?}: {} MiB before, {} MiB \
         with them; newcomers were served up to {opened_in_all} connections",
        before / MIB,
        during / MIB
    ));
}

/// Takes more seats than there are, if this process may open so many files: idle connections go, and
/// newcomers are served. How many were opened.
fn fill(node: &Node, idle: &mut Vec<TcpStream>, files: usize) -> usize {
    while idle.len() + SEATS_FREE < files.min(SEATS_MAX + 2 * SEATS_FREE) {
        idle.extend((0..SEATS_FREE).map(|number| idle_connection(node, number)));
        let answer = HttpClient::new(node.client, TIMEOUT).get("/status").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(connections(node) <= SEATS_MAX, "more than there are seats");
    idle.len()
}

/// Most have been served once and stay idle, which may last; the rest never say a word.
fn idle_connection(node: &Node, number: usize) -> TcpStream {
    let mut stream = connect(node.client);
    if !number.is_multiple_of(10) {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    }
    stream
}

/// How many clients the node takes at least: all seats, or a third of the files it may open.
fn seats(node: &Node) -> usize {
    SEATS_MAX.min(open_files_max(node.pid()) / 3)
}

/// How many connections the node says it has from clients.
fn connections(node: &Node) -> usize {
    let metrics = HttpClient::new(node.admin, TIMEOUT).get("/metrics").unwrap().text();
    let gauge = "dsync_http_connections{port=\"client\"} ";
    let value = metrics.lines().find_map(|line| line.strip_prefix(gauge));
    value.unwrap_or_else(|| panic!("no {gauge} in {metrics}")).parse().unwrap()
}

#[test]
fn nonsense_is_answered_400_and_the_connection_of_others_is_not_hurt() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let node = &cluster.nodes[cluster.follower()];
    let mut client = HttpClient::new(node.client, TIMEOUT);
    let invalid = b"{\"resource_id\":\"\xff\xfe\",\"client_id\":\"c\",\"lock_type\":\"shared\"}";
    for body in [&invalid[..], b"", b"[]", b"null", b"{\"resource_id\":", b"\x00\x01\x02"] {
        let response = client.call("POST", "/lock/acquire", &[], body).unwrap();
        let answer = response.json();
        assert_eq!((response.status, &answer["success"]), (400, &false.into()), "{answer}");
        assert_eq!(answer["field"], "body", "{answer}");
    }
    let path = client.get("/v1/locks/%ff%fe").unwrap();
    assert_eq!(path.status, 400, "{}", path.text());
    assert_eq!(client.get("/no/such/route").unwrap().status, 404);
    assert_eq!(client.get("/lock/acquire").unwrap().status, 405);

    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"hello\r\n\r\n", b"\r\n\r\n\xff"]
    {
        let mut stream = connect(node.client);
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let (said, _) = rest(&stream, Instant::now());
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 400"), "{bytes:?}: {said}");
    }
    let mut long = connect(node.client);
    let head = format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(100_000));
    let _ = long.write_all(head.as_bytes());
    let (said, _) = rest(&long, Instant::now());
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{said}");
    others_are_served(node, "after-nonsense");
}
