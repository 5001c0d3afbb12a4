//! The accept loop over real loopback sockets: peers that do not go on, peers that are too many,
//! and the way out. The limits under test are tens of milliseconds, the others are an hour, so that
//! only the one under test can have acted; the tests await what must happen and measure nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify};
use tokio::time::{interval, timeout};

use super::fake_node::FakeNode;
use crate::http::server::Drained;
use crate::http::{Server, ServerSettings, admin_router, client_router};
use crate::metrics::{Metrics, PortLabel};

/// For what has to be in time, too: a loaded machine is late by some tenths.
const SOON: Duration = Duration::from_millis(500);
const NEVER: Duration = Duration::from_secs(3600);
/// After this a test has failed; nothing is measured by it.
const PATIENCE: Duration = Duration::from_secs(300);
const PORT: PortLabel = PortLabel { port: "client" };
/// Those who count this process's memory or sockets, or take much of either, must not run beside each
/// other.
pub(super) static ALONE: Mutex<()> = Mutex::const_new(());

fn patient() -> ServerSettings {
    ServerSettings {
        head_timeout: NEVER,
        idle_timeout: NEVER,
        write_timeout: NEVER,
        ..ServerSettings::default()
    }
}

async fn serve(router: Router, settings: ServerSettings) -> (Server, Metrics) {
    let metrics = Metrics::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start(listener, router, settings, metrics.http.clone()).unwrap();
    (server, metrics)
}

/// A server of the client routes.
async fn node(settings: ServerSettings) -> (Server, Metrics) {
    serve(client_router(FakeNode::granting().site), settings).await
}

async fn connect(server: &Server) -> TcpStream {
    TcpStream::connect(server.local_addr()).await.unwrap()
}

/// Everything until the server closes.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset after the answer is an end, too; no end at all is what many of these tests look for.
    let end = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    let _ = end.expect("the server keeps the connection open");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// One answer with a body of known length; leaves the connection open.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                return text;
            }
        }
        let mut bytes = [0; 4096];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "closed in the middle of an answer: {text}");
        text.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
}

async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    read_all(stream).await
}

fn timed_out(metrics: &Metrics) -> u64 {
    metrics.http.connections_timed_out.get_or_create(&PORT).get()
}

fn open(metrics: &Metrics) -> i64 {
    metrics.http.connections.get_or_create(&PORT).get()
}

async fn until(mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("it never came to be");
}

const STATUS: &str = "GET /status HTTP/1.1\r\nhost: n\r\n\r\n";

#[tokio::test]
async fn a_connection_that_never_sends_a_byte_is_closed() {
    let (server, metrics) = node(ServerSettings { head_timeout: SOON, ..patient() }).await;
    assert_eq!(read_all(&mut connect(&server).await).await, "");
    until(|| timed_out(&metrics) == 1 && open(&metrics) == 0).await;
}

#[tokio::test]
async fn half_a_head_is_closed() {
    let (server, metrics) = node(ServerSettings { head_timeout: SOON, ..patient() }).await;
    ask(&mut connect(&server).await, "GET /status HTTP/1.1\r\nho").await;
    until(|| timed_out(&metrics) == 1 && open(&metrics) == 0).await;
}

#[tokio::test]
async fn a_head_that_trickles_is_closed_although_there_is_always_something_to_read() {
    let (server, metrics) = node(ServerSettings { head_timeout: SOON, ..patient() }).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /status HTTP/1.1\r\nx: ").await.unwrap();
    let mut pace = interval(Duration::from_millis(5));
    while stream.write_all(b"x").await.is_ok() {
        pace.tick().await;
    }
    until(|| timed_out(&metrics) == 1).await;
}

