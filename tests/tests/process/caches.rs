//! Caches of real processes: what is put through one node is seen through every other, whatever happens to
//! a third one.

use std::net::SocketAddr;
use std::time::Duration;

use dsync_tests::process::cache_load::{CacheLoad, CacheTally, counters};
use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::{HttpClient, Response};
use dsync_tests::process::percentiles::{Percentiles, measured};
use dsync_tests::process::until::{PATIENCE, timed, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::turns;

const TIMEOUT: Duration = PATIENCE;
/// Longer than a home lease, and so than every session of its sharers.
const PAUSE: Duration = Duration::from_secs(3);

fn client(node: SocketAddr) -> HttpClient {
    HttpClient::new(node, TIMEOUT)
}

fn put(node: SocketAddr, key: &str, body: &str) -> Response {
    client(node).call("PUT", &format!("/v1/cache/{key}"), &[], body.as_bytes()).unwrap()
}

fn get(node: SocketAddr, key: &str) -> Response {
    client(node).get(&format!("/v1/cache/{key}")).unwrap()
}

/// Waits until so many nodes are homes, as each of these sees it.
fn await_homes(nodes: &[SocketAddr], count: usize) {
    for node in nodes {
        until("the ring has its homes", || {
            let stats = client(*node).get("/v1/cache").ok()?.json();
            (stats["homes"] == count).then_some(())
        });
    }
}

/// Three nodes, all of them homes.
fn started() -> Cluster {
    let cluster = Cluster::start();
    await_homes(&cluster.clients(), NODES);
    cluster
}

fn shown(tally: CacheTally) -> String {
    let CacheTally { hits, asked, nothing, writes, unserved } = tally;
    let gets = hits + asked + nothing;
    let percent = 100 * hits / gets.max(1);
    format!("{gets} gets, none stale, {percent} % hits, {writes} writes, {unserved} unserved")
}

#[test]
fn what_is_put_through_one_node_is_seen_through_every_other_at_once() {
    let _turn = turns::together();
    let cluster = started();
    let nodes = cluster.clients();
    for round in 0..300 {
        let (key, body) = (format!("k{}", round % 10), round.to_string());
        let done = put(nodes[round % NODES], &key, &body);
        assert_eq!(done.status, 200, "{}", done.text());
        for node in nodes {
            let seen = get(node, &key);
            assert_eq!((seen.status, seen.text()), (200, body.clone()), "round {round}");
            assert_eq!(seen.header("etag"), done.header("etag"));
        }
    }
}

#[test]
fn the_original_routes_set_on_one_node_and_get_on_any_other() {
    let _turn = turns::together();
    let cluster = started();
    let nodes = cluster.clients();
    let values = [json!(0), json!(false), json!(""), json!([]), json!({ "a": [1.5, null] })];
    for (at, value) in values.iter().enumerate() {
        let body = json!({ "key": "k", "value": value });
        let done = client(nodes[at % NODES]).post("/cache/set", &body).unwrap();
        assert_eq!((done.status, &done.json()["success"]), (200, &json!(true)));
        for node in nodes {
            let seen = client(node).get("/cache/k").unwrap();
            assert_eq!(seen.json(), json!({ "success": true, "key": "k", "value": value }));
        }
    }
    let none = client(nodes[0]).get("/cache/none").unwrap();
    assert_eq!((none.status, &none.json()["success"]), (404, &json!(false)));
    let null = client(nodes[0]).post("/cache/set", &json!({ "key": "k", "value": Value::Null }));
    assert_eq!(null.unwrap().status, 400);
}

#[test]
fn a_hit_sends_no_message() {
    let _turn = turns::together();
    let cluster = started();
    let nodes = cluster.clients();
    let keys: Vec<String> = (0..20).map(|at| format!("k{at}")).collect();
    for key in &keys {
        put(nodes[0], key, "x");
        for node in nodes {
            until("a copy is kept", || {
                (get(node, key).header("dsync-cache") == Some("hit")).then_some(())
            });
        }
    }
    // Sessions are renewed all the time; what a get would cost is a question, and its answer.
    let asked = || nodes.map(|node| counters(node, "dsync_cache_messages_sent_total{kind=\"get\""));
    let before = asked();
    for round in 0..3_000 {
        let seen = get(nodes[round % NODES], &keys[round % keys.len()]);
        assert_eq!((seen.status, seen.header("dsync-cache")), (200, Some("hit")));
    }
    assert_eq!(asked(), before);
}

#[test]
fn with_a_node_that_stands_still_or_is_killed_writes_are_answered_and_no_get_is_stale() {
    let _turn = turns::alone();
    let mut cluster = started();
    let nodes = cluster.clients();
    let load = CacheLoad::start(&nodes, 2);
    load.await_more(2_000);
    let mut waits = Percentiles::default();
    for round in 0..2 {
        let leader = cluster.leader();
        let victim = if round == 0 { (leader + 1) % NODES } else { leader };
        let others: Vec<SocketAddr> =
            (0..NODES).filter(|at| *at != victim).map(|at| nodes[at]).collect();
        cluster.nodes[victim].signal(Signal::STOP);
        for (at, node) in (0..20).flat_map(|at| others.iter().map(move |node| (at, *node))) {
            // What the victim is the home of waits for the ring; the rest for its sessions at most.
            let write = || (put(node, &format!("during-{at}"), "x").status == 200).then_some(());
            waits.add(timed("a write is answered", PATIENCE, write).1);
        }
        load.await_more(500);
        // The length is the fault itself.
        std::thread::sleep(PAUSE);
        cluster.nodes[victim].signal(Signal::CONT);
        load.await_more(500);
        cluster.await_ready();
        cluster.nodes[victim].kill_at_once();
        cluster.nodes[victim].wait();
        load.await_more(500);
        cluster.nodes[victim].start();
        cluster.await_ready();
    }
    load.await_more(1_000);
    measured(&format!("caches, pauses and kills: {}; writes waited {waits}", shown(load.finish())));
}

#[test]
fn fifty_restarts_within_a_lease_make_no_get_stale() {
    let _turn = turns::alone();
    restarts(50);
}

#[test]
#[ignore = "takes many minutes: part of the long form"]
fn a_thousand_restarts_within_a_lease_make_no_get_stale() {
    let _turn = turns::alone();
    restarts(1_000);
}

/// Two nodes die and start again at once, by turns: under the same name, within the lease of what they had.
fn restarts(count: usize) {
    let mut cluster = started();
    let load = CacheLoad::start(&cluster.clients(), 2);
    load.await_more(1_000);
    for round in 0..count {
        let victim = 1 + round % 2;
        cluster.nodes[victim].kill_at_once();
        cluster.nodes[victim].wait();
        cluster.nodes[victim].start();
        load.await_more(20);
        cluster.await_ready();
    }
    load.await_more(1_000);
    measured(&format!("caches, {count} restarts: {}", shown(load.finish())));
}

#[test]
fn when_a_home_dies_its_keys_are_missed_and_can_be_put_again() {
    let _turn = turns::alone();
    let mut cluster = started();
    let nodes = cluster.clients();
    let keys: Vec<String> = (0..60).map(|at| format!("k{at}")).collect();
    for key in &keys {
        assert_eq!(put(nodes[0], key, "before").status, 200);
    }
    let victim = cluster.follower();
    let others: Vec<SocketAddr> =
        (0..NODES).filter(|at| *at != victim).map(|at| nodes[at]).collect();
    cluster.nodes[victim].kill_at_once();
    cluster.nodes[victim].wait();
    await_homes(&others, NODES - 1);
    let mut missed = 0;
    for key in &keys {
        let seen = until("a key is served", || {
            let seen = get(others[0], key);
            [200, 404].contains(&seen.status).then_some(seen)
        });
        missed += usize::from(seen.status == 404);
        assert!(seen.status == 404 || seen.text() == "before");
        assert_eq!(put(others[1], key, "after").status, 200);
        assert_eq!(get(others[0], key).text(), "after");
    }
    assert!((1..keys.len()).contains(&missed), "{missed} of {} keys were lost", keys.len());
    cluster.nodes[victim].start();
    cluster.await_ready();
    // It comes back with nothing, and takes its keys: they are missed once more.
    await_homes(&nodes, NODES);
    for key in &keys {
        let seen = until("a key is served", || {
            let seen = get(nodes[victim], key);
            [200, 404].contains(&seen.status).then_some(seen)
        });
        assert!(seen.status == 404 || seen.text() == "after");
    }
    measured(&format!("caches, a home dies: {missed} of {} keys missed", keys.len()));
}
