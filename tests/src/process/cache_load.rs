//! Clients that put, get and delete cached values all the time, and check every answer at once.
//!
//! What is checked is what a cache promises: a get never returns a value that is older than what somebody
//! had been told before the get began, be it by a put, a delete or another get. Versions rise, so it is enough
//! to remember the highest one for each key: it is read before a request is sent, and raised after its
//! answer has come. Nothing cached is right at any time.
//!
//! A put that was answered is also remembered by its version: whoever reads that version has to read that
//! body.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::http::{HttpClient, Response};
use super::seeded::Seeded;
use super::until::until;

/// Few, so that each is often written while others read it.
const KEYS: usize = 12;
/// Of a hundred requests so many are gets, the rest puts and a few deletes.
const GETS_PERCENT: usize = 85;
const DELETES_PERCENT: usize = 2;
/// A node that is down is not asked again at once.
const PAUSE: Duration = Duration::from_millis(10);
/// Above the time for which a node waits for a home.
const TIMEOUT: Duration = Duration::from_secs(8);
/// Bodies that are remembered.
const BODIES_MAX: usize = 200_000;

/// Epoch and number.
type Version = (u64, u64);

/// The clients at work.
#[derive(Debug)]
pub struct CacheLoad {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// What came of all requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct CacheTally {
    /// Gets that found a value without a message to another node.
    pub hits: u64,
    /// Gets for which a home was asked, and that found a value.
    pub asked: u64,
    /// Gets that found nothing.
    pub nothing: u64,
    /// Puts and deletes that were done.
    pub writes: u64,
    /// Requests that were not served, or of which nobody knows.
    pub unserved: u64,
}

#[derive(Debug)]
struct Shared {
    floors: Vec<Mutex<Version>>,
    bodies: Mutex<HashMap<(usize, Version), String>>,
    faults: Mutex<Vec<String>>,
    counts: [AtomicU64; 5],
    next_body: AtomicU64,
    stop: AtomicBool,
}

#[derive(Clone, Copy)]
enum Count {
    Hit,
    Asked,
    Nothing,
    Write,
    Unserved,
}

