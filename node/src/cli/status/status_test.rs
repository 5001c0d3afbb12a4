//! From what nodes say to what is printed and which code is returned.

use dsync_client::NodeError;
use serde_json::{Value, json};

use super::*;

fn says(name: &str, state: &str, term: u64, leader: Option<&str>) -> Row {
    let status = json!({
        "node_id": name, "id": "00", "state": state, "term": term, "leader": leader,
        "log_length": 9, "commit_index": 8, "applied_index": 8,
        "locks": {
            "active_locks": { "orders": { "type": "exclusive", "owners": ["a"] } },
            "wait_list": { "orders": ["b", "c"] },
        },
    });
    Row::new(&format!("http://{name}"), Ok(serde_json::from_value(status).unwrap()))
}

fn silent(name: &str) -> Row {
    does_not_serve(name, "connection refused", false)
}

fn full(name: &str) -> Row {
    does_not_serve(name, "this node has no connection left", true)
}

fn does_not_serve(name: &str, reason: &str, answered: bool) -> Row {
    let node = format!("http://{name}");
    let last = NodeError { node: node.clone(), reason: reason.to_owned(), answered };
    Row::new(&node, Err(Error::Unavailable { deadline: Duration::from_secs(2), last }))
}

fn three_well() -> Vec<Row> {
    vec![
        says("n1", "FOLLOWER", 4, Some("n2")),
        says("n2", "LEADER", 4, Some("n2")),
        says("n3", "FOLLOWER", 4, Some("n2")),
    ]
}

#[test]
fn a_healthy_cluster_is_a_table_with_one_row_a_node() {
    let report = Report::new(three_well());
    assert_eq!(report.health, Health::Ok);
    assert_eq!(
        report.print(Output::Table).unwrap(),
        "\
NODE  STATE     TERM  LEADER  COMMIT  LOG  LOCKS  WAITING  REACHABLE
n1    FOLLOWER  4     n2      8       9    1      2        yes
n2    LEADER    4     n2      8       9    1      2        yes
n3    FOLLOWER  4     n2      8       9    1      2        yes

All nodes follow n2.
"
    );
}

#[test]
fn members_that_were_not_asked_are_named() {
    let mut row = says("n1", "FOLLOWER", 4, Some("n2"));
    row.node.as_mut().unwrap().members = ["n1", "n2", "n3"].map(str::to_owned).to_vec();
    let text = Report::new(vec![row]).print(Output::Table).unwrap();
    assert!(text.ends_with("follows n2; of the members, nobody asked n2, n3.\n"), "{text}");
}

#[test]
fn a_silent_node_is_shown_with_its_reason_and_degrades_the_cluster() {
    let mut rows = three_well();
    rows[0] = silent("n1");
    let report = Report::new(rows);
    assert_eq!(report.health, Health::Degraded);
    let text = report.print(Output::Table).unwrap();
    assert!(text.lines().nth(1).unwrap().ends_with("no"), "{text}");
    assert!(text.contains("http://n1: connection refused"), "{text}");
}

#[test]
fn a_node_that_still_follows_an_older_leader_degrades_the_cluster() {
    let mut rows = three_well();
    rows[2] = says("n3", "LEADER", 3, Some("n3"));
    let report = Report::new(rows);
    assert_eq!((report.health, report.leader.as_deref()), (Health::Degraded, Some("n2")));
}

#[test]
fn candidates_are_no_leader() {
    let candidates = vec![says("n1", "CANDIDATE", 5, None), says("n2", "CANDIDATE", 5, None)];
    assert_eq!(Report::new(candidates).health, Health::NoLeader);
    let others_silent = vec![says("n1", "CANDIDATE", 5, None), silent("n2")];
    assert_eq!(Report::new(others_silent).health, Health::NoLeader);
}

/// They may well have a leader: nobody who knows was heard.
#[test]
fn servers_that_say_nothing_and_servers_without_a_connection_left_leave_the_leader_unknown() {
    let report = Report::new(vec![silent("n1"), full("n2")]);
    assert_eq!(report.health, Health::Unknown);
    assert_eq!(
        report.print(Output::Table).unwrap(),
        "\
NODE       STATE  TERM  LEADER  COMMIT  LOG  LOCKS  WAITING  REACHABLE
http://n1  -      -     -       -       -    -      -        no
http://n2  -      -     -       -       -    -      -        refuses

No server said who leads.
http://n1: connection refused
http://n2: this node has no connection left
"
    );
}

#[test]
fn json_and_yaml_carry_the_same_report() {
    let mut rows = three_well();
    rows.push(silent("n4"));
    let report = Report::new(rows);
    let from_json: Value = serde_json::from_str(&report.print(Output::Json).unwrap()).unwrap();
    let yaml = report.print(Output::Yaml).unwrap();
    let from_yaml: Value = serde_saphyr::from_str(&yaml).unwrap();
    assert_eq!(from_json, from_yaml);
    assert_eq!(from_json["health"], "degraded");
    assert_eq!(from_json["nodes"][1]["state"], "LEADER");
    assert_eq!(from_json["nodes"][3]["reachable"], false);
}
