//! `dsync lock` as a process, against nodes that say what they are told to say.
//!
//! A command's output pipe is also held by everything that it started: when it ends, all of them are
//! dead. That is how these tests wait for processes to be gone.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../client/testing/fake_node.rs"]
mod fake_node;
#[path = "../client/testing/output.rs"]
mod output;

use std::process::{Child, Command, Stdio};

use fake_node::{FakeNode, Request, Say, ok, problem};
use output::{Output, await_end, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// TERM comes after two thirds of it and KILL at its end: on a loaded machine, too, a command has to have
/// begun by then, and to have answered the one before the other.
const TTL: &str = "6s";

/// Grants, renews and releases whatever is asked.
fn friendly(request: &Request) -> Say {
    match verb(request) {
        "acquire" => ok(&grant(request)),
        "renew" => ok(&json!({ "hold": "12-0", "remaining_ms": request.body["ttl"], "index": 13 })),
        _ => ok(&json!({})),
    }
}

fn verb(request: &Request) -> &str {
    request.line.rsplit('/').next().unwrap_or_default()
}

fn grant(request: &Request) -> Value {
    let named = request.body["locks"].as_array().into_iter().flatten();
    let mut names: Vec<_> = named.map(|lock| lock["name"].as_str().unwrap()).collect();
    if names.is_empty() {
        names.push(request.line.split('/').nth(3).unwrap());
    }
    let lock = |(at, name): (usize, &&str)| json!({ "name": name, "mode": "exclusive", "permits": 1, "token": 41 + at });
    let ttl_ms = request.body["ttl"].as_u64().filter(|ttl| *ttl > 0);
    json!({
        "hold": "12-0", "token": 41, "locks": names.iter().enumerate().map(lock).collect::<Value>(),
        "remaining_ms": ttl_ms, "waited_ms": 0, "index": 12,
    })
}

/// A node that says nothing to the first request, and says `then` to what follows.
fn unheard_then(mut then: impl FnMut(&Request) -> Say + Send + 'static) -> FakeNode {
    let mut first = true;
    FakeNode::new(move |request| match std::mem::take(&mut first) {
        true => Say::Nothing,
        false => then(request),
    })
}

/// Whoever asks again after it has given up is told that it has left the queue.
fn left(_: &Request) -> Say {
    problem(409, "wait_timeout", false)
}

/// `dsync lock ARGS`.
fn dsync(node: &FakeNode, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsync"));
    command.arg("lock").args(args).env("DSYNC_SERVERS", &node.address);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it ended with, wrote, and said.
fn run(node: &FakeNode, args: &[&str]) -> (i32, String, String) {
    let mut process = dsync(node, args).spawn().unwrap();
    let out = Output::of(process.stdout.take().unwrap());
    let said = Output::of(process.stderr.take().unwrap());
    let code = await_end(&mut process).code().unwrap();
    (code, out.rest(), said.rest())
}

/// A running `dsync lock` whose command says a line when it is ready.
struct Running {
    process: Child,
    out: Output,
}

impl Running {
    fn new(node: &FakeNode, args: &[&str], script: &str) -> Self {
        let args = [args, &["--", "sh", "-c", script]].concat();
        Self::start(&mut dsync(node, &args))
    }

    fn start(command: &mut Command) -> Self {
        let mut process = command.stderr(Stdio::inherit()).spawn().unwrap();
        let out = Output::of(process.stdout.take().unwrap());
        Self { process, out }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    fn code(&mut self) -> i32 {
        await_end(&mut self.process).code().unwrap()
    }
}

/// Says the number of its process group, which is the keeper's, and stays until it is killed; so does
/// a child of it.
const STUBBORN: &str = "trap 'echo term' TERM; (trap '' TERM; while :; do sleep 1; done) & \
                        cut -d' ' -f5 /proc/self/stat; while :; do wait; done";

/// Until no process of a group is left. The dead ones are reaped by whoever adopted them, some time.
fn await_gone(group: &str) {
    let group = Pid::from_raw(group.parse().unwrap()).unwrap();
    let gone = || rustix::process::test_kill_process_group(group).is_err().then_some(());
    within(gone, "somebody of the group lives on");
}

/// A pipe with a name, so that a command can hold it and `dsync lock` does not.
fn named_pipe() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    (folder, pipe)
}

#[test]
fn the_command_is_told_its_lock_and_tokens_and_its_exit_code_is_passed_through() {
    let node = FakeNode::new(friendly);
    let script = "echo $DSYNC_LOCK $DSYNC_TOKEN $DSYNC_TOKENS $DSYNC_HOLD; exit 7";
    let (code, out, said) = run(&node, &["b", "a", "--", "sh", "-c", script]);
    assert_eq!((code, out.as_str(), said.as_str()), (7, "b 41 b=41,a=42 12-0\n", ""));
    let verbs: Vec<_> = node.requests().iter().map(|it| verb(it).to_owned()).collect();
    assert_eq!(verbs, ["acquire", "release"]);
    assert_eq!(node.requests()[1].body, json!({ "hold": "12-0" }));
}

#[test]
fn a_name_that_would_be_another_one_in_an_address_is_refused() {
    let node = FakeNode::new(friendly);
    for (name, why) in [("a\nb", "control characters"), ("..", "cannot stand in an address")] {
        let (code, _, said) = run(&node, &[name, "--", "true"]);
        assert_eq!(code, 64, "{name:?}: {said}");
        assert!(said.contains(why), "{said}");
    }
    assert!(node.requests().is_empty());
}

#[test]
fn a_wait_that_takes_long_says_what_it_waits_for() {
    let mut first = true;
    let mut unheard = move |request: &Request| match std::mem::take(&mut first) {
        true => Say::Nothing,
        false => left(request),
    };
    let node = FakeNode::new(move |request| match request.line.starts_with("GET ") {
        true => ok(&json!({
            "name": "x", "waiters": [],
            "holders": [{ "owner": "bob", "mode": "exclusive", "hold": "1-0", "token": 7,
                          "remaining_ms": null }],
        })),
        false => unheard(request),
    });
    let mut process = dsync(&node, &["x", "--", "true"]).spawn().unwrap();
    let said = Output::of(process.stderr.take().unwrap());
    assert_eq!(said.line(), "dsync: waiting: \"x\" is held by bob");
    kill_process(Pid::from_child(&process), Signal::INT).unwrap();
    await_end(&mut process);
}

#[test]
fn options_become_the_request() {
    let node = FakeNode::new(friendly);
    let options = ["--permits", "2/8", "--wait", "3s", "--ttl", "9s", "--owner", "me"];
    assert_eq!(run(&node, &[&["gpu"], &options[..], &["--", "true"]].concat()).0, 0);
    assert_eq!(run(&node, &["x", "--shared", "--try", "--ttl", "0s", "--", "true"]).0, 0);
    let asked = node.await_requests("/acquire", 2);
    assert_eq!(
        asked[0].body,
        json!({ "owner": "me", "mode": "permits", "permits": 2, "permits_max": 8, "ttl": 9_000,
                "wait": asked[0].body["wait"] })
    );
    let wait = asked[0].body["wait"].as_u64().unwrap();
    assert!((1..=3_000).contains(&wait), "{wait}");
    let other = &asked[1].body;
    assert_eq!(
        (&other["mode"], &other["ttl"], &other["wait"]),
        (&json!("shared"), &json!(0), &json!(0))
    );
}

#[test]
fn what_keeps_the_lock_away_has_an_exit_code_and_the_command_does_not_run() {
    let cases = [
        (problem(409, "held", false), 75),
        (problem(409, "deadlock", false), 76),
        (problem(409, "already_held", false), 77),
        (problem(400, "invalid_field", false), 77),
    ];
    for (say, code) in cases {
        let node = FakeNode::scripted([say.clone()]);
        let (got, out, said) = run(&node, &["x", "--try", "--", "echo", "ran"]);
        assert_eq!((got, out.as_str()), (code, ""), "{say:?}");
        assert!(said.starts_with("dsync: "), "{said}");
    }
    let waits = FakeNode::scripted([problem(409, "wait_timeout", false)]);
    assert_eq!(run(&waits, &["x", "--wait", "1ms", "--", "echo", "ran"]).0, 75);
}

#[test]
fn a_wrong_call_and_a_command_that_cannot_run_have_codes_of_their_own() {
    let node = FakeNode::new(friendly);
    for wrong in [&["x"][..], &["--", "true"], &["x", "--ttl", "30", "--", "true"]] {
        assert_eq!(run(&node, wrong).0, 64, "{wrong:?}");
    }
    assert_eq!(run(&node, &["--help"]).0, 0);
    assert_eq!(run(&node, &["x", "--", "/no/such/command"]).0, 127);
    assert_eq!(run(&node, &["x", "--", "/"]).0, 126);
    let mut nowhere = dsync(&node, &["x", "--server", "nowhere", "--", "true"]);
    assert_eq!(nowhere.output().unwrap().status.code(), Some(64));
}

#[test]
fn a_command_that_a_signal_ended_is_reported_as_shells_do() {
    let node = FakeNode::new(friendly);
    assert_eq!(run(&node, &["x", "--", "sh", "-c", "kill -USR1 $$"]).0, 128 + 10);
}

#[test]
fn signals_are_passed_on_to_the_command() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::USR2, "USR2")] {
        let node = FakeNode::new(friendly);
        let script =
            format!("trap 'echo got; exit 3' {name}; echo ready; while :; do sleep 0.01; done");
        let mut running = Running::new(&node, &["x"], &script);
        assert_eq!(running.out.line(), "ready");
        running.signal(signal);
        assert_eq!((running.out.rest().as_str(), running.code()), ("got\n", 3), "{name}");
        node.await_requests("/release", 1);
    }
}

