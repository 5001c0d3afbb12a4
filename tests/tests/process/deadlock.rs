//! Knots of waits, tied by the original routes through different nodes.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::PATIENCE;
use serde_json::{Value, json};

use crate::turns;

const TIMEOUT: Duration = PATIENCE;

fn ask(node: SocketAddr, owner: &str, lock: &str) -> Value {
    let body = json!({ "resource_id": lock, "client_id": owner, "lock_type": "exclusive" });
    let response = HttpClient::new(node, TIMEOUT).post("/lock/acquire", &body).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn give_back(node: SocketAddr, owner: &str, lock: &str) -> Value {
    let body = json!({ "resource_id": lock, "client_id": owner });
    HttpClient::new(node, TIMEOUT).post("/lock/release", &body).unwrap().json()
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap()
}

#[test]
fn who_closes_a_cycle_of_two_is_refused_with_the_cycle_and_the_other_one_goes_on() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let [n1, n2, n3] = cluster.clients();
    assert_eq!(ask(n1, "A", "X")["success"], true);
    assert_eq!(ask(n2, "B", "Y")["success"], true);
    assert_eq!(ask(n3, "A", "Y")["success"], false);

    let refused = ask(n1, "B", "X");
    assert_eq!(refused["success"], false);
    let said = message(&refused);
    assert!(said.contains("Deadlock detected"), "{said}");
    for part in ["B waits for X behind A", "A waits for Y behind B"] {
        assert!(said.contains(part), "{said}");
    }
    // B has been refused, so it does not wait and may go on.
    let view = HttpClient::new(n2, TIMEOUT).get("/v1/locks/X").unwrap().json();
    assert_eq!(view["waiters"], json!([]), "{view}");

    assert_eq!(give_back(n2, "B", "Y")["success"], true);
    assert_eq!(ask(n3, "A", "Y")["success"], true);
    // Where nobody waits there is no knot.
    assert!(message(&ask(n1, "B", "X")).contains("wait list"));
}

#[test]
fn a_ring_of_twenty_is_refused_at_the_request_that_closes_it_and_unwinds() {
    const RING: usize = 20;
    let _turn = turns::together();
    let cluster = Cluster::start();
    let nodes = cluster.clients();
    let node = &|at: usize| nodes[at % NODES];
    let owner = &|at: usize| format!("owner-{}", at % RING);
    let lock = &|at: usize| format!("lock-{}", at % RING);
    for at in 0..RING {
        assert_eq!(ask(node(at), &owner(at), &lock(at))["success"], true);
    }
    // All at once: a place in a queue that nobody asks for again is kept for 10 s only.
    thread::scope(|scope| {
        for at in 0..RING - 1 {
            scope.spawn(move || {
                let answer = ask(node(at + 1), &owner(at), &lock(at + 1));
                assert!(message(&answer).contains("wait list"), "{answer}");
            });
        }
    });
    let began = Instant::now();
    let refused = ask(node(1), &owner(RING - 1), &lock(RING));
    let took = began.elapsed();
    assert_eq!(refused["success"], false);
    assert!(message(&refused).contains("Deadlock detected"), "{refused}");
    assert_eq!(refused["cycle"].as_array().unwrap().len(), RING, "{refused}");
    for at in 0..RING {
        assert!(message(&refused).contains(&owner(at)), "{refused}");
    }

    // The refused one gives back, and the ring unwinds from there.
    for at in (1..RING).rev() {
        assert_eq!(give_back(node(at), &owner(at), &lock(at))["success"], true);
        let answer = ask(node(at + 2), &owner(at - 1), &lock(at));
        assert_eq!(answer["success"], true, "{answer}");
        assert_eq!(give_back(node(at), &owner(at - 1), &lock(at))["success"], true);
    }
    measured(&format!(
        "deadlock: a ring of {RING} through {NODES} nodes was refused after {took:?}"
    ));
}
