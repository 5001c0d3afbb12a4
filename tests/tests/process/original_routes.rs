//! What a client sees that was written before this server and knows only the original routes.

use std::net::SocketAddr;
use std::time::Duration;

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::{HttpClient, Response};
use dsync_tests::process::percentiles::{Percentiles, measured};
use dsync_tests::process::until::{PATIENCE, timed, until};
use serde_json::{Value, json};

use crate::turns;

/// Generous, on a machine that does other things too; the promise is a second, and is printed.
const TIMEOUT: Duration = PATIENCE;

fn post(node: SocketAddr, path: &str, body: &Value) -> Response {
    HttpClient::new(node, TIMEOUT).post(path, body).unwrap()
}

fn acquire(node: SocketAddr, lock: &str, client: &str, kind: &str) -> Value {
    let body = json!({ "resource_id": lock, "client_id": client, "lock_type": kind });
    let response = post(node, "/lock/acquire", &body);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn release(node: SocketAddr, lock: &str, client: &str) -> Value {
    let body = json!({ "resource_id": lock, "client_id": client });
    let response = post(node, "/lock/release", &body);
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn status(node: SocketAddr) -> Value {
    HttpClient::new(node, TIMEOUT).get("/status").unwrap().json()
}

/// How long until every node's own view is so.
fn everywhere(cluster: &Cluster, what: &str, is_so: impl Fn(&Value) -> bool) -> Duration {
    let all = || cluster.clients().into_iter().all(|node| is_so(&status(node))).then_some(());
    timed(&format!("every node shows {what}"), PATIENCE, all).1
}

#[test]
fn a_client_of_the_original_routes_sees_one_leader_and_its_locks_on_every_node() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let (leader, follower) = (cluster.leader(), cluster.follower());
    let nodes = cluster.clients();
    let mut times = Percentiles::default();

    let before = nodes.map(status);
    let states: Vec<_> = before.iter().map(|status| status["state"].as_str().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| **state == "LEADER").count(), 1, "{states:?}");
    assert_eq!(states.iter().filter(|state| **state == "FOLLOWER").count(), 2, "{states:?}");
    for status in &before {
        assert_eq!(status["term"], before[0]["term"]);
        assert_eq!(status["leader"], before[leader]["node_id"]);
        assert!(status["log_length"].as_u64() >= status["commit_index"].as_u64(), "{status}");
    }

    for (node, lock, kind) in
        [(nodes[leader], "by-leader", "exclusive"), (nodes[follower], "by-follower", "shared")]
    {
        let commit_before = status(node)["commit_index"].as_u64().unwrap();
        let answer = acquire(node, lock, "alice", kind);
        assert_eq!(answer["success"], true, "{answer}");
        assert!(answer["message"].is_string() && answer["token"].is_u64(), "{answer}");
        times.add(everywhere(&cluster, &format!("{lock} and that something was committed"), |s| {
            s["locks"]["active_locks"][lock] == json!({ "type": kind, "owners": ["alice"] })
                && s["commit_index"].as_u64().unwrap() > commit_before
        }));
    }

    let answer = acquire(nodes[follower], "by-leader", "bob", "exclusive");
    assert_eq!(answer["success"], false, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("wait list"), "{answer}");
    times.add(everywhere(&cluster, "bob in the wait list", |status| {
        status["locks"]["wait_list"]["by-leader"] == json!(["bob"])
    }));

    let answer = release(nodes[follower], "by-leader", "alice");
    assert_eq!(answer["success"], true, "{answer}");
    let answer = acquire(nodes[leader], "by-leader", "bob", "exclusive");
    assert_eq!(answer["success"], true, "{answer}");
    times.add(everywhere(&cluster, "that bob has it and nobody waits", |status| {
        status["locks"]["active_locks"]["by-leader"]["owners"] == json!(["bob"])
            && status["locks"]["wait_list"].get("by-leader").is_none()
    }));

    assert_eq!(release(nodes[leader], "by-leader", "bob")["success"], true);
    times.add(everywhere(&cluster, "that the lock is gone", |status| {
        status["locks"]["active_locks"].get("by-leader").is_none()
    }));
    measured(&format!(
        "original routes: an answered command is on every node's /status after {times}"
    ));
}

#[test]
fn giving_back_works_for_who_holds_or_waits_and_for_nobody_else() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let [a, b, c] = cluster.clients();
    assert_eq!(acquire(a, "orders", "alice", "exclusive")["success"], true);
    assert_eq!(acquire(b, "orders", "bob", "exclusive")["success"], false);
    assert_eq!(release(c, "orders", "carol")["success"], false);
    assert_eq!(release(c, "orders", "bob")["success"], true);
    assert_eq!(release(c, "orders", "bob")["success"], false);
    assert_eq!(release(b, "orders", "alice")["success"], true);
    assert_eq!(release(a, "orders", "alice")["success"], false);
}