#[test]
fn a_signal_while_waiting_leaves_the_queue() {
    let node = unheard_then(left);
    let mut running = Running::new(&node, &["x"], "echo ran");
    node.await_requests("/acquire", 1);
    running.signal(Signal::INT);
    assert_eq!((running.code(), running.out.rest().as_str()), (128 + 2, ""));
    node.await_hang_ups(1);
    assert_eq!(node.await_requests("/release", 0).len(), 0, "there was nothing to give back");
}

#[test]
fn a_grant_that_was_under_way_when_a_signal_came_is_given_back_before_the_end() {
    for signal in [Signal::TERM, Signal::HUP] {
        let node = unheard_then(friendly);
        let mut running = Running::new(&node, &["x", "--ttl", "0s"], "echo ran");
        node.await_requests("/acquire", 1);
        running.signal(signal);
        let ended = (running.code(), running.out.rest());
        assert_eq!(ended, (128 + signal.as_raw(), String::new()));
        let requests = node.requests();
        let last = requests.last().unwrap();
        assert_eq!((verb(last), &last.body), ("release", &json!({ "hold": "12-0" })));
    }
}

#[test]
fn a_grant_that_was_under_way_when_dsync_was_killed_is_given_back_by_its_keeper() {
    let node = unheard_then(friendly);
    let running = Running::new(&node, &["x", "--ttl", "0s"], "echo ran");
    node.await_requests("/acquire", 1);
    running.signal(Signal::KILL);
    node.await_requests("/release", 1);
}

