//! Kill -9 of the leader, and of everybody, again and again under load.
//!
//! Three things are watched at once. A *ledger* keeps the plain promise: what was acknowledged before
//! a kill is there after it, read from every node. The *load* shares a few locks between clients and
//! has every answer checked. And right after each kill somebody asks each surviving node for a lock
//! that nobody has: how long until one of them gives it is the time that the cluster was down.

use std::env;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::load::{Load, LoadPlan};
use dsync_tests::process::locks::{Answer, LockClient, Mode, Trouble};
use dsync_tests::process::percentiles::{Percentiles, measured};
use dsync_tests::process::until::{PATIENCE, until};
use rustix::process::Signal;

use crate::turns;

const TIMEOUT: Duration = PATIENCE;
/// Locks that the load takes between two kills, so that there is something to lose.
const GRANTS_BETWEEN: usize = 15;

#[test]
fn fifty_kills_of_the_leader_lose_nothing() {
    let _turn = turns::alone();
    let kills = env::var("KILLS").map(|kills| kills.parse().expect("KILLS is a number"));
    kill_the_leader(kills.unwrap_or(50));
}

#[test]
#[ignore = "takes a quarter of an hour: part of the long form"]
fn five_hundred_kills_of_the_leader_lose_nothing() {
    let _turn = turns::alone();
    kill_the_leader(500);
}

#[test]
fn ten_kills_of_all_three_at_once_lose_nothing() {
    let _turn = turns::alone();
    let mut cluster = Cluster::start();
    let load = load(&cluster);
    let mut ledger = Ledger::default();
    let mut times = Percentiles::default();
    for kill in 0..10 {
        ledger.turn(&cluster, kill);
        let began = Instant::now();
        for node in &mut cluster.nodes {
            node.kill_at_once();
        }
        for node in &mut cluster.nodes {
            node.wait();
            node.start();
        }
        times.add(next_grant(&format!("all-{kill}"), &cluster.clients(), began));
        cluster.await_ready();
        ledger.check(&cluster);
        load.await_grants(GRANTS_BETWEEN);
    }
    let checked = load.finish();
    measured(&format!("kill all three: kill to next grant {times}; {checked:?}"));
}

#[test]
fn a_leader_that_is_asked_to_stop_hands_over_first() {
    let _turn = turns::alone();
    let mut cluster = Cluster::start();
    let load = load(&cluster);
    let mut ledger = Ledger::default();
    let (mut times, mut ends) = (Percentiles::default(), Percentiles::default());
    for stop in 0..10 {
        ledger.turn(&cluster, stop);
        let leader = cluster.leader();
        let mut others = cluster.clients().to_vec();
        others.remove(leader);
        let began = Instant::now();
        cluster.nodes[leader].signal(Signal::TERM);
        let status = cluster.nodes[leader].wait();
        assert!(status.success(), "{status}");
        ends.add(began.elapsed());
        let began = Instant::now();
        times.add(next_grant(&format!("stop-{stop}"), &others, began));
        cluster.nodes[leader].start();
        cluster.await_ready();
        ledger.check(&cluster);
        load.await_grants(GRANTS_BETWEEN);
    }
    let checked = load.finish();
    // The lead may move between a proposal and its commit, so that its outcome is unknown; a stop that
    // hands nothing over loses what each of the four clients has under way, every time.
    assert!(checked.open <= 10, "requests were left without an answer: {checked:?}");
    measured(&format!(
        "stop the leader: word to its end {ends}; its end to next grant {times}; {checked:?}"
    ));
}