impl CacheLoad {
    /// Starts so many clients of each node.
    #[must_use]
    pub fn start(nodes: &[SocketAddr], clients_each: usize) -> Self {
        let shared = Arc::new(Shared {
            floors: (0..KEYS).map(|_| Mutex::default()).collect(),
            bodies: Mutex::default(),
            faults: Mutex::default(),
            counts: Default::default(),
            next_body: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let all = nodes.iter().flat_map(|node| (0..clients_each).map(|_| *node));
        let run = |(seed, node): (u64, SocketAddr)| {
            let shared = shared.clone();
            thread::spawn(move || shared.run(node, Seeded(seed)))
        };
        let threads = (1..).zip(all).map(run).collect();
        Self { shared, threads }
    }

    /// Waits for so many more gets that found something, and a tenth as many writes.
    pub fn await_more(&self, gets: u64) {
        let before = self.tally();
        until("caches are used", || {
            let now = self.tally();
            let found = now.hits + now.asked - before.hits - before.asked;
            (found >= gets && now.writes - before.writes >= gets / 10).then_some(())
        });
    }

    /// What has come of all requests so far.
    #[must_use]
    pub fn tally(&self) -> CacheTally {
        let count = |of: Count| self.shared.counts[of as usize].load(Ordering::Relaxed);
        CacheTally {
            hits: count(Count::Hit),
            asked: count(Count::Asked),
            nothing: count(Count::Nothing),
            writes: count(Count::Write),
            unserved: count(Count::Unserved),
        }
    }

    /// Ends the clients.
    ///
    /// # Panics
    /// If any answer was wrong.
    #[must_use]
    pub fn finish(self) -> CacheTally {
        self.shared.stop.store(true, Ordering::Relaxed);
        let tally = self.tally();
        for thread in self.threads {
            thread.join().unwrap();
        }
        let faults = self.shared.faults.lock().unwrap();
        assert!(faults.is_empty(), "{} wrong answers, the first: {}", faults.len(), faults[0]);
        tally
    }
}

impl Shared {
    fn run(&self, node: SocketAddr, mut chance: Seeded) {
        let mut client = HttpClient::new(node, TIMEOUT);
        while !self.stop.load(Ordering::Relaxed) {
            let key = chance.below(KEYS);
            let served = if chance.percent(GETS_PERCENT) {
                self.get(&mut client, key)
            } else {
                self.write(&mut client, key, chance.percent(DELETES_PERCENT))
            };
            if !served {
                self.count(Count::Unserved);
                thread::sleep(PAUSE);
            }
        }
    }

    fn get(&self, client: &mut HttpClient, key: usize) -> bool {
        let floor = *self.floors[key].lock().unwrap();
        let Ok(answer) = client.get(&path(key)) else { return false };
        match answer.status {
            200 => {
                let version = version(answer.header("etag"));
                if version < floor {
                    self.fault(format!("key {key}: {version:?} after {floor:?}: {answer:?}"));
                }
                self.check_body(key, version, &answer);
                self.raise(key, version);
                let hit = answer.header("dsync-cache") == Some("hit");
                self.count(if hit { Count::Hit } else { Count::Asked });
            }
            404 => self.count(Count::Nothing),
            _ => return false,
        }
        true
    }

    fn write(&self, client: &mut HttpClient, key: usize, delete: bool) -> bool {
        let body = self.next_body.fetch_add(1, Ordering::Relaxed).to_string();
        let answer = match delete {
            true => client.call("DELETE", &path(key), &[], b""),
            false => client.call("PUT", &path(key), &[], body.as_bytes()),
        };
        let Some(answer) = answer.ok().filter(|answer| answer.status == 200) else { return false };
        let written = answer.json()["version"].as_str().map(|text| format!("\"{text}\""));
        let version = version(written.as_deref());
        if !delete {
            self.remember(key, version, body);
        }
        self.raise(key, version);
        self.count(Count::Write);
        true
    }

    fn raise(&self, key: usize, version: Version) {
        let mut floor = self.floors[key].lock().unwrap();
        *floor = version.max(*floor);
    }

    fn remember(&self, key: usize, version: Version, body: String) {
        let mut bodies = self.bodies.lock().unwrap();
        if bodies.len() < BODIES_MAX {
            bodies.insert((key, version), body);
        }
    }

    fn check_body(&self, key: usize, version: Version, answer: &Response) {
        let bodies = self.bodies.lock().unwrap();
        let put = bodies.get(&(key, version));
        if let Some(put) = put.filter(|put| put.as_bytes() != answer.body) {
            self.fault(format!("key {key}: {version:?} was put as {put}: {answer:?}"));
        }
    }

    fn fault(&self, fault: String) {
        self.faults.lock().unwrap().push(fault);
    }

    fn count(&self, of: Count) {
        self.counts[of as usize].fetch_add(1, Ordering::Relaxed);
    }
}

fn path(key: usize) -> String {
    format!("/v1/cache/key-{key}")
}

fn version(tag: Option<&str>) -> Version {
    let text = tag.expect("a version").trim_matches('"');
    let (epoch, number) = text.split_once('.').expect("EPOCH.NUMBER");
    (epoch.parse().expect("a number"), number.parse().expect("a number"))
}

/// The counters of a node's metrics that begin so, by the rest of their names with labels.
///
/// # Panics
/// If the node does not answer.
#[must_use]
pub fn counters(node: SocketAddr, prefix: &str) -> BTreeMap<String, u64> {
    let text = HttpClient::new(node, TIMEOUT).get("/metrics").expect("an answer").text();
    let line = |line: &str| {
        let (name, value) = line.strip_prefix(prefix)?.rsplit_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}