#[test]
fn if_no_node_says_whether_the_lock_was_granted_that_is_said() {
    for (ttl, outlook) in [("30s", "its lease ends it"), ("0s", "`dsync locks get x`")] {
        let node = FakeNode::scripted([Say::Nothing]);
        let mut process = dsync(&node, &["x", "--ttl", ttl, "--", "true"]).spawn().unwrap();
        let said = Output::of(process.stderr.take().unwrap());
        node.await_requests("/acquire", 1);
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        // It asks again; another signal ends that.
        node.await_requests("/acquire", 2);
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        assert_eq!(await_end(&mut process).code(), Some(128 + 15));
        let said = said.rest();
        assert!(said.contains("not known") && said.contains(outlook), "{said}");
    }
}

#[test]
fn what_nohup_ignores_stays_ignored_for_dsync_and_for_the_command() {
    let node = FakeNode::new(friendly);
    let script = "kill -HUP $$; kill -HUP $PPID; echo alive";
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' HUP; exec \"$0\" lock x -- sh -c \"$1\""]);
    command.args([env!("CARGO_BIN_EXE_dsync"), script]).env("DSYNC_SERVERS", &node.address);
    let mut running = Running::start(command.stdin(Stdio::null()).stdout(Stdio::piped()));
    assert_eq!((running.out.rest().as_str(), running.code()), ("alive\n", 0));
}