fn kill_the_leader(kills: usize) {
    let mut cluster = Cluster::start();
    let load = load(&cluster);
    let mut ledger = Ledger::default();
    let (mut times, mut returns) = (Percentiles::default(), Percentiles::default());
    for kill in 0..kills {
        ledger.turn(&cluster, kill);
        let leader = cluster.leader();
        let mut survivors = cluster.clients().to_vec();
        survivors.remove(leader);
        let began = Instant::now();
        cluster.nodes[leader].kill();
        let killer = thread::spawn(move || next_grant(&format!("kill-{kill}"), &survivors, began));
        cluster.nodes[leader].start();
        times.add(killer.join().unwrap());
        cluster.await_ready();
        returns.add(began.elapsed());
        ledger.check(&cluster);
        load.await_grants(GRANTS_BETWEEN);
    }
    let checked = load.finish();
    measured(&format!(
        "kill the leader: kill to next grant {times}; kill to all ready {returns}; {checked:?}"
    ));
}

fn load(cluster: &Cluster) -> Load {
    let plan = LoadPlan {
        nodes: cluster.clients().to_vec(),
        roaming: 4,
        staying: 0,
        locks: 2,
        shared_percent: 30,
        timeout: TIMEOUT,
        staying_timeout: TIMEOUT,
    };
    Load::start("load", &plan)
}

/// From `began` to the first answer that gives a lock to somebody who asked after it.
fn next_grant(name: &str, nodes: &[SocketAddr], began: Instant) -> Duration {
    let (found, grant) = mpsc::channel();
    for (number, node) in nodes.iter().copied().enumerate() {
        // A lock for each, so that none waits for the other.
        let (lock, found) = (format!("{name}-{number}"), found.clone());
        thread::spawn(move || {
            let mut client = LockClient::new(node, TIMEOUT);
            let granted = |answer| matches!(answer, Ok(Answer::Granted { .. }));
            while began.elapsed() < PATIENCE {
                if granted(client.acquire(&lock, "next", Mode::Exclusive)) {
                    let _ = found.send(began.elapsed());
                    return;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
    }
    drop(found);
    grant.recv().expect("somebody gets a lock again")
}

/// What was acknowledged: one hold more and one release more before each kill.
#[derive(Default)]
struct Ledger {
    /// Name and token.
    held: Vec<(String, u64)>,
    given_back: Vec<String>,
}

/// Holds that are kept at a time.
const HELD_MAX: usize = 4;
/// The newest of the releases are looked at.
const GIVEN_BACK_MAX: usize = 4;

impl Ledger {
    /// Takes a lock on one node and gives an older one back on another, each just before a kill.
    fn turn(&mut self, cluster: &Cluster, kill: usize) {
        let client = |at: usize| LockClient::new(cluster.clients()[at % NODES], TIMEOUT);
        if self.held.len() >= HELD_MAX {
            let (lock, _) = self.held.remove(0);
            let mut again = false;
            let answer = until("a hold is given back", || {
                let answer = client(kill + 1).release(&lock, "ledger");
                again |= matches!(answer, Err(Trouble::Unknown));
                answer.ok()
            });
            assert!(answer == Answer::Released || again, "{lock}: {answer:?}");
            self.given_back.push(lock);
        }
        let lock = format!("ledger-{kill}");
        let answer = until("a hold is taken", || {
            client(kill).acquire(&lock, "ledger", Mode::Exclusive).ok()
        });
        let Answer::Granted { token } = answer else { panic!("{lock}: {answer:?}") };
        assert!(self.held.iter().all(|(_, earlier)| *earlier < token), "the token has not risen");
        self.held.push((lock, token));
    }

    /// Every node says the same of it, and a hold is still the same hold.
    fn check(&self, cluster: &Cluster) {
        for (at, node) in cluster.clients().into_iter().enumerate() {
            let mut client = LockClient::new(node, TIMEOUT);
            for (lock, token) in &self.held {
                let view = until("a node is asked for a lock", || client.look(lock).ok());
                assert_eq!(view.holders.len(), 1, "node {at}: {lock} is lost");
                assert_eq!(view.holders[0].token, *token, "node {at}: {lock} is another hold");
            }
            for lock in self.given_back.iter().rev().take(GIVEN_BACK_MAX) {
                let view = until("a node is asked for a lock", || client.look(lock).ok());
                assert_eq!(view.holders, [], "node {at}: {lock} is held again");
            }
        }
    }
}
