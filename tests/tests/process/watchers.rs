//! A thousand watch, and one of them reads nothing: neither the others nor the grants notice.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::percentiles::{Percentiles, measured};
use dsync_tests::process::process_table::raise_open_files;
use dsync_tests::process::until::{PATIENCE, timed};
use serde_json::json;

use crate::turns;

const TIMEOUT: Duration = PATIENCE;
const WATCHERS: usize = 1_000;
const CYCLES: usize = 400;
const GRANTED: &[u8] = b"event: granted";

#[test]
fn a_watcher_that_reads_nothing_is_noticed_by_nobody() {
    let _turn = turns::alone();
    assert!(raise_open_files() > 2 * WATCHERS, "too few open files are allowed");
    let cluster = Cluster::start();
    let node = cluster.clients()[cluster.leader()];
    let before = cycles(node, "before", CYCLES);

    let stalled = watch(node);
    // More than any buffer on its way holds.
    let flood = "x".repeat(200);
    for part in 0..20 {
        cycles(node, &format!("{flood}-{part}"), CYCLES / 2);
    }
    let alone = cycles(node, "stalled", CYCLES);

    let watchers: Vec<TcpStream> = (1..WATCHERS).map(|_| watch(node)).collect();
    let stop = AtomicBool::new(false);
    let with_all = thread::scope(|scope| {
        let readers: Vec<_> = watchers
            .chunks(WATCHERS.div_ceil(4))
            .map(|some| scope.spawn(|| drain(some, &stop)))
            .collect();
        let times = cycles(node, "watched", CYCLES);
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            let seen = reader.join().unwrap();
            assert!(seen.iter().all(|grants| *grants == CYCLES), "somebody missed one: {seen:?}");
        }
        times
    });
    drop(stalled);
    measured(&format!("acquire, nobody watches: {before}"));
    measured(&format!("acquire, one watches and reads nothing: {alone}"));
    measured(&format!("acquire, {WATCHERS} watch and one of them reads nothing: {with_all}"));
}

/// A connection on which everything that happens from now on comes.
fn watch(node: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(node).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let request = "GET /v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    // The bookmark says that it is subscribed.
    read_until(&mut stream, b"bookmark");
    stream
}

fn read_until(stream: &mut TcpStream, word: &[u8]) {
    let mut reader = BufReader::with_capacity(1, stream);
    let (mut seen, mut byte) = (Vec::new(), [0]);
    while !seen.ends_with(word) {
        reader.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
}

/// Reads all of them until each has seen every grant; how many each has seen.
fn drain(watchers: &[TcpStream], stop: &AtomicBool) -> Vec<usize> {
    let mut seen = vec![Counter::default(); watchers.len()];
    for watcher in watchers {
        watcher.set_nonblocking(true).unwrap();
    }
    let mut buffer = vec![0; 64 * 1024];
    let mut stopped_at = None;
    loop {
        for (mut watcher, counter) in watchers.iter().zip(&mut seen) {
            while let Ok(count @ 1..) = watcher.read(&mut buffer) {
                counter.take(&buffer[..count]);
            }
        }
        if stop.load(Ordering::Relaxed) {
            let stopped = *stopped_at.get_or_insert_with(Instant::now);
            let all = seen.iter().all(|counter| counter.count >= CYCLES);
            if all || stopped.elapsed() > PATIENCE {
                return seen.into_iter().map(|counter| counter.count).collect();
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Counts a word in a stream, wherever the reads cut it.
#[derive(Clone, Default)]
struct Counter {
    count: usize,
    tail: Vec<u8>,
}

impl Counter {
    fn take(&mut self, bytes: &[u8]) {
        self.tail.extend_from_slice(bytes);
        self.count += self.tail.windows(GRANTED.len()).filter(|word| *word == GRANTED).count();
        let keep = self.tail.len().min(GRANTED.len() - 1);
        self.tail.drain(..self.tail.len() - keep);
    }
}

/// Takes and gives back a lock so many times; how long the acquires took.
fn cycles(node: SocketAddr, name: &str, count: usize) -> Percentiles {
    let mut client = HttpClient::new(node, TIMEOUT);
    let mut times = Percentiles::default();
    let path = format!("/v1/locks/{name}/acquire");
    for _ in 0..count {
        let body = json!({ "owner": "cycle", "ttl": 60_000, "wait": 0 });
        let (answer, took) = timed("a lock is granted", PATIENCE, || {
            client.post(&path, &body).ok().filter(|answer| answer.status == 200)
        });
        times.add(took);
        let body = json!({ "hold": answer.json()["hold"] });
        assert_eq!(client.post("/v1/locks/release", &body).unwrap().status, 200);
    }
    times
}

#[test]
fn a_word_is_counted_wherever_the_reads_cut_it() {
    let mut counter = Counter::default();
    for bytes in [&b"event: gra"[..], b"nted\nevent: granted", b"\nevent: queued"] {
        counter.take(bytes);
    }
    assert_eq!(counter.count, 2);
}
