//! Clients that use the whole lock service, on any node, while the nodes suffer.
//!
//! A client is one sequential agent. A round: ask for some locks (one or several; exclusive, shared or
//! permits; with a lease; waiting or not), and if they are granted renew, upgrade, downgrade or just hold
//! them for a moment, then give them back. A request without an answer, or with one that says that it may
//! be sent again, is sent to another node under the same id until it is settled or the round is given up;
//! then the lease has to end it. Every round has an owner of its own, so what is left of one round is no
//! hold of the next.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::beliefs::{Belief, Beliefs, Part};
use super::http::{Failure, HttpClient, Response};
use super::seeded::Seeded;
use super::until::until;

/// Beyond its wait, an answer may take this long: a node may stand still for some seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a request is sent before its round is given up.
const TRIES: usize = 60;
const PAUSE: Duration = Duration::from_millis(50);
/// Locks that all clients share.
const PLAIN: [&str; 4] = ["a", "b", "c", "d"];
const SEMAPHORES: [&str; 2] = ["s", "t"];
const PERMITS_MAX: u32 = 3;

/// Why an acquire may fail. The last two: by what the same owner holds or waits for already.
const NOT_GRANTED: [&str; 6] =
    ["held", "wait_timeout", "deadlock", "hold_ended", "already_held", "waits_in_other_mode"];

/// How often what was answered: a code, or what was done.
pub type Tally = BTreeMap<String, usize>;

/// Clients at work.
#[derive(Debug)]
pub struct ServiceLoad {
    grants: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<(Beliefs, Tally)>>,
}

impl ServiceLoad {
    /// Sets `clients` of them to work.
    #[must_use]
    pub fn start(nodes: &[SocketAddr], clients: usize) -> Self {
        let (grants, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let client = |number: usize| {
            let client = Client {
                number,
                nodes: nodes.to_vec(),
                chance: Seeded(number as u64),
                connections: BTreeMap::new(),
                requests: 0,
                beliefs: Beliefs::default(),
                tally: Tally::new(),
                grants: Arc::clone(&grants),
                stop: Arc::clone(&stop),
            };
            thread::spawn(move || client.work())
        };
        Self { clients: (0..clients).map(client).collect(), grants, stop }
    }

    /// Waits until the clients were granted something `count` times more.
    pub fn await_grants(&self, count: usize) {
        let enough = self.grants.load(Ordering::Relaxed) + count;
        let served = || (self.grants.load(Ordering::Relaxed) >= enough).then_some(());
        until("the clients are served", served);
    }

    /// Lets the clients finish their rounds; what they believed, and what they were told.
    ///
    /// # Panics
    /// If one was told nonsense, or was not answered though its connection stood.
    #[must_use]
    pub fn finish(mut self) -> (Beliefs, Tally) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut all, mut tallies) = (Beliefs::default(), Tally::new());
        for client in std::mem::take(&mut self.clients) {
            let (beliefs, tally) = client.join().expect("no client was told nonsense");
            all.extend(beliefs);
            for (what, count) in tally {
                *tallies.entry(what).or_default() += count;
            }
        }
        (all, tallies)
    }
}

impl Drop for ServiceLoad {
    /// The test has failed elsewhere: the clients must not outlive the nodes.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Client {
    number: usize,
    nodes: Vec<SocketAddr>,
    chance: Seeded,
    connections: BTreeMap<SocketAddr, HttpClient>,
    requests: usize,
    beliefs: Beliefs,
    tally: Tally,
    grants: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
}

/// What a round holds.
struct Held {
    owner: String,
    hold: String,
    /// Lock, how, token, since when.
    parts: Vec<(String, Part, u64, Instant)>,
    /// The lease is over then, as it has to be counted.
    end: Instant,
    ttl_ms: usize,
}

/// A settled answer: when it was sent the last time, and what it says.
struct Settled {
    sent: Instant,
    response: Response,
}

impl Client {
    fn work(mut self) -> (Beliefs, Tally) {
        let mut round = 0;
        while !self.stop.load(Ordering::Relaxed) {
            round += 1;
            let owner = format!("client-{}-{round}", self.number);
            if let Some(mut held) = self.acquire(owner) {
                self.grants.fetch_add(1, Ordering::Relaxed);
                self.use_it(&mut held);
                self.release(&held);
            }
        }
        (self.beliefs, self.tally)
    }