#[tokio::test]
async fn a_connection_without_a_further_request_is_closed() {
    let (server, metrics) = node(ServerSettings { idle_timeout: SOON, ..patient() }).await;
    let mut stream = connect(&server).await;
    let answers = ask(&mut stream, STATUS).await;
    assert!(answers.starts_with("HTTP/1.1 200 OK\r\n"), "{answers}");
    until(|| timed_out(&metrics) == 1 && open(&metrics) == 0).await;
}

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let (server, metrics) = node(ServerSettings { head_timeout: SOON, ..patient() }).await;
    let mut stream = connect(&server).await;
    for _ in 0..3 {
        stream.write_all(STATUS.as_bytes()).await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200 OK"));
        // Not to wait for something: the pause is what is tested.
        tokio::time::sleep(SOON * 2).await;
    }
    assert_eq!(timed_out(&metrics), 0);
}

#[tokio::test]
async fn a_second_head_that_is_not_finished_is_closed_too() {
    let (server, metrics) = node(ServerSettings { head_timeout: SOON, ..patient() }).await;
    let mut stream = connect(&server).await;
    stream.write_all(STATUS.as_bytes()).await.unwrap();
    read_answer(&mut stream).await;
    ask(&mut stream, "GET /sta").await;
    until(|| timed_out(&metrics) == 1 && open(&metrics) == 0).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_its_answer_is_cut() {
    let long: &'static str = Box::leak("x".repeat(16 << 20).into_boxed_str());
    let router = Router::new().route("/long", get(move || async move { long }));
    let (server, metrics) =
        serve(router, ServerSettings { write_timeout: SOON, ..patient() }).await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET /long HTTP/1.1\r\nhost: n\r\n\r\n").await.unwrap();
    until(|| timed_out(&metrics) == 1 && open(&metrics) == 0).await;
}

#[tokio::test]
async fn a_body_that_trickles_is_408_and_the_connection_closes() {
    let router = client_router(FakeNode::granting().hasty().site);
    let (server, _) = serve(router, patient()).await;
    let request = "POST /lock/acquire HTTP/1.1\r\nhost: n\r\ncontent-length: 9\r\n\r\n{";
    let answer = ask(&mut connect(&server).await, request).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_body_of_100_megabytes_is_cut_with_413_and_never_kept() {
    let _alone = ALONE.lock().await;
    let (server, metrics) = node(ServerSettings { linger: NEVER, ..patient() }).await;
    for framing in ["content-length: 104857600", "transfer-encoding: chunked"] {
        let before = peak_memory_kib();
        let (mut reader, mut writer) = connect(&server).await.into_split();
        let head = format!("POST /lock/acquire HTTP/1.1\r\nhost: n\r\n{framing}\r\n\r\n");
        let sending = tokio::spawn(async move {
            writer.write_all(head.as_bytes()).await?;
            let piece = [b"10000\r\n".as_slice(), &[b' '; 1 << 16], b"\r\n"].concat();
            for _ in 0..1600 {
                writer.write_all(&piece).await?;
            }
            io::Result::Ok(())
        });
        let mut answer = Vec::new();
        let _ = reader.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 413"), "{framing}: {answer}");
        assert!(answer.contains("application/problem+json"), "{framing}: {answer}");
        let sent = sending.await.unwrap();
        assert!(sent.is_ok(), "{framing}: the answer came with a reset: {sent:?}");
        until(|| open(&metrics) == 0).await;
        let grown = peak_memory_kib() - before;
        assert!(grown < 48 << 10, "{framing}: peak memory grew by {grown} KiB");
    }
}

#[tokio::test]
async fn bytes_that_are_not_utf_8_are_refused_wherever_they_stand() {
    let (server, _) = node(patient()).await;
    let body = b"{\"resource_id\":\"\xff\xfe\"}";
    let close = "host: n\r\nconnection: close\r\n";
    let in_body = [
        format!("POST /lock/acquire HTTP/1.1\r\n{close}content-length: {}\r\n\r\n", body.len())
            .as_bytes(),
        body,
    ]
    .concat();
    let escaped = format!("GET /v1/locks/%ff%fe HTTP/1.1\r\n{close}\r\n").into_bytes();
    let raw_path = [b"GET /v1/locks/\xff\xfe HTTP/1.1\r\n", close.as_bytes(), b"\r\n"].concat();
    for request in [in_body, escaped, raw_path] {
        let mut stream = connect(&server).await;
        stream.write_all(&request).await.unwrap();
        let answer = read_all(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    }
    let in_header = [b"GET /status HTTP/1.1\r\nx-request-id: \xff\r\n", close.as_bytes(), b"\r\n"];
    let mut stream = connect(&server).await;
    stream.write_all(&in_header.concat()).await.unwrap();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
}

/// The problem in an answer, whose status must be this one.
fn problem(answer: &str, status: u16) -> serde_json::Value {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("content-type: application/problem+json"), "{answer}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{answer}");
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], status, "{answer}");
    let id = problem["request_id"].as_str().unwrap();
    assert!(!id.is_empty() && head.contains(&format!("x-request-id: {id}")), "{answer}");
    problem
}

