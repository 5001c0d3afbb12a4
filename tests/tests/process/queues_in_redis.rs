//! Queues in a real Redis, through three real processes: nodes and Redis killed and paused, and an emptied Redis
//! that is not taken for an empty queue.

use std::collections::BTreeSet;
use std::thread;

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::{HttpClient, Response};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::crew::{Crew, Store, TIMEOUT, check, get};
use crate::redis_server::Server;
use crate::turns;

const SYNCED: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const RECEIVE: &str = r#"{"max":10,"visibility":"1h"}"#;

fn start() -> (Server, Cluster) {
    let redis = Server::start(&SYNCED);
    let cluster = Cluster::start_with(&["--redis-url", &redis.address().url]);
    (redis, cluster)
}

fn client(cluster: &Cluster, at: usize) -> HttpClient {
    HttpClient::new(cluster.nodes[at].client, PATIENCE)
}

fn push(cluster: &Cluster, at: usize, topic: &str) -> Response {
    let body = json!({ "messages": [{ "body": at }] });
    client(cluster, at).post(&format!("/v1/queues/{topic}/push"), &body).unwrap()
}

fn receive(cluster: &Cluster, at: usize, topic: &str) -> Response {
    let body: Value = serde_json::from_str(RECEIVE).unwrap();
    client(cluster, at).post(&format!("/v1/queues/{topic}/receive"), &body).unwrap()
}

fn code(response: &Response) -> String {
    response.json()["code"].as_str().unwrap_or("none").to_owned()
}

#[test]
fn without_a_fault_each_message_in_redis_is_delivered_once() {
    let _turn = turns::alone();
    let (_redis, cluster) = start();
    let crew = Crew::start(&cluster.clients(), Store::Redis, PATIENCE);
    crew.go_on(300);
    let book = crew.drain(&cluster.clients());
    let totals = check(&cluster.clients(), &book);
    let acked: BTreeSet<u64> = book.acked.keys().copied().collect();
    assert_eq!(book.pushed, acked, "each push and each acknowledgement was answered");
    assert!(book.delivered.values().all(|times| times.len() == 1));
    assert_eq!(totals["timed_out"], 0);
    let topic = get(cluster.nodes[0].client, "/v1/queues/work").unwrap();
    assert_eq!(topic["store"], "redis");
    measured(&format!("workers at a topic in Redis: {} messages, {totals}", book.acked.len()));
}

#[test]
fn nodes_and_redis_are_killed_and_paused_and_no_message_in_redis_is_lost() {
    let _turn = turns::alone();
    let (mut redis, mut cluster) = start();
    let crew = Crew::start(&cluster.clients(), Store::Redis, TIMEOUT);
    for at in 0..NODES {
        crew.go_on(40);
        cluster.nodes[at].kill();
        crew.go_on(40);
        redis.kill_and_restart();
        crew.go_on(40);
        cluster.nodes[at].start();
        cluster.await_ready();
        redis.signal(Signal::STOP);
        cluster.nodes[(at + 1) % NODES].signal(Signal::STOP);
        redis.signal(Signal::CONT);
        crew.go_on(20);
        cluster.nodes[(at + 1) % NODES].signal(Signal::CONT);
    }
    let book = crew.drain(&cluster.clients());
    let totals = check(&cluster.clients(), &book);
    let again = book.delivered.values().filter(|times| times.len() > 1).count();
    measured(&format!(
        "workers while nodes and Redis are killed: {} messages, {again} delivered again, {totals}",
        book.acked.len()
    ));
}

#[test]
fn a_redis_that_was_emptied_is_an_error_on_every_node_until_it_is_adopted() {
    let _turn = turns::together();
    let (redis, cluster) = start();
    assert_eq!(push(&cluster, 0, "jobs").status, 200);
    redis.run("FLUSHALL");
    for at in 0..NODES {
        for response in [push(&cluster, at, "jobs"), receive(&cluster, at, "jobs")] {
            assert_eq!((response.status, code(&response)), (503, "redis_replaced".to_owned()));
        }
    }
    let mut client = client(&cluster, 1);
    let store = client.get("/v1/queue-store").unwrap().json();
    let adopt = json!({ "redis_id": store["redis_id"] });
    let adopted = client.post("/v1/queue-store/adopt", &adopt).unwrap();
    assert_eq!(adopted.status, 200, "{}", adopted.json());
    let again = client.post("/v1/queue-store/adopt", &adopt).unwrap();
    assert_eq!((again.status, code(&again)), (409, "redis_id_differs".to_owned()));
    until("every node serves the topic", || {
        (0..NODES).all(|at| push(&cluster, at, "jobs").status == 200).then_some(())
    });
    assert!(!receive(&cluster, 2, "jobs").json()["messages"].as_array().unwrap().is_empty());
}

