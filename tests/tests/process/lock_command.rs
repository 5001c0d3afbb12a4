//! `dsync lock` on a real cluster: its node stands still, it stands still itself, its lock is taken
//! away by force. What is promised stands in docs/cli.md; this is the proof.
//!
//! The command says on its pipe who it is, and everything that it started holds that pipe: when the
//! pipe ends, all of it is dead.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::program;
use dsync_tests::process::until::{PATIENCE, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::{Value, json};

use crate::output::{Output, await_end};
use crate::turns;

const TIMEOUT: Duration = PATIENCE;
/// Enough for a renewal that one node did not answer and the next one takes, on a loaded machine.
const TTL_MS: u64 = 6_000;

/// Says that it runs, and runs until it is told to end or is killed.
const RUNS: &str = "trap 'exit 9' TERM; echo $$; while :; do sleep 0.05; done";

/// `dsync lock` with a command.
struct Locked {
    process: Child,
    out: Output,
}

impl Locked {
    /// Asks these nodes, the first one first.
    fn start(cluster: &Cluster, nodes: &[usize], name: &str, script: &str) -> Self {
        let servers: Vec<_> =
            nodes.iter().map(|at| format!("http://{}", cluster.clients()[*at])).collect();
        let mut process = Command::new(program::path())
            .args(["lock", name, "--ttl", &format!("{TTL_MS}ms"), "--wait", "60s"])
            .args(["--server", &servers.join(","), "--", "sh", "-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = Output::of(process.stdout.take().unwrap());
        Self { process, out }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// The exit code, when everything that it started is dead.
    fn end(mut self) -> i32 {
        self.out.rest();
        await_end(&mut self.process).code().unwrap()
    }
}

/// The test has failed: its keeper ends the command with it.
impl Drop for Locked {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn look(cluster: &Cluster, node: usize, name: &str) -> Option<Value> {
    let mut client = HttpClient::new(cluster.clients()[node], TIMEOUT);
    let answer = client.get(&format!("/v1/locks/{name}")).ok()?;
    (answer.status == 200).then(|| answer.json())
}

fn holder(cluster: &Cluster, node: usize, name: &str) -> Option<Value> {
    look(cluster, node, name)?["holders"].get(0).cloned()
}

/// Until the same hold has lived for longer than two leases: it was renewed.
fn await_renewals(cluster: &Cluster, node: usize, name: &str) {
    let first = until("somebody holds it", || holder(cluster, node, name))["hold"].clone();
    until("it is held for longer than two leases", || {
        let holder = holder(cluster, node, name)?;
        assert_eq!(holder["hold"], first, "the hold was lost");
        (holder["held_ms"].as_u64()? > 2 * TTL_MS).then_some(())
    });
}

#[test]
fn a_command_goes_on_under_its_lock_when_the_node_that_served_it_stands_still() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let still = cluster.follower();
    let others: Vec<usize> = (0..3).filter(|at| *at != still).collect();
    let locked = Locked::start(&cluster, &[still, others[0], others[1]], "job", RUNS);
    locked.out.line();
    cluster.nodes[still].signal(Signal::STOP);
    await_renewals(&cluster, others[0], "job");
    cluster.nodes[still].signal(Signal::CONT);
    locked.signal(Signal::TERM);
    assert_eq!(locked.end(), 9);
    until("it is given back", || holder(&cluster, others[0], "job").is_none().then_some(()));
}

#[test]
fn a_request_that_waits_at_a_node_that_stands_still_is_granted_through_another_in_its_place() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let still = cluster.follower();
    let others: Vec<usize> = (0..3).filter(|at| *at != still).collect();
    let first = Locked::start(&cluster, &others, "job", RUNS);
    first.out.line();
    let second = Locked::start(&cluster, &[still, others[0], others[1]], "job", "echo mine");
    let waits = |count: usize| {
        let waiters = look(&cluster, others[0], "job")?["waiters"].as_array()?.len();
        (waiters == count).then_some(())
    };
    until("the second waits", || waits(1));
    let third = Locked::start(&cluster, &others, "job", "echo mine, too");
    until("the third waits", || waits(2));
    cluster.nodes[still].signal(Signal::STOP);
    // Its node's listeners are lost, and its place is taken up elsewhere, with the same request.
    until("the second is listened to by another node", || {
        let waiters = look(&cluster, others[0], "job")?["waiters"].clone();
        (waiters[0]["attached"] == true).then_some(())
    });
    first.signal(Signal::TERM);
    assert_eq!(first.end(), 9);
    assert_eq!(second.out.line(), "mine");
    assert_eq!(second.end(), 0);
    assert_eq!(third.end(), 0);
    cluster.nodes[still].signal(Signal::CONT);
}

#[test]
fn a_dsync_lock_that_stands_still_keeps_its_lock_and_its_command() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let locked = Locked::start(&cluster, &[0, 1, 2], "job", RUNS);
    locked.out.line();
    locked.signal(Signal::STOP);
    await_renewals(&cluster, 0, "job");
    locked.signal(Signal::CONT);
    locked.signal(Signal::TERM);
    assert_eq!(locked.end(), 9);
    until("it is given back", || holder(&cluster, 0, "job").is_none().then_some(()));
}

#[test]
fn a_command_that_is_cut_off_from_the_cluster_is_gone_before_the_next_one_begins() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    for stands_still in [false, true] {
        let name = format!("job-{stands_still}");
        let still = cluster.follower();
        let others: Vec<usize> = (0..3).filter(|at| *at != still).collect();
        // It knows one node only, and that one will stand still.
        let first = Locked::start(&cluster, &[still], &name, RUNS);
        let command = Pid::from_raw(first.out.line().parse().unwrap()).unwrap();
        let second = Locked::start(&cluster, &others, &name, "echo mine; read line");
        if stands_still {
            first.signal(Signal::STOP);
        }
        cluster.nodes[still].signal(Signal::STOP);
        assert_eq!(second.out.line(), "mine");
        assert!(is_dead(command), "both commands run (dsync stands still: {stands_still})");
        cluster.nodes[still].signal(Signal::CONT);
        if stands_still {
            first.signal(Signal::CONT);
        }
        assert_eq!(first.end(), 79);
        second.end();
    }
}

/// Gone, or dead and not reaped by a parent that stands still.
fn is_dead(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    let state = stat.ok().and_then(|stat| stat.rsplit(") ").next()?.chars().next());
    test_kill_process(pid).is_err() || state == Some('Z')
}

#[test]
fn after_a_forced_release_the_command_is_ended_and_the_lock_is_free() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    for now in [false, true] {
        let locked = Locked::start(&cluster, &[0, 1, 2], "job", RUNS);
        locked.out.line();
        let mut operator = HttpClient::new(cluster.clients()[1], TIMEOUT);
        let body = json!({ "reason": "a test", "now": now });
        let answer = operator.post("/v1/locks/job/force", &body).unwrap();
        assert_eq!((answer.status, &answer.json()["count"]), (200, &json!(1)));
        assert_eq!(locked.end(), 79, "now: {now}");
        until("it is free", || holder(&cluster, 1, "job").is_none().then_some(()));
    }
}