#[test]
fn readers_share_a_writer_waits_and_a_reader_becomes_a_writer() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let [a, b, c] = cluster.clients();
    let first = acquire(a, "page", "r1", "shared");
    let second = acquire(b, "page", "r2", "shared");
    assert_eq!((&first["success"], &second["success"]), (&json!(true), &json!(true)));
    assert_eq!(first["token"], second["token"]);
    assert_eq!(acquire(c, "page", "w", "exclusive")["success"], false);

    // Asking for more is an upgrade: before the writer, which waits for this reader anyway.
    let upgrade = acquire(a, "page", "r1", "exclusive");
    assert_eq!((&upgrade["success"], &upgrade["owners"]), (&json!(false), &json!(["r2"])));
    let other = acquire(b, "page", "r2", "exclusive");
    assert_eq!((&other["success"], &other["code"]), (&json!(false), &json!("deadlock")));
    assert_eq!(release(b, "page", "r2")["success"], true);
    let upgrade = acquire(a, "page", "r1", "exclusive");
    assert_eq!(upgrade["success"], true, "{upgrade}");
    assert!(upgrade["token"].as_u64() > first["token"].as_u64(), "{upgrade}");
}

#[test]
fn a_lease_ends_by_itself() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let [a, b, _] = cluster.clients();
    let body = json!({
        "resource_id": "short", "client_id": "x", "lock_type": "exclusive", "ttl": "300ms"
    });
    let answer = post(a, "/lock/acquire", &body).json();
    assert!(answer["remaining_ms"].as_u64().unwrap() <= 300, "{answer}");
    let next = until("the lease ends and the next one gets the lock", || {
        let answer = acquire(b, "short", "y", "exclusive");
        (answer["success"] == true).then_some(answer)
    });
    assert!(next["token"].as_u64() > answer["token"].as_u64());
}

#[test]
fn what_is_wrong_in_a_request_is_named() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let node = cluster.clients()[cluster.follower()];
    let whole = json!({ "resource_id": "r", "client_id": "c", "lock_type": "exclusive" });
    for (path, field, wrong) in [
        ("/lock/acquire", "resource_id", None),
        ("/lock/acquire", "client_id", None),
        ("/lock/acquire", "lock_type", Some(json!("upgradable"))),
        ("/lock/acquire", "lock_type", Some(json!(7))),
        ("/lock/acquire", "resource_id", Some(json!(""))),
        ("/lock/acquire", "client_id", Some(json!("x".repeat(257)))),
        ("/lock/acquire", "ttl", Some(json!("soon"))),
        ("/lock/release", "resource_id", None),
        ("/lock/release", "client_id", None),
    ] {
        let mut body = whole.clone();
        match wrong {
            None => drop(body.as_object_mut().unwrap().remove(field)),
            Some(value) => body[field] = value,
        }
        let response = post(node, path, &body);
        let answer = response.json();
        assert_eq!(response.status, 400, "{path} {body}: {answer}");
        assert_eq!(answer["field"], field, "{path} {body}: {answer}");
        assert_eq!(answer["success"], false);
        assert!(answer["message"].as_str().unwrap().contains(field), "{answer}");
    }
}

#[test]
fn curl_needs_no_content_type_and_a_web_page_does() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let mut client = HttpClient::new(cluster.clients()[0], TIMEOUT);
    let body = json!({ "resource_id": "r", "client_id": "c", "lock_type": "exclusive" });
    let body = body.to_string();
    let form = ("content-type", "application/x-www-form-urlencoded");
    let json = ("content-type", "application/json");
    let origin = ("origin", "https://somewhere.example");
    let own = format!("http://{}", cluster.clients()[0]);
    let own = ("origin", own.as_str());
    for (headers, status) in [
        (vec![], 200),
        (vec![form], 200),
        (vec![form, ("sec-fetch-site", "none")], 200),
        (vec![own, json], 200),
        (vec![own], 415),
        (vec![own, form], 415),
        (vec![origin, json], 403),
        (vec![origin], 403),
        (vec![form, ("sec-fetch-site", "cross-site")], 415),
    ] {
        let response = client.call("POST", "/lock/acquire", &headers, body.as_bytes()).unwrap();
        assert_eq!(response.status, status, "{headers:?}: {}", response.text());
    }
}

#[test]
fn metrics_are_text_for_a_scraper_and_json_for_who_asks() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let mut client = HttpClient::new(cluster.clients()[0], TIMEOUT);
    let text = client.get("/metrics").unwrap();
    assert_eq!(text.status, 200);
    assert!(text.text().contains("# TYPE dsync_"), "{}", text.text());
    let json = client.call("GET", "/metrics", &[("accept", "application/json")], b"").unwrap();
    assert!(json.json().is_object() || json.json().is_array());
}
