//! A leader that is stopped in its tracks (SIGSTOP) does not know it. When it goes on five seconds
//! later there is another leader, and requests that were waiting in its sockets are answered at last:
//! by then it must not believe what it believed before.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::{Cluster, NODES};
use dsync_tests::process::http::read_response;
use dsync_tests::process::load::{Load, LoadPlan};
use dsync_tests::process::locks::{Answer, LockClient, Mode};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::{PATIENCE, until};
use rustix::process::Signal;

use crate::turns;

/// How long the leader stands still: part of what is tested.
const PAUSE: Duration = Duration::from_secs(5);
/// Before and after it there is load too: so many times somebody is given a lock.
const GRANTS_AROUND: usize = 50;

#[test]
fn every_answer_makes_sense_when_the_leader_stands_still_for_five_seconds() {
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let plan = LoadPlan {
        nodes: cluster.clients().to_vec(),
        roaming: 3,
        staying: 2,
        locks: 3,
        shared_percent: 30,
        // Who roams gives up on a node that hangs; who stays is answered when it goes on.
        timeout: Duration::from_millis(1_500),
        staying_timeout: PAUSE * 4,
    };
    let load = Load::start("pause", &plan);
    load.await_grants(GRANTS_AROUND);
    let leader = cluster.leader();
    let term = cluster.nodes[leader].status().unwrap()["term"].as_u64();
    cluster.nodes[leader].signal(Signal::STOP);
    sleep(PAUSE);
    cluster.nodes[leader].signal(Signal::CONT);
    load.await_grants(GRANTS_AROUND);
    let follows = || {
        let status = cluster.nodes[leader].status()?;
        (status["term"].as_u64() > term).then_some(())
    };
    until("the one that stood still learns of the new term", follows);
    cluster.await_ready();
    let checked = load.finish();
    measured(&format!("pause of the leader for {PAUSE:?}: all linearizable, {checked:?}"));
}

/// How often the leader stands still for that.
const ROUNDS: usize = 5;
/// So many requests wait in its sockets that some are taken in before it notices the time.
const LATE_REQUESTS: usize = 200;
const TIMEOUT: Duration = PATIENCE;

#[test]
fn a_leader_that_stood_still_never_answers_from_its_past() {
    let _turn = turns::alone();
    let cluster = Cluster::start();
    for round in 0..ROUNDS {
        let leader = cluster.leader();
        let client = |at: usize| LockClient::new(cluster.clients()[at % NODES], TIMEOUT);
        let lock = format!("passed-on-{round}");
        client(leader).acquire(&lock, "first", Mode::Exclusive).unwrap();
        let mut late = LateRequests::connect(cluster.clients()[leader], &lock);

        cluster.nodes[leader].signal(Signal::STOP);
        until("the others let the first go", || client(leader + 1).release(&lock, "first").ok());
        let answer = until("the others take the second", || {
            client(leader + 2).acquire(&lock, "second", Mode::Exclusive).ok()
        });
        assert!(matches!(answer, Answer::Granted { .. }), "{answer:?}");
        late.send();
        cluster.nodes[leader].signal(Signal::CONT);
        late.check();
        cluster.await_ready();
    }
    let requests = ROUNDS * LATE_REQUESTS;
    measured(&format!("pause of the leader: {requests} requests to a deposed leader, none stale"));
}

/// Requests that are sent while their node stands still, after the lock went from `first` to `second`.
struct LateRequests {
    lock: String,
    connections: Vec<BufReader<TcpStream>>,
}

impl LateRequests {
    /// Connections that have been served once.
    fn connect(node: SocketAddr, lock: &str) -> Self {
        let connect = |_| BufReader::new(TcpStream::connect(node).unwrap());
        let connections = (0..LATE_REQUESTS).map(connect).collect();
        let mut requests = Self { lock: lock.to_owned(), connections };
        requests.send();
        for answer in requests.answers() {
            assert!(answer.contains("first"), "{answer}");
        }
        requests
    }

    fn send(&mut self) {
        let request = format!("GET /v1/locks/{} HTTP/1.1\r\nhost: localhost\r\n\r\n", self.lock);
        for connection in &mut self.connections {
            connection.get_mut().write_all(request.as_bytes()).unwrap();
        }
    }

    fn answers(&mut self) -> Vec<String> {
        let deadline = Instant::now() + TIMEOUT;
        let read = |connection| read_response(connection, deadline).unwrap();
        let answers = self.connections.iter_mut().map(read);
        answers.filter(|answer| answer.status == 200).map(|answer| answer.text()).collect()
    }

    fn check(&mut self) {
        let answers = self.answers();
        assert!(!answers.is_empty(), "it never answered");
        for answer in answers {
            assert!(answer.contains("second") && !answer.contains("first"), "stale: {answer}");
        }
    }
}
