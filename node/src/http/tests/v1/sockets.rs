//! Long answers over real loopback sockets: watchers that do not read, quiet ones, drains, hang-ups.
//! As in `super::super::server`, only the limit under test is short.

use std::time::Duration;

use dsync_core::audit::{AuditRecord, Event};
use dsync_core::locks::{LockEvent, Owner, What};
use dsync_core::types::{ClusterTime, Index};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{FakeNode, acquire, node};
use crate::http::server::Drained;
use crate::http::tests::server::ALONE;
use crate::http::{Server, ServerSettings, client_router};
use crate::metrics::PortLabel;

const SOON: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(3600);
/// After this a test has failed; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
const WATCH: &[u8] = b"GET /v1/events HTTP/1.1\r\nhost: n\r\n\r\n";

fn patient(write_timeout: Duration) -> ServerSettings {
    let (head_timeout, idle_timeout) = (NEVER, NEVER);
    ServerSettings { head_timeout, idle_timeout, write_timeout, ..ServerSettings::default() }
}

async fn serve(node: &FakeNode, write_timeout: Duration) -> Server {
    serve_with(node, patient(write_timeout)).await
}

async fn serve_with(node: &FakeNode, settings: ServerSettings) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let metrics = node.site.metrics.http.clone();
    Server::start(listener, client_router(node.site.clone()), settings, metrics).unwrap()
}

fn cut(node: &FakeNode) -> u64 {
    let cut = &node.site.metrics.http.connections_timed_out;
    cut.get_or_create(&PortLabel { port: "client" }).get()
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never came to be");
}

/// Reads lines until one has these words.
async fn read_until(stream: &mut BufReader<TcpStream>, words: &str) {
    let reading = async {
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "closed before {words:?}");
        }
    };
    timeout(PATIENCE, reading).await.expect("it never came");
}

async fn watch(server: &Server) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    stream.write_all(WATCH).await.unwrap();
    let mut stream = BufReader::new(stream);
    read_until(&mut stream, "bookmark").await;
    stream
}

/// More than the kernel keeps for a peer that does not read.
fn flood(node: &FakeNode) -> u64 {
    const RECORDS: u64 = 2_500;
    let event = LockEvent {
        what: What::Refused,
        owner: Owner { principal: "anonymous".to_owned(), name: "a".to_owned() },
        items: Vec::new(),
        hold: None,
        wait: None,
        attachment: None,
        elapsed_ms: 0,
        detail: "d".repeat(16 << 10),
    };
    let record = |number| AuditRecord {
        number,
        index: Index(number),
        stamp: ClusterTime(number),
        event: Event::Lock(event.clone()),
    };
    node.site.node.events().push((1..=RECORDS).map(record));
    RECORDS
}

#[tokio::test]
async fn a_watcher_that_does_not_read_is_cut_and_the_others_get_everything() {
    let _alone = ALONE.lock().await;
    let node = node();
    // Longer than one that reads can need for a piece, however busy the machine is.
    let server = serve(&node, Duration::from_secs(5)).await;
    let (stalled, mut reads) = (watch(&server).await, watch(&server).await);
    let last = flood(&node);
    read_until(&mut reads, &format!("\"number\":{last},")).await;
    until(|| cut(&node) == 1).await;
    drop(stalled);
}

