//! Workers through three real processes, each node killed in turn.
//!
//! Producers push, workers receive, work and acknowledge, all of them at any node. Every answer is noted.
//! In the end, when the topic is drained: each message whose push was answered was delivered at least
//! once; nothing was delivered that nobody pushed; after its acknowledgement was answered a message was
//! not delivered again; the sum of all messages holds on every node. Without a fault nothing is
//! delivered twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::{Failure, HttpClient, Response};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};
use serde_json::{Value, json};

use crate::turns;

const PRODUCERS: usize = 3;
const WORKERS: usize = 6;
const TOPIC: &str = "/v1/queues/work";

/// What was answered to whom.
#[derive(Debug, Default)]
struct Book {
    /// Bodies whose push was answered.
    pushed: BTreeSet<u64>,
    /// Bodies whose push was tried, answered or not.
    tried: BTreeSet<u64>,
    /// By which log entries each body was delivered.
    delivered: BTreeMap<u64, Vec<u64>>,
    /// Bodies whose acknowledgement was answered, with its log entry.
    acked: BTreeMap<u64, u64>,
}

struct Crew {
    book: Arc<Mutex<Book>>,
    producing: Arc<AtomicBool>,
    working: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// A client that goes to the next node when one does not answer.
struct Roamer {
    nodes: Vec<HttpClient>,
    at: usize,
}

impl Roamer {
    fn new(nodes: &[SocketAddr], at: usize) -> Self {
        let nodes = nodes.iter().map(|node| HttpClient::new(*node, PATIENCE)).collect();
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
    fn start(nodes: &[SocketAddr]) -> Self {
        let mut crew = Self {
            book: Arc::default(),
            producing: Arc::new(AtomicBool::new(true)),
            working: Arc::new(AtomicBool::new(true)),
            threads: Vec::new(),
        };
        let numbers = Arc::new(AtomicU64::new(0));
        for at in 0..PRODUCERS {
            let (book, on, numbers) = (crew.book.clone(), crew.producing.clone(), numbers.clone());
            let mut client = Roamer::new(nodes, at);
            crew.threads.push(thread::spawn(move || {
                while on.load(Ordering::SeqCst) {
                    let number = numbers.fetch_add(1, Ordering::SeqCst);
                    push(&mut client, &book, number);
                }
            }));
        }
        for at in 0..WORKERS {
            let (book, on) = (crew.book.clone(), crew.working.clone());
            let mut client = Roamer::new(nodes, at);
            crew.threads.push(thread::spawn(move || {
                while on.load(Ordering::SeqCst) {
                    work(&mut client, &book);
                }
            }));
        }
        crew
    }

    fn acked(&self) -> usize {
        self.book.lock().unwrap().acked.len()
    }

    /// Until so many more are acknowledged.
    fn go_on(&self, more: usize) {
        let goal = self.acked() + more;
        until("the workers go on", || (self.acked() >= goal).then_some(()));
    }

    /// Until everything that was pushed is worked on, and nobody is at it any more.
    fn drain(self, cluster: &Cluster) -> Book {
        self.producing.store(false, Ordering::SeqCst);
        until("the topic is drained", || {
            let topic = get(cluster.nodes[0].client, TOPIC)?;
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

fn work(client: &mut Roamer, book: &Mutex<Book>) {
    let body = json!({ "max": 3, "wait": "1s", "visibility": "2s" });
    let Ok(response) = client.post(&format!("{TOPIC}/receive"), &body) else { return };
    if response.status != 200 {
        return;
    }
    for message in response.json()["messages"].as_array().unwrap() {
        let number = message["body"].as_u64().unwrap();
        let entry = entry_of(message["receipt"].as_str().unwrap());
        book.lock().unwrap().delivered.entry(number).or_default().push(entry);
        let items = json!({ "items": [{ "receipt": message["receipt"], "action": "ack" }] });
        if let Ok(response) = client.post(&format!("{TOPIC}/settle"), &items)
            && response.status == 200
        {
            let entry = response.json()["index"].as_u64().unwrap();
            book.lock().unwrap().acked.insert(number, entry);
        }
    }
}

/// The log entry that made a delivery: `message-ENTRY.position-boot`.
fn entry_of(receipt: &str) -> u64 {
    let delivery = receipt.split('-').nth(1).and_then(|it| it.split('.').next());
    delivery.and_then(|it| it.parse().ok()).expect("a receipt has an entry")
}

fn get(node: SocketAddr, path: &str) -> Option<Value> {
    let response = HttpClient::new(node, PATIENCE).get(path).ok()?;
    (response.status == 200).then(|| response.json())
}

/// What must hold in the end.
fn check(cluster: &Cluster, book: &Book) -> Value {
    for (number, entries) in &book.delivered {
        assert!(book.tried.contains(number), "{number} was delivered and never pushed");
        let acked = book.acked.get(number).copied().unwrap_or(u64::MAX);
        let late = entries.iter().find(|entry| **entry > acked);
        assert_eq!(late, None, "{number} was delivered after its acknowledgement in {acked}");
    }
    let lost: Vec<_> = book.pushed.iter().filter(|it| !book.delivered.contains_key(it)).collect();
    assert!(lost.is_empty(), "pushed, and never delivered: {lost:?}");
    for node in &cluster.nodes {
        let sum = get(node.client, &format!("{TOPIC}/conservation")).expect("every node answers");
        assert_eq!(sum["holds"], true, "{sum}");
    }
    get(cluster.nodes[0].client, TOPIC).unwrap()["totals"].clone()
}

#[test]
fn without_a_fault_each_message_is_delivered_once() {
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let crew = Crew::start(&cluster.clients());
    crew.go_on(300);
    let book = crew.drain(&cluster);
    let totals = check(&cluster, &book);
    let acked: BTreeSet<u64> = book.acked.keys().copied().collect();
    assert_eq!(book.pushed, acked, "each push and each acknowledgement was answered");
    assert!(book.delivered.values().all(|entries| entries.len() == 1));
    assert_eq!(totals["timed_out"], 0);
    measured(&format!("workers on three nodes: {} messages, {totals}", book.acked.len()));
}

#[test]
fn each_node_is_killed_in_turn_and_no_message_is_lost() {
    let _turn = turns::alone();
    let mut cluster = Cluster::start();
    let crew = Crew::start(&cluster.clients());
    for _ in 0..2 {
        for at in 0..NODES {
            crew.go_on(40);
            cluster.nodes[at].kill();
            crew.go_on(40);
            cluster.nodes[at].start();
            cluster.await_ready();
        }
    }
    let book = crew.drain(&cluster);
    let totals = check(&cluster, &book);
    let again = book.delivered.values().filter(|entries| entries.len() > 1).count();
    measured(&format!(
        "workers while each node is killed twice: {} messages, {again} delivered again, {totals}",
        book.acked.len()
    ));
}

#[test]
fn the_original_routes_answer_alike_on_every_node() {
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let mut nodes = cluster.clients().map(|node| HttpClient::new(node, PATIENCE));
    // As `curl -d` sends it.
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let pushed = nodes[0]
        .call("POST", "/queue/push", &form, br#"{"topic":"jobs","message":{"n":1}}"#)
        .unwrap()
        .json();
    assert_eq!(pushed["success"], true, "{pushed}");
    let popped = nodes[1].get("/queue/pop/jobs/me").unwrap().json();
    assert_eq!(popped["message"], json!({ "n": 1 }), "{popped}");
    assert_eq!(popped["message_id"], pushed["message_id"]);
    let ack = |consumer: &str| {
        json!({ "consumer_id": consumer, "message_id": popped["message_id"] }).to_string()
    };
    for (consumer, success) in [("you", false), ("me", true), ("me", false)] {
        let said = nodes[2].call("POST", "/queue/ack/jobs", &form, ack(consumer).as_bytes());
        assert_eq!(said.unwrap().json()["success"], success, "{consumer}");
    }
    let empty = nodes[0].get("/queue/pop/jobs/me").unwrap().json();
    assert_eq!(empty["success"], false, "{empty}");
}
