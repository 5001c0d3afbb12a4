//! Knots of waits of every kind, tied through different nodes by requests that wait on their
//! connections.
//!
//! Everybody holds the lock of its own number and asks for the next one's; the last one's request
//! closes the ring. It has to be refused at once, with the ring named, while all others go on waiting,
//! and when it gives its lock back the ring unwinds.

use std::net::SocketAddr;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::{HttpClient, Response};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};
use serde_json::{Value, json};

use crate::turns;

/// Longer than any of these waits has to take.
const TIMEOUT: Duration = PATIENCE;

/// What everybody holds, and how it asks for the next one's.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Exclusive,
    Shared,
    SeveralLocks,
    Permits,
}

impl Kind {
    /// The locks of owner `at`.
    fn held(self, at: usize) -> Value {
        match self {
            Self::Exclusive => json!([{ "name": lock(at) }]),
            Self::Shared => json!([{ "name": lock(at), "mode": "shared" }]),
            Self::SeveralLocks => json!([{ "name": lock(at) }, { "name": format!("own-{at}") }]),
            Self::Permits => json!([permits(at, 2)]),
        }
    }

    /// What owner `at - 1` asks of owner `at`.
    fn asked(self, at: usize) -> Value {
        match self {
            Self::Exclusive | Self::Shared => json!([{ "name": lock(at) }]),
            Self::SeveralLocks => json!([{ "name": lock(at) }, { "name": format!("more-{at}") }]),
            Self::Permits => json!([permits(at, 1)]),
        }
    }
}

fn lock(at: usize) -> String {
    format!("lock-{at}")
}

fn owner(at: usize) -> String {
    format!("owner-{at}")
}

fn permits(at: usize, permits: u32) -> Value {
    json!({ "name": lock(at), "mode": "permits", "permits": permits, "permits_max": 2 })
}

fn acquire(node: SocketAddr, owner: &str, locks: &Value, wait: &str) -> Response {
    let body = json!({ "owner": owner, "locks": locks, "ttl": 0, "wait": wait });
    HttpClient::new(node, TIMEOUT).post("/v1/locks/acquire", &body).unwrap()
}

fn granted(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["hold"].as_str().unwrap().to_owned()
}

fn release(node: SocketAddr, hold: &str) {
    let body = json!({ "hold": hold });
    let response = HttpClient::new(node, TIMEOUT).post("/v1/locks/release", &body).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
}

/// Asks on a thread of its own, and comes back when the request is in the queue of `name`.
fn wait_for(node: SocketAddr, who: &str, locks: Value, name: &str) -> JoinHandle<Response> {
    let asker = who.to_owned();
    let waiting = thread::spawn(move || acquire(node, &asker, &locks, "60s"));
    until_waits(node, name, who);
    waiting
}

fn until_waits(node: SocketAddr, name: &str, who: &str) {
    let mut client = HttpClient::new(node, TIMEOUT);
    until(&format!("{who} waits for {name}"), || {
        let view = client.get(&format!("/v1/locks/{name}")).unwrap().json();
        let waiters = view["waiters"].as_array().cloned().unwrap_or_default();
        waiters.iter().any(|waiter| waiter["owner"] == who).then_some(())
    });
}

fn refused(response: &Response, ring: usize) {
    assert_eq!(response.status, 409, "{}", response.text());
    let problem = response.json();
    assert_eq!(problem["code"], "deadlock", "{problem}");
    let cycle = problem["cycle"].as_array().unwrap();
    assert_eq!(cycle.len(), ring, "{problem}");
}

fn ring(cluster: &Cluster, kind: Kind, size: usize) {
    let nodes = cluster.clients();
    let node = |at: usize| nodes[at % NODES];
    let holds: Vec<String> =
        (0..size).map(|at| granted(&acquire(node(at), &owner(at), &kind.held(at), "0s"))).collect();
    let mut waiting: Vec<JoinHandle<Response>> = (0..size - 1)
        .map(|at| wait_for(node(at + 1), &owner(at), kind.asked(at + 1), &lock(at + 1)))
        .collect();

    let last = size - 1;
    let began = Instant::now();
    let response = acquire(node(1), &owner(last), &kind.asked(0), "60s");
    let took = began.elapsed();
    refused(&response, size);
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()), "somebody else was told off");

    // The refused one gives back, and the ring unwinds from there.
    release(node(last), &holds[last]);
    for at in (0..last).rev() {
        let got = granted(&waiting.pop().unwrap().join().unwrap());
        release(node(at), &got);
        release(node(at), &holds[at]);
    }
    measured(&format!("deadlock by /v1: {kind:?}, a ring of {size} was refused after {took:?}"));
}

#[test]
fn rings_of_two_three_and_twenty_of_every_kind_are_refused_where_they_close_and_unwind() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    for kind in [Kind::Exclusive, Kind::Shared, Kind::SeveralLocks, Kind::Permits] {
        for size in [2, 3, 20] {
            ring(&cluster, kind, size);
        }
    }
}

/// Two readers that both want to write, directly and through a third.
#[test]
fn a_second_upgrade_is_refused_and_the_first_is_alone_when_it_gives_way() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let [n1, n2, n3] = cluster.clients();
    let reader = |node, who: &str| {
        granted(&acquire(node, who, &json!([{ "name": "x", "mode": "shared" }]), "0s"))
    };
    let (ann, bob) = (reader(n1, "ann"), reader(n2, "bob"));
    let upgrade = |node: SocketAddr, hold: &str| {
        let body = json!({ "hold": hold, "wait": "60s" });
        HttpClient::new(node, TIMEOUT).post("/v1/locks/x/upgrade", &body).unwrap()
    };
    let first = {
        let ann = ann.clone();
        thread::spawn(move || upgrade(n3, &ann))
    };
    until_waits(n1, "x", "ann");
    refused(&upgrade(n2, &bob), 2);
    assert!(!first.is_finished());

    // Through a third: bob's lock y is wanted by cid, who has z, which bob wants.
    let z = granted(&acquire(n3, "cid", &json!([{ "name": "z" }]), "0s"));
    let y = granted(&acquire(n2, "bob", &json!([{ "name": "y" }]), "0s"));
    let cid = wait_for(n1, "cid", json!([{ "name": "y" }]), "y");
    refused(&acquire(n3, "bob", &json!([{ "name": "z" }]), "60s"), 2);

    release(n3, &bob);
    let writer = first.join().unwrap();
    assert_eq!(granted(&writer), ann, "an upgrade keeps the hold");
    release(n2, &y);
    let got = granted(&cid.join().unwrap());
    for hold in [&ann, &got, &z] {
        release(n1, hold);
    }
}