#[tokio::test]
async fn a_quiet_watcher_is_not_cut() {
    let node = node();
    let server = serve(&node, SOON).await;
    let mut quiet = watch(&server).await;
    // Not to wait for something: the pause is what is tested.
    tokio::time::sleep(SOON * 5).await;
    acquire(&node, "x", "a", "exclusive").await;
    read_until(&mut quiet, "granted").await;
    assert_eq!(cut(&node), 0);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_watchers() {
    let node = node();
    let server = serve(&node, NEVER).await;
    let mut watcher = watch(&server).await;
    let drained = tokio::spawn(server.drain(NEVER));
    node.site.node.events().close();
    read_until(&mut watcher, "stopping").await;
    assert_eq!(drained.await.unwrap(), Drained::Finished);
}

#[tokio::test]
async fn a_watcher_that_is_gone_costs_nothing_more() {
    let node = node();
    let server = serve(&node, NEVER).await;
    drop(watch(&server).await);
    let open = &node.site.metrics.http.connections;
    until(|| open.get_or_create(&PortLabel { port: "client" }).get() == 0).await;
}

/// Sends an acquire that waits for a lock that `a` holds, with `rest` behind its body.
async fn wait_behind(node: &FakeNode, server: &Server, rest: &[u8]) -> TcpStream {
    acquire(node, "x", "a", "exclusive").await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let body = r#"{"owner":"b","wait":"10m"}"#;
    let head = "POST /v1/locks/x/acquire HTTP/1.1\r\nhost: n\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(&[request.as_bytes(), rest].concat()).await.unwrap();
    until(|| node.machine.load().locks().waits() == 1).await;
    stream
}

#[tokio::test]
async fn a_closed_connection_leaves_the_queue_whatever_follows_the_body() {
    let pipelined = b"GET /status HTTP/1.1\r\nhost: n\r\n\r\n".repeat(20);
    for rest in [&b""[..], b"}", b"\r\n", &pipelined, &[b'x'; 12 << 10]] {
        let node = node();
        let server = serve(&node, NEVER).await;
        drop(wait_behind(&node, &server, rest).await);
        until(|| node.machine.load().locks().waits() == 0).await;
    }
}

#[tokio::test]
async fn a_byte_that_comes_later_hides_no_hang_up_either() {
    let node = node();
    let server = serve(&node, NEVER).await;
    let mut stream = wait_behind(&node, &server, b"").await;
    for _ in 0..3 {
        stream.write_all(b"\r\n").await.unwrap();
        // Not to wait for something: the bytes shall come one by one.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(node.machine.load().locks().waits(), 1);
    }
    drop(stream);
    until(|| node.machine.load().locks().waits() == 0).await;
}

#[tokio::test]
async fn who_sends_on_without_end_behind_a_request_does_not_wait_for_it() {
    let node = node();
    let server = serve(&node, NEVER).await;
    let mut stream = wait_behind(&node, &server, b"").await;
    // It may be cut before the last byte is sent.
    let _ = stream.write_all(&[b'x'; 96 << 10]).await;
    until(|| node.machine.load().locks().waits() == 0).await;
    // Cut, though it was never closed from this end.
    let mut rest = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("it is cut");
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn a_request_that_was_sent_behind_one_that_waits_is_answered_after_it() {
    let node = node();
    let server = serve(&node, NEVER).await;
    let next = b"GET /status HTTP/1.1\r\nhost: n\r\nconnection: close\r\n\r\n";
    let mut stream = wait_behind(&node, &server, next).await;
    let given_back = json!({ "resource_id": "x", "client_id": "a" });
    assert_eq!(node.post_json("/lock/release", &given_back).await.status, 200);
    let mut said = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut said)).await.unwrap().unwrap();
    let answers: Vec<&str> = said.split("HTTP/1.1 200 OK").collect();
    assert!(answers.len() == 3 && answers[1].contains("\"hold\""), "{said}");
    assert!(answers[2].contains("commit_index"), "{said}");
}

/// A holder renews while more clients wait than there are seats to wait.
#[tokio::test]
async fn requests_that_do_not_wait_have_seats_of_their_own() {
    const WAITS: usize = 3;
    let mut node = node();
    node.site = node.site.clone().with_waits(WAITS);
    let settings = ServerSettings { connections_max: 5, ..patient(NEVER) };
    let server = serve_with(&node, settings).await;
    let hold = acquire(&node, "x", "a", "exclusive").await["hold"].clone();
    let waiter = |number: usize| {
        let body = format!(r#"{{"owner":"w{number}","wait":"10m"}}"#);
        request("POST /v1/locks/x/acquire", &body)
    };
    let mut kept = Vec::new();
    for number in 0..WAITS {
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(waiter(number).as_bytes()).await.unwrap();
        kept.push(stream);
        until(|| node.machine.load().locks().waits() == number + 1).await;
    }
    for number in WAITS..4 * WAITS {
        // Kept open, as a client does that will ask again.
        let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
        stream.write_all(waiter(number).as_bytes()).await.unwrap();
        let mut answer = BufReader::new(stream);
        read_until(&mut answer, "HTTP/1.1 503").await;
        read_until(&mut answer, "retry-after: 1").await;
        kept.push(answer.into_inner());
    }
    for _ in 0..10 {
        let mut holder = TcpStream::connect(server.local_addr()).await.unwrap();
        let renew = request("POST /v1/locks/x/renew", &format!(r#"{{"hold":{hold}}}"#));
        holder.write_all(renew.as_bytes()).await.unwrap();
        let mut holder = BufReader::new(holder);
        read_until(&mut holder, "HTTP/1.1 200").await;
        kept.push(holder.into_inner());
    }
    assert_eq!(node.machine.load().locks().waits(), WAITS);
    drop(kept);
    until(|| node.machine.load().locks().waits() == 0).await;
}

#[tokio::test]
async fn a_watch_has_one_of_the_seats_to_wait_until_it_ends() {
    let mut node = node();
    node.site = node.site.clone().with_waits(1);
    let server = serve(&node, NEVER).await;
    let first = watch(&server).await;
    let mut second = TcpStream::connect(server.local_addr()).await.unwrap();
    second.write_all(WATCH).await.unwrap();
    read_until(&mut BufReader::new(second), "HTTP/1.1 503").await;
    drop(first);
    until(|| node.site.seat_to_wait().is_ok()).await;
    drop(watch(&server).await);
}

fn request(line: &str, body: &str) -> String {
    let head = format!("{line} HTTP/1.1\r\nhost: n\r\ncontent-type: application/json");
    format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}