#[test]
fn a_lock_that_is_held_for_some_time_at_least_is_left_to_its_lease_when_the_command_ends_early() {
    let node = FakeNode::new(friendly);
    let options = ["nightly", "--try", "--hold-at-least", "60s"];
    let (code, _, said) = run(&node, &[&options[..], &["--", "sh", "-c", "exit 3"]].concat());
    assert_eq!((code, said.as_str()), (3, ""));
    let requests = node.requests();
    assert_eq!(requests.len(), 1, "it is not given back");
    assert_eq!(requests[0].body["ttl"], 60_000, "and lasts though nobody renews it");
    let endless = ["x", "--ttl", "0s", "--hold-at-least", "60s", "--", "true"];
    assert_eq!(run(&node, &endless).0, 64, "no lease would end it");
}

/// Otherwise the lock would stay held for most of another lease.
#[test]
fn a_lock_whose_lease_would_last_longer_than_it_is_to_be_held_is_given_back_on_time() {
    let node = FakeNode::new(|request| match verb(request) {
        "renew" => ok(&json!({ "hold": "12-0", "remaining_ms": 6_000_000, "index": 13 })),
        _ => friendly(request),
    });
    let start = |at_least: &str| {
        let (folder, pipe) = named_pipe();
        let options = ["x", "--ttl", "1s", "--hold-at-least", at_least, "--", "sh", "-c"];
        let script = ["read line < \"$0\"; exit 5", pipe.to_str().unwrap()];
        let mut process = dsync(&node, &[&options[..], &script].concat()).spawn().unwrap();
        let said = Output::of(process.stderr.take().unwrap());
        // The second one is sent when the first one's answer is known.
        let renewals = node.await_requests("/renew", 0).len();
        node.await_requests("/renew", renewals + 2);
        std::thread::spawn(move || (std::fs::write(&pipe, "go\n"), folder));
        (process, said)
    };
    let (mut process, _) = start("4s");
    node.await_requests("/release", 1);
    assert_eq!(await_end(&mut process).code(), Some(5));
    // A signal ends the waiting; then the lease ends the hold.
    let (mut process, said) = start("10m");
    assert!(said.line().contains("the lock is held for"));
    kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
    assert_eq!(await_end(&mut process).code(), Some(5));
    assert_eq!(node.await_requests("/release", 1).len(), 1);
}

#[test]
fn when_renewals_hang_the_group_gets_term_and_then_kill_and_nothing_is_left() {
    let node = FakeNode::new(|request| match verb(request) {
        "renew" => Say::Nothing,
        _ => friendly(request),
    });
    let mut running = Running::new(&node, &["x", "--ttl", TTL], STUBBORN);
    let group = running.out.line();
    assert_eq!(running.out.rest(), "term\n");
    assert_eq!(running.code(), 79);
    await_gone(&group);
}