#[test]
fn who_waits_for_a_topic_that_is_still_to_be_made_gets_its_first_message() {
    let _turn = turns::together();
    let (_redis, cluster) = start();
    let node = cluster.nodes[1].client;
    let waiting = thread::spawn(move || {
        let body = json!({ "wait": "60s" });
        HttpClient::new(node, PATIENCE).post("/v1/queues/jobs/receive", &body).unwrap()
    });
    until("the worker waits", || {
        let metrics = client(&cluster, 1).get("/metrics").unwrap();
        metrics.text().contains("dsync_queue_receives_waiting 1\n").then_some(())
    });
    assert_eq!(push(&cluster, 0, "jobs").status, 200);
    let received = waiting.join().unwrap();
    assert_eq!(received.json()["messages"][0]["body"], 0, "{}", received.json());
}

#[test]
fn a_topic_in_redis_is_deleted_and_made_again_through_any_node() {
    let _turn = turns::together();
    let (_redis, cluster) = start();
    for round in 0..3 {
        let at = |step: usize| (round + step) % NODES;
        assert_eq!(push(&cluster, at(0), "jobs").status, 200, "round {round}");
        let full = client(&cluster, at(1)).call("DELETE", "/v1/queues/jobs", &[], b"").unwrap();
        assert_eq!((full.status, code(&full)), (409, "not_empty".to_owned()));
        let messages = receive(&cluster, at(1), "jobs").json()["messages"].clone();
        assert_eq!(messages.as_array().map(Vec::len), Some(1), "round {round}: {messages}");
        let items = json!({ "items": [{ "receipt": messages[0]["receipt"], "action": "ack" }] });
        let acked = client(&cluster, at(2)).post("/v1/queues/jobs/settle", &items).unwrap();
        assert_eq!(acked.status, 200);
        let deleted = client(&cluster, at(2)).call("DELETE", "/v1/queues/jobs", &[], b"").unwrap();
        assert_eq!(deleted.status, 200, "{}", deleted.json());
        let gone = receive(&cluster, at(2), "jobs");
        assert_eq!((gone.status, code(&gone)), (404, "no_such_topic".to_owned()));
    }
}

#[test]
fn topics_stay_in_the_log_when_a_redis_comes_and_new_ones_go_where_they_are_told() {
    let _turn = turns::together();
    let redis = Server::start(&SYNCED);
    let mut cluster = Cluster::start();
    assert_eq!(push(&cluster, 0, "early").status, 200);
    for at in 0..NODES {
        cluster.nodes[at].stop();
        cluster.nodes[at].add_flags(&["--redis-url", &redis.address().url]);
        cluster.nodes[at].start();
        cluster.await_ready();
    }
    assert_eq!(push(&cluster, 1, "late").json()["durability"], "fsync");
    assert_eq!(push(&cluster, 2, "early").json()["durability"], "quorum");
    let change = json!({ "default_store": "raft" }).to_string();
    let json_type = [("content-type", "application/json")];
    let said = client(&cluster, 0).call("PATCH", "/v1/queue-store", &json_type, change.as_bytes());
    assert_eq!(said.unwrap().status, 200);
    assert_eq!(push(&cluster, 0, "latest").json()["durability"], "quorum");
    let listed = get(cluster.nodes[1].client, "/v1/queues").unwrap();
    let topics = listed["topics"].as_array().unwrap();
    let stores: Vec<_> =
        topics.iter().map(|it| format!("{} {}", it["topic"], it["store"])).collect();
    let wanted = [r#""early" "raft""#, r#""late" "redis""#, r#""latest" "raft""#];
    assert_eq!(stores, wanted);
}
