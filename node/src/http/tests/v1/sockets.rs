//! Long answers over real loopback sockets: watchers that do not read, quiet ones, drains, hang-ups.
//! As in `super::super::server`, only the limit under test is short.

use std::time::Duration;

use dsync_core::audit::{AuditRecord, Event};
use dsync_core::locks::{LockEvent, Owner, What};
use dsync_core::types::{ClusterTime, Index};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::{FakeNode, acquire, node};
use crate::http::server::Drained;
use crate::http::{Server, ServerSettings, client_router};
use crate::metrics::PortLabel;

const SOON: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(3600);
/// After this a test has failed; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(60);
const WATCH: &[u8] = b"GET /v1/events HTTP/1.1\r\nhost: n\r\n\r\n";

async fn serve(node: &FakeNode, write_timeout: Duration) -> Server {
    let (head_timeout, idle_timeout) = (NEVER, NEVER);
    let settings =
        ServerSettings { head_timeout, idle_timeout, write_timeout, ..ServerSettings::default() };
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
    let node = node();
    let server = serve(&node, SOON).await;
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

#[tokio::test]
async fn a_closed_connection_leaves_the_queue() {
    let node = node();
    let server = serve(&node, NEVER).await;
    acquire(&node, "x", "a", "exclusive").await;
    let mut stream = TcpStream::connect(server.local_addr()).await.unwrap();
    let body = r#"{"owner":"b","wait":"10m"}"#;
    let head = "POST /v1/locks/x/acquire HTTP/1.1\r\nhost: n\r\ncontent-type: application/json";
    let request = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    until(|| node.machine.load().locks().waits() == 1).await;
    drop(stream);
    until(|| node.machine.load().locks().waits() == 0).await;
}
