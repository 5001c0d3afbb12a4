//! `dsync local` and `dsync status` as a person at a terminal has them.

use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use dsync_tests::process::local::Local;
use dsync_tests::process::locks::{LockClient, Mode};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};
use dsync_tests::process::{ports, process_table, program};
use rustix::process::Signal;
use serde_json::Value;

use crate::turns;

const TIMEOUT: Duration = PATIENCE;

fn await_end(pids: [u32; 3]) {
    for pid in pids {
        until("a node ends", || (!process_table::runs(pid)).then_some(()));
    }
}

fn status(local: &Local, output: &str) -> Output {
    let servers = local.clients().map(|address| format!("http://{address}")).join(",");
    let arguments = ["status", "--output", output, "--server", &servers];
    Command::new(program::path()).args(arguments).output().unwrap()
}

#[test]
fn local_shows_three_nodes_stops_them_on_ctrl_c_and_continues_where_it_stopped() {
    let _turn = turns::together();
    let folder = tempfile::tempdir().unwrap();
    let client_ports = Local::free_ports();
    let began = Instant::now();
    let mut local = Local::start(folder.path(), client_ports, &[]);
    local.await_ready();
    let ready = began.elapsed();
    let screen = local.screen();
    for port in client_ports {
        assert!(screen.contains(&format!("ready  http://{}:{port}", ports::host())), "{screen}");
    }
    assert_eq!(screen.matches("  curl ").count(), 3, "{screen}");
    let mut client = LockClient::new(local.clients()[1], TIMEOUT);
    client.acquire("orders", "me", Mode::Exclusive).unwrap();
    let held = client.look("orders").unwrap();
    let pids = local.node_pids();
    assert!(pids.iter().all(|pid| process_table::runs(*pid)));

    let began = Instant::now();
    local.signal(Signal::INT);
    assert_eq!(local.wait().code(), Some(0), "{}", local.screen());
    let stopped = began.elapsed();
    assert!(pids.iter().all(|pid| !process_table::runs(*pid)), "a node was left behind");

    let began = Instant::now();
    let mut again = Local::start(folder.path(), client_ports, &[]);
    again.await_ready();
    let ready_again = began.elapsed();
    let mut client = LockClient::new(again.clients()[2], TIMEOUT);
    assert_eq!(client.look("orders").unwrap(), held);
    again.signal(Signal::TERM);
    assert_eq!(again.wait().code(), Some(0), "{}", again.screen());
    measured(&format!(
        "local: ready after {ready:.1?}, stopped after {stopped:.1?}, again {ready_again:.1?}"
    ));
}

#[test]
fn a_port_in_use_and_a_folder_in_use_are_clear_errors() {
    let _turn = turns::together();
    let folder = tempfile::tempdir().unwrap();
    let mut client_ports = Local::free_ports();
    let taken = TcpListener::bind((ports::host(), client_ports[1])).unwrap();
    let mut refused = Local::start(folder.path(), client_ports, &[]);
    assert_eq!(refused.wait().code(), Some(1), "{}", refused.screen());
    let screen = refused.screen();
    assert!(screen.contains(&format!("port {} ", client_ports[1])), "{screen}");
    assert!(screen.contains("in use"), "{screen}");
    drop(taken);

    let first = Local::start(folder.path(), client_ports, &[]);
    first.await_words("ready", 1);
    client_ports = Local::free_ports();
    let mut second = Local::start(folder.path(), client_ports, &[]);
    assert_eq!(second.wait().code(), Some(1), "{}", second.screen());
    assert!(second.screen().contains("another `dsync local` runs on"), "{}", second.screen());
}

#[test]
fn a_node_that_dies_is_reported_and_started_again() {
    let _turn = turns::together();
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(folder.path(), Local::free_ports(), &[]);
    local.await_ready();
    let mut client = LockClient::new(local.clients()[0], TIMEOUT);
    client.acquire("orders", "me", Mode::Exclusive).unwrap();
    let ready_lines = local.screen().matches("node 1  ready").count();
    let pid = local.node_pids()[0];
    let began = Instant::now();
    process_table::signal(pid, Signal::KILL);
    local.await_words("node 1  died: signal 9 (SIGKILL); starting it again in 2 s", 1);
    local.await_words("node 1  ready", ready_lines + 1);
    let back = began.elapsed();
    assert!(back >= Duration::from_secs(2), "it was started again too soon: {back:?}");
    assert_ne!(local.node_pids()[0], pid);
    let mut client = LockClient::new(local.clients()[0], TIMEOUT);
    let view = until("the node is asked for the lock", || client.look("orders").ok());
    assert_eq!(view.holders.len(), 1);
    measured(&format!(
        "local: a killed node was ready again after {back:.1?}, its pause of 2 s included"
    ));
}

#[test]
fn with_no_restart_a_node_that_dies_stays_down_and_status_says_so() {
    let _turn = turns::together();
    let folder = tempfile::tempdir().unwrap();
    let local = Local::start(folder.path(), Local::free_ports(), &["--no-restart"]);
    local.await_ready();

    let whole = status(&local, "json");
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    let report: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert_eq!(report["health"], "ok", "{report}");
    let nodes = report["nodes"].as_array().unwrap();
    assert_eq!(nodes.iter().filter(|node| node["state"] == "LEADER").count(), 1, "{report}");
    assert_eq!(nodes.iter().filter(|node| node["state"] == "FOLLOWER").count(), 2, "{report}");
    let table = String::from_utf8(status(&local, "table").stdout).unwrap();
    for word in ["NODE", "TERM", "LEADER", "local-1", "local-2", "local-3", "All nodes follow"] {
        assert!(table.contains(word), "{table}");
    }

    process_table::signal(local.node_pids()[2], Signal::KILL);
    local.await_words("node 3  died: signal 9 (SIGKILL); it stays down", 1);
    let mut client = LockClient::new(local.clients()[0], TIMEOUT);
    until("two nodes serve", || client.acquire("orders", "me", Mode::Exclusive).ok());
    let degraded = until("status knows the leader of the two", || {
        let degraded = status(&local, "json");
        (degraded.status.code() == Some(3)).then_some(degraded)
    });
    let report: Value = serde_json::from_slice(&degraded.stdout).unwrap();
    assert_eq!(report["nodes"][2]["reachable"], false, "{report}");
}

#[test]
fn no_node_outlives_a_local_that_is_killed() {
    let _turn = turns::together();
    let folder = tempfile::tempdir().unwrap();
    let mut local = Local::start(folder.path(), Local::free_ports(), &[]);
    local.await_ready();
    let pids = local.node_pids();
    let began = Instant::now();
    local.signal(Signal::KILL);
    local.wait();
    await_end(pids);
    measured(&format!("local: the nodes of a killed parent ended within {:.1?}", began.elapsed()));
}