    fn acquire(&mut self, owner: String) -> Option<Held> {
        let locks = self.some_locks();
        let ttl_ms = 2_000 + self.chance.below(4_000);
        let wait_ms = [0, 200, 1_000, 5_000][self.chance.below(4)];
        let body = json!({ "owner": owner, "locks": locks, "ttl": ttl_ms, "wait": wait_ms });
        let Settled { sent, response } = self.send("/v1/locks/acquire", &body)?;
        let answer = response.json();
        if response.status != 200 {
            self.note(&format!("acquire: {}", code(&answer)));
            assert!(NOT_GRANTED.contains(&code(&answer).as_str()), "{body}: {answer}");
            return None;
        }
        self.note("granted");
        let from = Instant::now();
        let parts = answer["locks"].as_array().expect("the locks").iter();
        let parts =
            parts.map(|lock| (text(&lock["name"]), part(lock), number(lock, "token"), from));
        let (parts, end) = (parts.collect(), end(sent, &answer));
        Some(Held { owner, hold: text(&answer["hold"]), parts, end, ttl_ms })
    }

    fn some_locks(&mut self) -> Value {
        if self.chance.percent(25) {
            let name = SEMAPHORES[self.chance.below(SEMAPHORES.len())];
            let permits = 1 + self.chance.below(PERMITS_MAX as usize);
            return json!([
                { "name": name, "mode": "permits", "permits": permits, "permits_max": PERMITS_MAX }
            ]);
        }
        let count = [1, 1, 1, 2, 3][self.chance.below(5)];
        let first = self.chance.below(PLAIN.len());
        let names = (0..count).map(|at| PLAIN[(first + at) % PLAIN.len()]);
        let locks = names.map(|name| {
            let mode = if self.chance.percent(40) { "shared" } else { "exclusive" };
            json!({ "name": name, "mode": mode })
        });
        locks.collect()
    }

    /// A few things that a holder does, as long as it surely holds.
    fn use_it(&mut self, held: &mut Held) {
        for _ in 0..self.chance.below(3) {
            thread::sleep(Duration::from_millis(self.chance.below(20) as u64));
            if Instant::now() + Duration::from_millis(500) > held.end {
                return;
            }
            let alone = held.parts.len() == 1;
            let go_on = match (self.chance.below(4), held.parts[0].1) {
                (0, Part::Shared) if alone => self.upgrade(held),
                (1, Part::Exclusive) if alone => self.downgrade(held),
                (2, _) => self.take_another(held),
                _ => self.renew(held),
            };
            if !go_on {
                return;
            }
        }
    }

    /// More locks for the same owner while it holds some: that is how rings of waits come about.
    fn take_another(&mut self, held: &Held) -> bool {
        let another = self.acquire(held.owner.clone());
        // Who asks for what it has gets the same hold.
        if let Some(another) = another.filter(|another| another.hold != held.hold) {
            self.release(&another);
        }
        true
    }

    fn renew(&mut self, held: &mut Held) -> bool {
        let body = json!({ "hold": held.hold, "ttl": held.ttl_ms });
        let Some(Settled { sent, response }) = self.send("/v1/locks/renew", &body) else {
            return false;
        };
        let answer = response.json();
        if response.status == 200 {
            self.note("renewed");
            held.end = held.end.max(end(sent, &answer));
            return true;
        }
        self.lost("renew", held, &answer);
        false
    }

    fn upgrade(&mut self, held: &mut Held) -> bool {
        let path = format!("/v1/locks/{}/upgrade", held.parts[0].0);
        let body = json!({ "hold": held.hold, "ttl": held.ttl_ms, "wait": 1_000 });
        let Some(Settled { sent, response }) = self.send(&path, &body) else { return false };
        let answer = response.json();
        if response.status != 200 {
            self.note(&format!("upgrade: {}", code(&answer)));
            let may = ["held", "wait_timeout", "deadlock", "hold_ended", "superseded"];
            assert!(may.contains(&code(&answer).as_str()), "{answer}");
            // It reads on, or has lost it: from here on it is not sure.
            self.give_up(held, sent);
            return false;
        }
        self.note("upgraded");
        // Nobody else read since the grant; the reader's time ends where the writer's begins.
        self.change(held, Part::Exclusive, number(&answer, "token"), Instant::now());
        held.end = held.end.max(end(sent, &answer));
        true
    }

    fn downgrade(&mut self, held: &mut Held) -> bool {
        let path = format!("/v1/locks/{}/downgrade", held.parts[0].0);
        // From the sending on it may be shared.
        let token = held.parts[0].2;
        self.change(held, Part::Shared, token, Instant::now());
        let body = json!({ "hold": held.hold });
        let Some(Settled { response, .. }) = self.send(&path, &body) else { return false };
        if response.status == 200 {
            self.note("downgraded");
            return true;
        }
        self.lost("downgrade", held, &response.json());
        false
    }

