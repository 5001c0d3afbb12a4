//! Workers at the queues of a real cluster, and what must hold of all that they were answered.
//!
//! Producers push, workers receive, work and acknowledge, all of them at any node. Every answer is noted.
//! In the end, when the topic is drained: each message whose push was answered was delivered at least
//! once; nothing was delivered that nobody pushed; after its acknowledgement was answered a message was
//! not delivered again; the sum of all messages holds on every node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dsync_tests::process::http::{Failure, HttpClient, Response};
use dsync_tests::process::until::{PATIENCE, until};
use serde_json::{Value, json};

const PRODUCERS: usize = 3;
const WORKERS: usize = 6;
const TOPIC: &str = "/v1/queues/work";

/// What was answered to whom.
#[derive(Debug, Default)]
pub struct Book {
    /// Bodies whose push was answered.
    pub pushed: BTreeSet<u64>,
    /// Bodies whose push was tried, answered or not.
    tried: BTreeSet<u64>,
    /// When each body was delivered: by which log entries, or in which of the steps below.
    pub delivered: BTreeMap<u64, Vec<u64>>,
    /// Bodies whose acknowledgement was answered, and when.
    pub acked: BTreeMap<u64, u64>,
    /// Counts what the workers do. Of a topic in Redis, where no log says what came first, a delivery came
    /// when it was asked for, and an acknowledgement when it was answered.
    step: u64,
}

/// Where the topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Log,
    Redis,
}

/// For clusters of which a node may hang: longer than anybody has to wait for an answer, if it does not.
pub const TIMEOUT: Duration = Duration::from_secs(5);

pub struct Crew {
    book: Arc<Mutex<Book>>,
    producing: Arc<AtomicBool>,
    working: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// A client that goes to the next node when one does not answer.
pub struct Roamer {
    nodes: Vec<HttpClient>,
    at: usize,
}

impl Roamer {
    fn new(nodes: &[SocketAddr], at: usize, timeout: Duration) -> Self {
        let nodes = nodes.iter().map(|node| HttpClient::new(*node, timeout)).collect();
        Self { nodes, at }
    }

    fn post(&mut self, path: &str, body: &Value) -> Result<Response, Failure> {
        let at = self.at % self.nodes.len();
        let answer = self.nodes[at].post(path, body);
        if !matches!(&answer, Ok(response) if response.status < 500) {
            self.at += 1;
        }
        answer
    }
}

impl Crew {
    /// Sets them to work. Who gets no answer within `timeout` goes to the next node, and does not know.
    pub fn start(nodes: &[SocketAddr], store: Store, timeout: Duration) -> Self {
        let mut crew = Self {
            book: Arc::default(),
            producing: Arc::new(AtomicBool::new(true)),
            working: Arc::new(AtomicBool::new(true)),
            threads: Vec::new(),
        };
        let numbers = Arc::new(AtomicU64::new(0));
        for at in 0..PRODUCERS {
            let (book, on, numbers) = (crew.book.clone(), crew.producing.clone(), numbers.clone());
            let mut client = Roamer::new(nodes, at, timeout);
            crew.threads.push(thread::spawn(move || {
                while on.load(Ordering::SeqCst) {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    push(&mut client, &book, number);
                }
            }));
        }
        for at in 0..WORKERS {
            let (book, on) = (crew.book.clone(), crew.working.clone());
            let mut client = Roamer::new(nodes, at, timeout);
            crew.threads.push(thread::spawn(move || {
                while on.load(Ordering::SeqCst) {
                    work(&mut client, &book, store);
                }
            }));
        }
        crew
    }

    pub fn acked(&self) -> usize {
        self.book.lock().unwrap().acked.len()
    }

    /// Until so many more are acknowledged.
    pub fn go_on(&self, more: usize) {
        let goal = self.acked() + more;
        until("the workers go on", || (self.acked() >= goal).then_some(()));
    }

    /// Until everything that was pushed is worked on, and nobody is at it any more.
    pub fn drain(self, nodes: &[SocketAddr]) -> Book {
        self.producing.store(false, Ordering::SeqCst);
        until("the topic is drained", || {
            let topic = get(nodes[0], TOPIC)?;
            let left = ["ready", "delayed", "in_flight"].map(|it| topic["main"][it].as_u64());
            (left == [Some(0); 3]).then_some(())
        });
        self.working.store(false, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.book.lock().unwrap())
    }
}

fn push(client: &mut Roamer, book: &Mutex<Book>, number: u64) {
    book.lock().unwrap().tried.insert(number);
    let body = json!({ "messages": [{ "body": number }] });
    if let Ok(response) = client.post(&format!("{TOPIC}/push"), &body)
        && response.status == 200
    {
        book.lock().unwrap().pushed.insert(number);
    }
}

fn work(client: &mut Roamer, book: &Mutex<Book>, store: Store) {
    let asked_at = next_step(book);
    let body = json!({ "max": 3, "wait": "1s", "visibility": "2s" });
    let Ok(response) = client.post(&format!("{TOPIC}/receive"), &body) else { return };
    if response.status != 200 {
        return;
    }
    for message in response.json()["messages"].as_array().unwrap() {
        let number = message["body"].as_u64().unwrap();
        let at = match store {
            Store::Log => entry_of(message["receipt"].as_str().unwrap()),
            Store::Redis => asked_at,
        };
        book.lock().unwrap().delivered.entry(number).or_default().push(at);
        let items = json!({ "items": [{ "receipt": message["receipt"], "action": "ack" }] });
        if let Ok(response) = client.post(&format!("{TOPIC}/settle"), &items)
            && response.status == 200
        {
            let at = match store {
                Store::Log => response.json()["index"].as_u64().unwrap(),
                Store::Redis => next_step(book),
            };
            book.lock().unwrap().acked.insert(number, at);
        }
    }
}

fn next_step(book: &Mutex<Book>) -> u64 {
    let mut book = book.lock().unwrap();
    book.step += 1;
    book.step
}

/// The log entry that made a delivery: `message-ENTRY.position-boot`.
fn entry_of(receipt: &str) -> u64 {
    let delivery = receipt.split('-').nth(1).and_then(|it| it.split('.').next());
    delivery.and_then(|it| it.parse().ok()).expect("a receipt has an entry")
}

pub fn get(node: SocketAddr, path: &str) -> Option<Value> {
    let response = HttpClient::new(node, PATIENCE).get(path).ok()?;
    (response.status == 200).then(|| response.json())
}

/// What must hold in the end.
pub fn check(nodes: &[SocketAddr], book: &Book) -> Value {
    for (number, entries) in &book.delivered {
        assert!(book.tried.contains(number), "{number} was delivered and never pushed");
        let acked = book.acked.get(number).copied().unwrap_or(u64::MAX);
        let late = entries.iter().find(|entry| **entry > acked);
        assert_eq!(late, None, "{number} was delivered after its acknowledgement in {acked}");
    }
    let lost: Vec<_> = book.pushed.iter().filter(|it| !book.delivered.contains_key(it)).collect();
    assert!(lost.is_empty(), "pushed, and never delivered: {lost:?}");
    for node in nodes {
        let sum = get(*node, &format!("{TOPIC}/conservation")).expect("every node answers");
        assert_eq!(sum["holds"], true, "{sum}");
    }
    get(nodes[0], TOPIC).unwrap()["totals"].clone()
}
