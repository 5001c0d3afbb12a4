//! Everything that the lock service can do, under load, while nodes are killed, stopped and restarted.

use std::time::Duration;

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::service_load::ServiceLoad;
use dsync_tests::process::until::until;
use rustix::process::Signal;
use serde_json::Value;

use crate::turns;

const CLIENTS: usize = 12;
/// So that there is something to lose between two faults.
const GRANTS_BETWEEN: usize = 40;

/// What happens to the nodes.
#[derive(Clone, Copy, Debug)]
enum Fault {
    KillLeader,
    KillFollower,
    KillAll,
    PauseLeader,
    PauseFollower,
    StopLeader,
}

/// One of each, and the leader's more often.
const ROUND: [Fault; 8] = [
    Fault::KillLeader,
    Fault::KillFollower,
    Fault::PauseLeader,
    Fault::KillAll,
    Fault::KillLeader,
    Fault::StopLeader,
    Fault::PauseFollower,
    Fault::KillLeader,
];

#[test]
fn nothing_that_the_service_promises_is_broken_by_kills_pauses_and_restarts() {
    let _turn = turns::alone();
    suffer(1);
}

#[test]
#[ignore = "takes many minutes: part of the long form"]
fn nothing_that_the_service_promises_is_broken_by_very_many_of_them() {
    let _turn = turns::alone();
    suffer(25);
}

fn suffer(rounds: usize) {
    let mut cluster = Cluster::start();
    let load = ServiceLoad::start(&cluster.clients(), CLIENTS);
    for _ in 0..rounds {
        for fault in ROUND {
            load.await_grants(GRANTS_BETWEEN);
            strike(&mut cluster, fault);
        }
    }
    load.await_grants(GRANTS_BETWEEN);
    let (beliefs, tally) = load.finish();
    nothing_is_left(&cluster);
    let faults = beliefs.faults();
    assert!(faults.is_empty(), "{} faults, the first: {:#?}", faults.len(), faults[0]);
    assert!(
        ["granted", "upgraded", "downgraded", "renewed", "acquire: deadlock"]
            .iter()
            .all(|what| tally.contains_key(*what)),
        "{tally:?}"
    );
    let held = beliefs.len();
    let count = rounds * ROUND.len();
    measured(&format!("{count} faults under the whole service: {held} holds agree; {tally:?}"));
}

fn strike(cluster: &mut Cluster, fault: Fault) {
    let leader = cluster.leader();
    let follower = (leader + 1) % NODES;
    match fault {
        Fault::KillLeader => kill(cluster, &[leader]),
        Fault::KillFollower => kill(cluster, &[follower]),
        Fault::KillAll => kill(cluster, &[0, 1, 2]),
        Fault::PauseLeader => pause(cluster, leader, Duration::from_secs(5)),
        Fault::PauseFollower => pause(cluster, follower, Duration::from_secs(3)),
        Fault::StopLeader => {
            assert!(cluster.nodes[leader].stop().success());
            cluster.nodes[leader].start();
        }
    }
    cluster.await_ready();
}

fn kill(cluster: &mut Cluster, nodes: &[usize]) {
    for node in nodes {
        cluster.nodes[*node].kill_at_once();
    }
    for node in nodes {
        cluster.nodes[*node].wait();
        cluster.nodes[*node].start();
    }
}

/// The length is the fault itself.
fn pause(cluster: &Cluster, node: usize, time: Duration) {
    cluster.nodes[node].signal(Signal::STOP);
    std::thread::sleep(time);
    cluster.nodes[node].signal(Signal::CONT);
}

/// Everything was given back, or its lease ends it: no ghost stays, and nobody waits for ever.
fn nothing_is_left(cluster: &Cluster) {
    for node in cluster.clients() {
        until("every lock is free", || {
            let answer = HttpClient::new(node, Duration::from_secs(20)).get("/v1/cluster").ok()?;
            let answer: Value = serde_json::from_slice(&answer.body).ok()?;
            let locks = &answer["locks"];
            (locks["holds"] == 0 && locks["waits"] == 0).then_some(())
        });
    }
}