#[tokio::test]
async fn what_is_not_http_is_answered_with_a_problem_and_closed() {
    let (server, _) = node(patient()).await;
    for bytes in [
        "\x16\x03\x01 hello\r\n\r\n",
        "hello\r\n\r\n",
        "GET /status\r\n\r\n",
        "GET /status HTTP/1.7\r\n\r\n",
        "GET /status HTTP/1.1\r\nno colon\r\n\r\n",
        "G@T /status HTTP/1.1\r\nhost: n\r\n\r\n",
        "POST /status HTTP/1.1\r\nhost: n\r\ncontent-length: x\r\n\r\n",
    ] {
        let answer = ask(&mut connect(&server).await, bytes).await;
        assert_eq!(problem(&answer, 400)["code"], "malformed_head", "{bytes:?}");
        // After a request that was answered, too.
        let mut stream = connect(&server).await;
        stream.write_all(STATUS.as_bytes()).await.unwrap();
        assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
        assert_eq!(problem(&ask(&mut stream, bytes).await, 400)["code"], "malformed_head");
    }
}

#[tokio::test]
async fn heads_with_too_many_bytes_or_fields_are_431() {
    let (server, _) = node(patient()).await;
    let long = format!("GET /status HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(17 << 10));
    let longer = format!("GET /status HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("GET /status HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    for request in [long, longer, many] {
        let answer = ask(&mut connect(&server).await, &request).await;
        assert_eq!(problem(&answer, 431)["code"], "head_too_large");
    }
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let (server, _) = node(patient()).await;
    let close = "connection: close\r\n\r\n";
    for hosts in ["", "host: a\r\nhost: b\r\n", "host: a b\r\n"] {
        let request = format!("GET /status HTTP/1.1\r\n{hosts}{close}");
        let answer = ask(&mut connect(&server).await, &request).await;
        assert_eq!(problem(&answer, 400)["field"], "host", "{hosts:?}");
    }
    let old = ask(&mut connect(&server).await, "GET /status HTTP/1.0\r\n\r\n").await;
    assert!(old.contains(" 200 OK\r\n"), "{old}");
}

#[tokio::test]
async fn an_idle_connection_gives_its_seat_to_a_newcomer_the_oldest_first() {
    let (server, metrics) = node(ServerSettings { connections_max: 3, ..patient() }).await;
    let mut silent = connect(&server).await;
    until(|| open(&metrics) == 1).await;
    let mut half_a_head = connect(&server).await;
    half_a_head.write_all(b"GET /sta").await.unwrap();
    until(|| open(&metrics) == 2).await;
    let mut served = connect(&server).await;
    served.write_all(STATUS.as_bytes()).await.unwrap();
    read_answer(&mut served).await;

    let mut kept = Vec::new();
    for oldest in [&mut silent, &mut half_a_head, &mut served] {
        let mut newcomer = connect(&server).await;
        newcomer.write_all(STATUS.as_bytes()).await.unwrap();
        assert!(read_answer(&mut newcomer).await.starts_with("HTTP/1.1 200"));
        assert_eq!(read_all(oldest).await, "");
        // Kept by its client, but idle.
        kept.push(newcomer);
    }
    assert_eq!(metrics.http.connections_refused.get_or_create(&PORT).get(), 0);
}

/// As many idle connections as one likes, opened again when cut: probes are answered.
#[tokio::test]
async fn probes_are_answered_among_a_flood_of_idle_connections() {
    let router = admin_router(FakeNode::granting().site);
    let (server, _) = serve(router, ServerSettings { connections_max: 16, ..patient() }).await;
    let address = server.local_addr();
    let idlers: Vec<_> = (0..100)
        .map(|_| {
            tokio::spawn(async move {
                loop {
                    let Ok(mut stream) = TcpStream::connect(address).await else { return };
                    let _ = stream.read(&mut [0]).await;
                }
            })
        })
        .collect();
    for _ in 0..50 {
        let mut probe = connect(&server).await;
        probe.write_all(b"GET /livez HTTP/1.1\r\nhost: n\r\n\r\n").await.unwrap();
        let answer = read_answer(&mut probe).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    idlers.iter().for_each(tokio::task::JoinHandle::abort);
}

/// The kernel shows of each socket which timer runs; `02` is keepalive's.
#[tokio::test]
async fn a_quiet_peer_is_asked_by_the_kernel_whether_it_is_there() {
    let (server, metrics) = node(patient()).await;
    let stream = connect(&server).await;
    until(|| open(&metrics) == 1).await;
    let (here, there) = (server.local_addr().port(), stream.local_addr().unwrap().port());
    let row = || {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let ends = (format!(":{here:04X}"), format!(":{there:04X}"));
        let row = table.lines().map(str::to_owned).find(|row| {
            let words: Vec<_> = row.split_whitespace().collect();
            words.len() > 5 && words[1].ends_with(&ends.0) && words[2].ends_with(&ends.1)
        });
        row.expect("the server's socket")
    };
    let row = row();
    let timer = row.split_whitespace().nth(5).unwrap().to_owned();
    let (kind, ticks) = timer.split_once(':').unwrap();
    assert_eq!(kind, "02", "{row}");
    // Hundredths of a second.
    assert!(u64::from_str_radix(ticks, 16).unwrap() <= 2_000, "{row}");
}

#[tokio::test]
async fn who_comes_while_all_are_busy_is_told_503_and_when_to_come_again() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let settings = ServerSettings { connections_max: 1, ..patient() };
    let (server, metrics) = serve(slow(&entered, &go), settings).await;
    let mut first = connect(&server).await;
    first.write_all(SLOW).await.unwrap();
    entered.notified().await;

    let refusal = ask(&mut connect(&server).await, STATUS).await;
    assert!(refusal.contains("retry-after: 1\r\n"), "{refusal}");
    assert_eq!(problem(&refusal, 503)["code"], "too_many_connections");
    assert_eq!(problem(&refusal, 503)["retryable"], true);
    assert_eq!(metrics.http.connections_refused.get_or_create(&PORT).get(), 1);

    go.notify_one();
    assert!(read_answer(&mut first).await.ends_with("done"));
    let mut third = connect(&server).await;
    third.write_all(SLOW).await.unwrap();
    entered.notified().await;
    go.notify_one();
    assert!(read_answer(&mut third).await.ends_with("done"));
}

#[tokio::test]
async fn five_thousand_idle_connections_do_not_hold_up_a_request() {
    let _alone = ALONE.lock().await;
    let (server, metrics) = node(patient()).await;
    let count = (open_files_max() / 2).saturating_sub(200).min(5_000);
    assert!(count >= 900, "the limit of open files allows only {count} connections");
    println!("{count} idle connections");
    let before = peak_memory_kib();
    let mut idle = Vec::new();
    for _ in 0..count {
        idle.push(connect(&server).await);
    }
    until(|| open(&metrics) == i64::try_from(count).unwrap()).await;
    let mut stream = connect(&server).await;
    stream.write_all(STATUS.as_bytes()).await.unwrap();
    assert!(read_answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    println!("peak memory grew by {} KiB", peak_memory_kib() - before);
    drop((idle, stream));
    until(|| open(&metrics) == 0).await;
}

/// A route that answers when told to.
fn slow(entered: &Arc<Notify>, go: &Arc<Notify>) -> Router {
    let (entered, go) = (Arc::clone(entered), Arc::clone(go));
    Router::new().route(
        "/slow",
        get(move || async move {
            entered.notify_one();
            go.notified().await;
            "done"
        }),
    )
}

const SLOW: &[u8] = b"GET /slow HTTP/1.1\r\nhost: n\r\n\r\n";

#[tokio::test]
async fn a_drain_lets_requests_finish_closes_idle_connections_and_takes_no_new_ones() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (server, metrics) = serve(slow(&entered, &go), patient()).await;
    let address = server.local_addr();
    let (mut busy, mut idle, mut silent) =
        (connect(&server).await, connect(&server).await, connect(&server).await);
    idle.write_all(b"GET /nothing HTTP/1.1\r\nhost: n\r\n\r\n").await.unwrap();
    read_answer(&mut idle).await;
    busy.write_all(SLOW).await.unwrap();
    entered.notified().await;

    let drained = tokio::spawn(server.drain(NEVER));
    assert_eq!(read_all(&mut idle).await, "");
    assert_eq!(read_all(&mut silent).await, "");
    until(|| open(&metrics) == 1).await;
    assert!(TcpStream::connect(address).await.is_err());
    assert!(!drained.is_finished());

    go.notify_one();
    assert!(read_all(&mut busy).await.ends_with("done"));
    assert_eq!(drained.await.unwrap(), Drained::Finished);
}

#[tokio::test]
async fn a_request_that_was_sent_before_its_client_could_know_of_the_drain_is_answered_with_close()
{
    const ASK: &[u8] = b"GET /nothing HTTP/1.1\r\nhost: n\r\n\r\n";
    let settings = ServerSettings { drain_linger: NEVER, ..patient() };
    let (server, _) = serve(Router::new(), settings).await;
    let mut idle = connect(&server).await;
    idle.write_all(ASK).await.unwrap();
    assert!(!read_answer(&mut idle).await.contains("connection: close"));
    // One that only the kernel has accepted: nothing is awaited from here to the drain.
    let mut connected = std::net::TcpStream::connect(server.local_addr()).unwrap();
    io::Write::write_all(&mut connected, ASK).unwrap();
    connected.set_nonblocking(true).unwrap();
    let mut connected = TcpStream::from_std(connected).unwrap();
    let address = server.local_addr();
    let drained = tokio::spawn(server.drain(NEVER));
    let mut refused = TcpStream::connect(address).await;
    while refused.is_ok() {
        refused = TcpStream::connect(address).await;
    }
    idle.write_all(ASK).await.unwrap();
    for stream in [&mut idle, &mut connected] {
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    assert_eq!(drained.await.unwrap(), Drained::Finished);
}

#[tokio::test]
async fn a_drain_cuts_what_takes_too_long() {
    let (entered, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (server, metrics) = serve(slow(&entered, &go), patient()).await;
    let mut busy = connect(&server).await;
    busy.write_all(SLOW).await.unwrap();
    entered.notified().await;
    assert_eq!(server.drain(SOON).await, Drained::Cut);
    assert_eq!(read_all(&mut busy).await, "");
    assert_eq!(open(&metrics), 0);
}

/// The most memory that this process has had so far.
fn peak_memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// The soft limit of open files. Raising it takes a call that is unsafe or a crate for it alone.
fn open_files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()).unwrap_or("1024");
    soft.parse().unwrap_or(usize::MAX)
}
