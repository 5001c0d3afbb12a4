//! Queues on the log, through three real processes, each node killed in turn. Without a fault nothing is
//! delivered twice.

use std::collections::BTreeSet;

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::PATIENCE;
use serde_json::json;

use crate::crew::{Crew, Store, check};
use crate::turns;

#[test]
fn without_a_fault_each_message_is_delivered_once() {
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let crew = Crew::start(&cluster.clients(), Store::Log, PATIENCE);
    crew.go_on(300);
    let book = crew.drain(&cluster.clients());
    let totals = check(&cluster.clients(), &book);
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
    let crew = Crew::start(&cluster.clients(), Store::Log, PATIENCE);
    for _ in 0..2 {
        for at in 0..NODES {
            crew.go_on(40);
            cluster.nodes[at].kill();
            crew.go_on(40);
            cluster.nodes[at].start();
            cluster.await_ready();
        }
    }
    let book = crew.drain(&cluster.clients());
    let totals = check(&cluster.clients(), &book);
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
