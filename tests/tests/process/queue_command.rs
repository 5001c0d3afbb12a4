//! `dsync queue work` on a real cluster: workers that are killed, told to end, or left alone. What is
//! promised stands in docs/cli.md; this is the proof.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::program;
use dsync_tests::process::until::until;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::output::{Output, await_end};
use crate::turns;

/// Says its message and its delivery, and runs until it is told to end or is killed.
const RUNS: &str = "trap 'exit 9' TERM; echo $DSYNC_MESSAGE_ID $DSYNC_DELIVERIES; \
                    while :; do sleep 0.05; done";

fn dsync(cluster: &Cluster, args: &[&str]) -> Command {
    let servers: Vec<_> = cluster.clients().iter().map(|at| format!("http://{at}")).collect();
    let mut command = Command::new(program::path());
    command.arg("queue").args(args).env("DSYNC_SERVERS", servers.join(","));
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

/// What it prints as JSON.
fn json(cluster: &Cluster, args: &[&str]) -> Value {
    let output = dsync(cluster, &[args, &["-o", "json"]].concat()).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn push(cluster: &Cluster, topic: &str, bodies: &[&str]) -> Vec<String> {
    let pushed = json(cluster, &[&["push", topic], bodies].concat());
    assert_eq!(pushed["durability"], "quorum");
    let results = pushed["results"].as_array().unwrap();
    results.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// `dsync queue work` with a command.
struct Working {
    process: Child,
    out: Output,
}

impl Working {
    fn start(cluster: &Cluster, args: &[&str], script: &str) -> Self {
        let args = [&["work"], args, &["--", "sh", "-c", script]].concat();
        let mut process = dsync(cluster, &args).spawn().unwrap();
        let out = Output::of(process.stdout.take().unwrap());
        Self { process, out }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// The exit code; none if a signal ended it.
    fn end(&mut self) -> Option<i32> {
        await_end(&mut self.process).code()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_message_of_a_worker_that_is_killed_comes_back_to_another() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let id = push(&cluster, "mails", &["1"]).remove(0);
    let mut first = Working::start(&cluster, &["mails", "--visibility", "3s"], RUNS);
    assert_eq!(first.out.line(), format!("{id} 1"));
    let mut second = Working::start(&cluster, &["mails", "--visibility", "3s"], RUNS);
    // It lives for longer than its visibility, by extensions, and nobody else gets its message.
    until("it was extended", || {
        let stats = json(&cluster, &["get", "mails", &id]);
        assert_eq!((&stats["state"], &stats["deliveries"]), (&"in_flight".into(), &1.into()));
        (stats["age_ms"].as_u64()? > 7_000).then_some(())
    });
    first.signal(Signal::KILL);
    assert_eq!(first.end(), None);
    // Its command has died with it: the pipe ends.
    assert_eq!(first.out.rest(), "");
    assert_eq!(second.out.line(), format!("{id} 2"));
    let failures = &json(&cluster, &["get", "mails", &id])["failures"];
    assert_eq!(failures["last"]["cause"], "timed_out");
    second.signal(Signal::TERM);
    assert_eq!(second.end(), Some(0));
}

#[test]
fn a_worker_that_is_told_to_end_gives_its_messages_back_at_once() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let ids = push(&cluster, "mails", &["1", "2"]);
    // So long a visibility that nothing comes back by itself within this test.
    let args = ["mails", "--jobs", "2", "--visibility", "12h"];
    let mut first = Working::start(&cluster, &args, RUNS);
    let mut taken = [first.out.line(), first.out.line()];
    taken.sort();
    assert_eq!(taken, [format!("{} 1", ids[0]), format!("{} 1", ids[1])]);
    let mut second = Working::start(&cluster, &args, RUNS);
    first.signal(Signal::TERM);
    assert_eq!(first.end(), Some(0));
    let mut given = [second.out.line(), second.out.line()];
    given.sort();
    assert_eq!(given, [format!("{} 2", ids[0]), format!("{} 2", ids[1])]);
    let failed = &json(&cluster, &["get", "mails", &ids[0]])["failures"]["last"];
    assert_eq!(failed["reason"], "its worker was stopped by signal 15");
    second.signal(Signal::TERM);
    assert_eq!(second.end(), Some(0));
}

#[test]
fn two_workers_do_each_of_200_messages_once() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let bodies: Vec<String> = (0..200).map(|number| number.to_string()).collect();
    push(&cluster, "mails", &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let args = ["mails", "--jobs", "4", "--until-empty"];
    // In one piece, since eight of them write to two pipes.
    let mut workers = [(); 2].map(|()| Working::start(&cluster, &args, "echo \"$(cat)\""));
    let mut done: BTreeMap<String, u32> = BTreeMap::new();
    for worker in &mut workers {
        for line in worker.out.rest().lines() {
            *done.entry(line.to_owned()).or_default() += 1;
        }
        assert_eq!(worker.end(), Some(0));
    }
    assert_eq!(done.len(), 200);
    assert!(done.values().all(|times| *times == 1), "{done:?}");
    let stats = json(&cluster, &["stats", "mails"]);
    let totals = &stats["totals"];
    assert_eq!((&totals["delivered"], &totals["acked"]), (&200.into(), &200.into()), "{totals}");
    assert_eq!(totals["timed_out"], 0);
}

#[test]
fn the_life_of_a_message_from_the_command_line() {
    let _turn = turns::together();
    let cluster = Cluster::start();
    let say = |args: &[&str]| json(&cluster, args);
    let settings = say(&["settings", "mails", "--deliveries-max", "1", "--visibility", "1m"]);
    assert_eq!(
        (&settings["created"], &settings["settings"]["deliveries_max"]),
        (&true.into(), &1.into())
    );
    let exact = "{\"b\":1.0, \"a\":12345678901234567890123}";
    let id = push(&cluster, "mails", &[exact]).remove(0);
    let printed = dsync(&cluster, &["get", "mails", &id, "-o", "json"]).output().unwrap().stdout;
    assert!(String::from_utf8(printed).unwrap().contains(exact), "as it was written, to the byte");
    assert_eq!(say(&["peek", "mails"])["messages"][0]["id"], id.as_str());
    let receipt = say(&["receive", "mails"])["messages"][0]["receipt"].as_str().unwrap().to_owned();
    let extended = say(&["extend", "mails", &receipt, "--visibility", "2m"]);
    assert_eq!(extended["results"][0]["outcome"], "extended");
    let nacked = say(&["nack", "mails", &receipt, "--reason", "no route"]);
    assert_eq!(nacked["results"][0]["outcome"], "dead");
    let late =
        dsync(&cluster, &["ack", "mails", &receipt]).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(late.status.code(), Some(1));
    assert!(String::from_utf8(late.stderr).unwrap().contains("stale_receipt"));
    let dead = say(&["list", "mails", "--dead"]);
    assert_eq!(dead["messages"][0]["failures"]["last"]["reason"], "no route");
    assert_eq!(say(&["redrive", "mails", &id])["results"][0]["moved"], true);
    let receipt = say(&["receive", "mails", "--wait", "20s"])["messages"][0]["receipt"].clone();
    let rejected = say(&["reject", "mails", receipt.as_str().unwrap()]);
    assert_eq!(rejected["results"][0]["outcome"], "dead");
    assert_eq!(say(&["redrive", "mails"])["messages"], 1);
    assert_eq!(say(&["delete", "mails", &id])["removed"], true);
    push(&cluster, "mails", &["1", "2"]);
    assert_eq!(say(&["purge", "mails", "--force"])["messages"], 2);
    assert_eq!(say(&["stats", "mails"])["totals"]["purged"], 3);
    assert_eq!(say(&["delete", "mails"])["deleted"], true);
    assert_eq!(say(&["list"])["topics"], Value::Array(Vec::new()));
}