#[test]
fn after_a_forced_release_the_command_is_ended_and_the_code_says_so() {
    let node = FakeNode::new(|request| match verb(request) {
        "renew" => problem(409, "revoked", false),
        _ => friendly(request),
    });
    let mut running = Running::new(
        &node,
        &["x", "--ttl", TTL],
        "trap 'echo term; exit 0' TERM; echo ready; \
                                                       while :; do sleep 0.01; done",
    );
    assert_eq!(running.out.line(), "ready");
    assert_eq!((running.out.rest().as_str(), running.code()), ("term\n", 79));
    assert!(!node.requests().iter().any(|it| verb(it) == "release"));
}

#[test]
fn a_command_dies_with_a_killed_dsync_and_so_does_the_rest_of_its_group() {
    let node = FakeNode::new(friendly);
    let mut running = Running::new(&node, &["x", "--ttl", TTL], STUBBORN);
    let group = running.out.line();
    running.signal(Signal::KILL);
    // The kernel kills the command and the keeper asks it to end, whoever comes first; the keeper
    // kills its child. The end of the pipe says that both are dead.
    let rest = running.out.rest();
    assert!(["", "term\n"].contains(&rest.as_str()), "{rest}");
    await_end(&mut running.process);
    await_gone(&group);
}

#[test]
fn a_stopped_dsync_keeps_the_lock_and_goes_on_as_if_nothing_had_happened() {
    let node = FakeNode::new(friendly);
    let script = "echo ready; read line < \"$0\"; exit 5";
    let (_folder, pipe) = named_pipe();
    let args = ["x", "--ttl", TTL, "--", "sh", "-c", script, pipe.to_str().unwrap()];
    let mut running = Running::start(&mut dsync(&node, &args));
    assert_eq!(running.out.line(), "ready");
    running.signal(Signal::STOP);
    // More than one lease.
    let before = node.await_requests("/renew", 0).len();
    node.await_requests("/renew", before + 5);
    running.signal(Signal::CONT);
    // It blocks until the command has opened the pipe, too.
    std::thread::spawn(move || std::fs::write(&pipe, "go\n"));
    assert_eq!(running.code(), 5);
    node.await_requests("/release", 1);
}

#[test]
fn the_keeper_ends_the_command_of_a_stopped_dsync_in_time() {
    let node = FakeNode::new(|request| match verb(request) {
        "renew" => Say::Nothing,
        _ => friendly(request),
    });
    let (_folder, pipe) = named_pipe();
    let script = format!("exec >\"$0\"; {STUBBORN}");
    let args = ["x", "--ttl", TTL, "--", "sh", "-c", &script, pipe.to_str().unwrap()];
    let mut running = Running::start(&mut dsync(&node, &args));
    let out = Output::of_named_pipe(pipe);
    let group = out.line();
    running.signal(Signal::STOP);
    assert_eq!(out.rest(), "term\n");
    running.signal(Signal::CONT);
    assert_eq!(running.code(), 79);
    await_gone(&group);
}

#[test]
fn a_command_is_ended_in_time_though_the_keeper_is_killed_or_stopped() {
    for signal in [Signal::KILL, Signal::STOP] {
        let node = FakeNode::new(friendly);
        let mut running = Running::new(&node, &["x", "--ttl", TTL], STUBBORN);
        let keeper = Pid::from_raw(running.out.line().parse().unwrap()).unwrap();
        kill_process(keeper, signal).unwrap();
        assert_eq!(running.out.rest(), "term\n", "{signal:?}");
        assert_eq!(running.code(), 79, "{signal:?}");
    }
}

#[test]
fn a_release_that_is_not_taken_is_said_and_changes_no_exit_code() {
    let node = FakeNode::new(|request| match verb(request) {
        "release" => problem(400, "invalid_field", false),
        _ => friendly(request),
    });
    let (code, _, said) = run(&node, &["x", "--", "true"]);
    assert_eq!(code, 0);
    assert!(said.contains("not given back"), "{said}");
}
