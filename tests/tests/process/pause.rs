//! A leader that is stopped in its tracks (SIGSTOP) does not know it. When it goes on five seconds
//! later there is another leader, and requests that were waiting in its sockets are answered at last:
//! by then it must not believe what it believed before.

use std::thread::sleep;
use std::time::Duration;

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::load::{Load, LoadPlan};
use dsync_tests::process::percentiles::measured;
use dsync_tests::process::until::until;
use rustix::process::Signal;

use crate::turns;

/// How long the leader stands still: part of what is tested.
const PAUSE: Duration = Duration::from_secs(5);
/// Before and after it there is load too.
const AROUND: Duration = Duration::from_secs(2);

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
    sleep(AROUND);
    let leader = cluster.leader();
    let term = cluster.nodes[leader].status().unwrap()["term"].as_u64();
    cluster.nodes[leader].signal(Signal::STOP);
    sleep(PAUSE);
    cluster.nodes[leader].signal(Signal::CONT);
    sleep(AROUND);
    let follows = || {
        let status = cluster.nodes[leader].status()?;
        (status["term"].as_u64() > term).then_some(())
    };
    until("the one that stood still learns of the new term", follows);
    cluster.await_ready();
    let checked = load.finish();
    assert!(checked.grants > 50, "hardly any load: {checked:?}");
    measured(&format!("pause of the leader for {PAUSE:?}: all linearizable, {checked:?}"));
}