    /// The one lock of a hold is held in another way from now on.
    fn change(&mut self, held: &mut Held, part: Part, token: u64, now: Instant) {
        let downgraded = part == Part::Shared;
        self.believe(held, now, downgraded);
        held.parts[0] = (held.parts[0].0.clone(), part, token, now);
    }

    /// Writes down what was held until now, or until the lease was over.
    fn believe(&mut self, held: &Held, now: Instant, downgraded: bool) {
        for (lock, part, token, from) in &held.parts {
            let (part, token, from) = (*part, *token, *from);
            let (owner, until) = (held.owner.clone(), now.min(held.end));
            let belief = Belief { owner, part, token, from, until, downgraded };
            self.beliefs.add(lock, belief);
        }
    }

    fn give_up(&mut self, held: &mut Held, now: Instant) {
        self.believe(held, now, false);
        held.end = now;
    }

    /// It is told that it holds nothing any more. Before the end of its lease that must not be.
    fn lost(&mut self, what: &str, held: &mut Held, answer: &Value) {
        self.note(&format!("{what}: {}", code(answer)));
        assert_eq!(code(answer), "hold_ended", "{what}: {answer}");
        let now = Instant::now();
        assert!(now >= held.end, "{what}: lost {:?} before the end: {answer}", held.end - now);
    }

    fn release(&mut self, held: &Held) {
        self.believe(held, Instant::now(), false);
        let Some(settled) = self.send("/v1/locks/release", &json!({ "hold": held.hold })) else {
            return;
        };
        if settled.response.status == 200 {
            return self.note("released");
        }
        let answer = settled.response.json();
        self.note(&format!("release: {}", code(&answer)));
        assert_eq!(code(&answer), "hold_ended", "{answer}");
    }

    /// Sends a request until it is settled, under one id.
    fn send(&mut self, path: &str, body: &Value) -> Option<Settled> {
        self.requests += 1;
        let id = format!("client-{}-{}", self.number, self.requests);
        let wait = Duration::from_millis(body["wait"].as_u64().unwrap_or(0));
        for _ in 0..TRIES {
            let node = self.nodes[self.chance.below(self.nodes.len())];
            let timeout = ANSWER_WITHIN + wait;
            let connection = self.connections.entry(node);
            let client = connection.or_insert_with(|| HttpClient::new(node, timeout));
            let headers = [("content-type", "application/json"), ("idempotency-key", &*id)];
            let sent = Instant::now();
            let answer = client.call("POST", path, &headers, body.to_string().as_bytes());
            match answer {
                Ok(response) if settles(&response) => return Some(Settled { sent, response }),
                Ok(response) => self.note(&format!("again: {}", code(&response.json()))),
                Err(Failure::Unknown(error)) => {
                    let silent = [ErrorKind::TimedOut, ErrorKind::WouldBlock];
                    assert!(
                        !silent.contains(&error.kind()),
                        "{path} {body}: no answer from {node}"
                    );
                    self.note("again: connection broke");
                }
                Err(Failure::NotSent(_)) => self.note("again: no connection"),
            }
            thread::sleep(PAUSE);
        }
        self.note("given up");
        None
    }

    fn note(&mut self, what: &str) {
        *self.tally.entry(what.to_owned()).or_default() += 1;
    }
}

/// False if it has to be sent again: nothing was applied, or nobody knows, or the node that took it over
/// has to be asked.
fn settles(response: &Response) -> bool {
    match response.status {
        200 => true,
        409 => code(&response.json()) != "superseded",
        503 | 504 => false,
        _ => panic!("{}: {}", response.status, response.text()),
    }
}

/// Counted from the sending, less a thousandth and a millisecond.
fn end(sent: Instant, answer: &Value) -> Instant {
    let remaining = Duration::from_millis(number(answer, "remaining_ms"));
    sent + remaining.mul_f64(0.999).saturating_sub(Duration::from_millis(1))
}

fn part(lock: &Value) -> Part {
    match lock["mode"].as_str() {
        Some("shared") => Part::Shared,
        Some("permits") => {
            let permits = u32::try_from(number(lock, "permits")).expect("few permits");
            Part::Permits(permits, PERMITS_MAX)
        }
        _ => Part::Exclusive,
    }
}

fn code(answer: &Value) -> String {
    text(&answer["code"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn number(value: &Value, field: &str) -> u64 {
    value[field].as_u64().unwrap_or_else(|| panic!("no {field} in {value}"))
}
