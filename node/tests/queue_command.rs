//! `dsync queue` as a process, against nodes that say what they are told to say.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../client/testing/fake_node.rs"]
mod fake_node;
#[path = "../client/testing/output.rs"]
mod output;

use std::io::Write;
use std::process::{Child, Command, Stdio};

use fake_node::{FakeNode, Request, Say, ok, problem};
use output::{Output, await_end, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn dsync(node: &FakeNode, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsync"));
    command.arg("queue").args(args).env("DSYNC_SERVERS", &node.address);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it ended with, wrote, and said.
fn run_with(node: &FakeNode, args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut process = dsync(node, args).spawn().unwrap();
    // It may end without reading.
    let _ = process.stdin.take().unwrap().write_all(input);
    let out = Output::of(process.stdout.take().unwrap());
    let said = Output::of(process.stderr.take().unwrap());
    let code = await_end(&mut process).code().unwrap();
    (code, out.rest(), said.rest())
}

fn run(node: &FakeNode, args: &[&str]) -> (i32, String, String) {
    run_with(node, args, b"")
}

/// What it prints when all is well.
fn prints(node: &FakeNode, args: &[&str]) -> String {
    let (code, out, said) = run(node, args);
    assert_eq!((code, said.as_str()), (0, ""), "{args:?}");
    out
}

fn stored(id: &str, body: &str) -> Value {
    json!({ "id": id, "sub_queue": "main", "state": "delayed", "remaining_ms": 5_000, "body": body,
            "headers": {}, "deliveries": 0, "pushed_ms": 1, "age_ms": 61_000, "priority": 0, "group": null,
            "failures": null, "death": null, "expires_in_ms": null, "bytes": 3, "consumer": null })
}

fn delivery(number: usize) -> Value {
    json!({ "id": format!("{number}.0"), "receipt": format!("r{number}"), "body": { "to": "ann" },
            "headers": { "content-type": "a b" }, "deliveries": 2, "remaining_ms": 30_000, "pushed_ms": 1,
            "age_ms": 120, "priority": 0, "group": null, "failures": null, "death": null })
}

fn settings() -> Value {
    json!({ "visibility_ms": 30_000, "deliveries_max": 20,
            "nack_backoff": { "growth": "exponential", "base_ms": 1_000, "max_ms": 60_000, "jitter_percent": 10 },
            "timeout_backoff": { "growth": "fixed", "base_ms": 0, "max_ms": 0, "jitter_percent": 0 },
            "paused": true, "messages_max": 0, "ttl_ms": 0, "expired": "drop", "dedupe_window_ms": 300_000 })
}

fn topic() -> Value {
    json!({ "topic": "mails", "store": "raft", "settings": settings(), "main": { "ready": 1, "delayed": 2, "in_flight": 3 },
            "dead": { "ready": 4, "delayed": 0, "in_flight": 1 },
            "totals": { "pushed": 6, "duplicates": 0, "delivered": 3, "given_back": 0, "acked": 0, "nacked": 0,
                        "timed_out": 0, "died": 5, "redriven": 0, "expired": 0, "purged": 0 },
            "bytes": 99, "oldest_age_ms": 61_000 })
}

/// Takes whatever is pushed.
fn pushes(request: &Request) -> Say {
    let messages = request.body["messages"].as_array().unwrap().len();
    let results: Vec<_> =
        (0..messages).map(|at| json!({ "id": format!("8.{at}"), "duplicate": at > 0 })).collect();
    ok(&json!({ "results": results, "durability": "quorum", "index": 8 }))
}

#[test]
fn bodies_come_from_arguments_files_and_standard_input() {
    let node = FakeNode::new(pushes);
    let lines = "ID   OUTCOME\n8.0  pushed\n8.1  there before\n";
    assert_eq!(prints(&node, &["push", "mails", "{\"b\":1.0, \"a\":2}", "17"]), lines);
    assert_eq!(prints(&node, &["push", "mails", "--text", "a\"b", "-o", "name"]), "8.0\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), [0xde, 0xad, 0xbe, 0xef]).unwrap();
    let path = file.path().to_str().unwrap();
    prints(&node, &["push", "mails", "--bytes", "--file", path]);
    let (code, _, said) = run_with(&node, &["push", "mails", "--lines"], b"1\n\n[2]\r\n");
    assert_eq!((code, said.as_str()), (0, ""));
    let written: Vec<_> = node.requests().into_iter().map(|it| it.written).collect();
    assert_eq!(
        written,
        [
            "{\"messages\":[{\"body\":{\"b\":1.0, \"a\":2}},{\"body\":17}]}",
            "{\"messages\":[{\"body\":\"a\\\"b\"}]}",
            "{\"messages\":[{\"base64\":\"3q2+7w==\"}]}",
            "{\"messages\":[{\"body\":1},{\"body\":[2]}]}",
        ]
    );
    assert!(node.requests().iter().all(|it| it.id.is_some()), "asked again, each has one effect");
}

#[test]
fn options_of_a_push_become_the_request() {
    let node = FakeNode::new(pushes);
    let options = ["--header", "trace=a=b", "--delay", "5s", "--ttl", "1m", "--priority", "3"];
    let keys = ["--group", "ann", "--dedupe-key", "d", "--idempotency-key", "run-7"];
    let args = [&["push", "mails", "1"], &options[..], &keys, &["-o", "json"]].concat();
    let printed: Value = serde_json::from_str(&prints(&node, &args)).unwrap();
    let results = json!([{ "id": "8.0", "duplicate": false }]);
    assert_eq!(printed, json!({ "results": results, "durability": "quorum" }));
    let asked = &node.requests()[0];
    assert_eq!(asked.key.as_deref(), Some("run-7"));
    assert_eq!(
        asked.body["messages"],
        json!([{ "body": 1, "headers": { "trace": "a=b" }, "delay": 5_000, "ttl": 60_000, "priority": 3,
                 "group": "ann", "dedupe_key": "d" }])
    );
}

#[test]
fn what_cannot_be_pushed_is_named_and_nothing_is_pushed() {
    let node = FakeNode::new(pushes);
    let (code, _, said) = run(&node, &["push", "mails", "1", "hello"]);
    assert_eq!(code, 1);
    assert!(said.contains("body 2 is no JSON") && said.contains("--text"), "{said}");
    let (code, _, said) = run_with(&node, &["push", "mails", "--lines"], b"1\n{\n");
    assert_eq!(code, 1);
    assert!(said.contains("standard input, line 2"), "{said}");
    let wrong =
        [&["push", "mails", "1", "--priority", "10"][..], &["push", "mails", "1", "--delay", "5"]];
    for args in wrong {
        assert_eq!(run(&node, args).0, 2, "{args:?}");
    }
    assert_eq!(run(&node, &["push", "mails", "1", "2", "--dedupe-key", "k"]).0, 1);
    assert_eq!(node.asked(), 0);
}

#[test]
fn what_was_not_taken_is_said_and_fails_and_the_others_are_there() {
    let error = json!({ "code": "dedupe_key_reused", "title": "t", "status": 422, "detail": "another body",
                        "retryable": false });
    let results = json!([{ "id": "8.0", "duplicate": false }, { "error": error }]);
    let node = FakeNode::scripted([ok(&json!({ "results": results, "durability": "quorum" }))]);
    let (code, out, said) = run(&node, &["push", "mails", "1", "2", "-o", "name"]);
    assert_eq!((code, out.as_str()), (1, "8.0\n"));
    assert_eq!(said, "dsync: message 2: 422 dedupe_key_reused: another body\n");
}

#[test]
fn a_receive_prints_what_settles_each_message_and_acknowledges_when_told_to() {
    let acked = json!({ "results": [{ "receipt": "r1", "outcome": "acked" }], "index": 1 });
    let messages = ok(&json!({ "messages": [delivery(1)], "index": 1 }));
    let node = FakeNode::scripted([messages.clone(), messages.clone(), messages, ok(&acked)]);
    let lines = "RECEIPT  DELIVERY  YOURS FOR  AGE    BODY\n\
                 r1       2         30.0s      120ms  {\"to\":\"ann\"}\n";
    assert_eq!(prints(&node, &["receive", "mails", "--max", "5", "--visibility", "1m"]), lines);
    assert_eq!(prints(&node, &["receive", "mails", "--dead", "-o", "name"]), "r1\n");
    let printed: Value =
        serde_json::from_str(&prints(&node, &["receive", "mails", "--ack", "-o", "json"])).unwrap();
    assert_eq!(printed, json!({ "messages": [delivery(1)] }));
    let asked = node.requests();
    assert_eq!(asked[0].body, json!({ "max": 5, "visibility": 60_000, "sub_queue": "main" }));
    assert_eq!(asked[1].body["sub_queue"], "dead");
    assert_eq!(asked[3].body, json!({ "items": [{ "receipt": "r1", "action": "ack" }] }));
}

#[test]
fn deliveries_are_settled_by_their_receipts() {
    let results =
        json!({ "results": [{ "receipt": "a", "outcome": "nacked", "delay_ms": 5_000 }] });
    let node = FakeNode::scripted([ok(&results)]);
    let lines = "RECEIPT  OUTCOME  FOR\na        nacked   5.0s\n";
    assert_eq!(
        prints(&node, &["nack", "mails", "a", "--delay", "5s", "--reason", "no route"]),
        lines
    );
    prints(&node, &["ack", "mails", "a"]);
    prints(&node, &["extend", "mails", "a", "--visibility", "1m"]);
    prints(&node, &["reject", "mails", "a", "--reason", "never"]);
    let items: Vec<_> = node.requests().into_iter().map(|it| it.body["items"][0].clone()).collect();
    assert_eq!(
        items,
        [
            json!({ "receipt": "a", "action": "nack", "delay": 5_000, "reason": "no route" }),
            json!({ "receipt": "a", "action": "ack" }),
            json!({ "receipt": "a", "action": "extend", "visibility": 60_000 }),
            json!({ "receipt": "a", "action": "reject", "reason": "never" }),
        ]
    );
}

#[test]
fn a_stale_receipt_is_said_and_fails() {
    let error = json!({ "code": "stale_receipt", "title": "t", "status": 409, "detail": "it is over",
                        "retryable": false });
    let body = json!({ "code": "stale_receipt", "detail": "it is over", "retryable": false,
                       "results": [{ "receipt": "a", "error": error }] });
    let node = FakeNode::scripted([Say::Answer(409, body.to_string())]);
    let (code, out, said) = run(&node, &["ack", "mails", "a", "-o", "name"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert_eq!(said, "dsync: a: 409 stale_receipt: it is over\n");
}

#[test]
fn topics_and_messages_are_shown() {
    let node = FakeNode::new(|request| match request.line.split_once(' ').map_or("", |it| it.1) {
        "/v1/queues?prefix=ma&limit=1000" => ok(&json!({ "topics": [topic()], "continue": null })),
        "/v1/queues/mails" => ok(&topic()),
        "/v1/queues/mails/messages/8.0" => {
            ok(&json!({ "message": stored("8.0", "x"), "index": 1 }))
        }
        "/v1/queues/mails/messages?sub_queue=main&state=delayed&limit=3" => {
            ok(&json!({ "messages": [stored("8.0", "x")], "continue": "p2" }))
        }
        "/v1/queues/mails/messages?sub_queue=main&state=delayed&limit=2&continue=p2" => {
            ok(&json!({ "messages": [stored("8.1", &"y".repeat(80))], "continue": null }))
        }
        "/v1/queues/mails/peek?sub_queue=dead&limit=10" => {
            let mut dead = stored("8.2", "x");
            let failed =
                json!({ "cause": "nacked", "reason": "no route", "delivery": 20, "at_ms": 1 });
            dead["sub_queue"] = json!("dead");
            dead["state"] = json!("ready");
            dead["remaining_ms"] = json!(null);
            dead["failures"] = json!({ "first": failed, "last": failed });
            dead["death"] = json!({ "cause": "too_many_deliveries", "deliveries": 20, "at_ms": 1 });
            ok(&json!({ "messages": [dead], "index": 1 }))
        }
        _ => problem(404, "no_such_topic", false),
    });
    assert_eq!(
        prints(&node, &["list", "--prefix", "ma"]),
        "TOPIC  READY  DELAYED  IN FLIGHT  DEAD  OLDEST  PAUSED\n\
         mails  1      2        3          5     1m01s   yes\n"
    );
    let stats = prints(&node, &["stats", "mails"]);
    assert!(
        stats.starts_with(
            "PART  READY  DELAYED  IN FLIGHT\nmain  1      2        3\ndead  4      0        1\n\n\
         TOTAL\npushed      6\n"
        ),
        "{stats}"
    );
    let json: Value =
        serde_json::from_str(&prints(&node, &["stats", "mails", "-o", "json"])).unwrap();
    assert_eq!(json, topic());
    let headings = "ID   STATE    LEFT  DELIVERIES  AGE    WENT WRONG  BODY\n";
    assert_eq!(
        prints(&node, &["list", "mails", "--state", "delayed", "--limit", "3"]),
        format!(
            "{headings}8.0  delayed  5.0s  0           1m01s  -           \"x\"\n\
             8.1  delayed  5.0s  0           1m01s  -           \"{}...\n",
            "y".repeat(59)
        )
    );
    assert_eq!(
        prints(&node, &["get", "mails", "8.0"]),
        format!("{headings}8.0  delayed  5.0s  0           1m01s  -           \"x\"\n")
    );
    let dead = prints(&node, &["peek", "mails", "--dead"]);
    assert!(
        dead.contains("dead, ready") && dead.contains("delivered 20 times: no route"),
        "{dead}"
    );
    let (code, _, said) = run(&node, &["stats", "nobody"]);
    assert_eq!(code, 1);
    assert!(said.contains("no_such_topic"), "{said}");
}

#[test]
fn settings_are_shown_and_those_that_are_named_are_changed() {
    let reply = json!({ "topic": "mails", "settings": settings() });
    let node = FakeNode::scripted([ok(&reply)]);
    let shown = "SETTING\n\
                 visibility       30.0s\n\
                 deliveries-max   20\n\
                 nack-backoff     exponential,1.0s,1m00s,10%\n\
                 timeout-backoff  none\n\
                 paused           true\n\
                 messages-max     -\n\
                 ttl              -\n\
                 expired          drop\n\
                 dedupe-window    5m00s\n";
    assert_eq!(prints(&node, &["settings", "mails"]), shown);
    let change = ["--paused", "false", "--nack-backoff", "linear,1s,5s,3%", "--expired", "dead"];
    prints(&node, &[&["settings", "mails"], &change[..]].concat());
    let asked = node.requests();
    assert_eq!(asked[0].line, "GET /v1/queues/mails/settings");
    assert_eq!(asked[1].line, "PATCH /v1/queues/mails/settings");
    assert_eq!(
        asked[1].body,
        json!({ "paused": false, "expired": "dead",
                "nack_backoff": { "growth": "linear", "base": 1_000, "max": 5_000, "jitter_percent": 3 } })
    );
}

#[test]
fn a_purge_needs_the_word_and_a_redrive_none() {
    let node = FakeNode::scripted([ok(&json!({ "messages": 1, "more": false, "full": false }))]);
    assert_eq!(run(&node, &["purge", "mails"]).0, 2);
    assert_eq!(node.asked(), 0);
    assert_eq!(prints(&node, &["purge", "mails", "--dead", "--force"]), "1 message taken out\n");
    assert_eq!(prints(&node, &["redrive", "mails"]), "1 message moved back\n");
    prints(&node, &["redrive", "mails", "8.0"]);
    let bodies: Vec<_> = node.requests().into_iter().map(|it| it.body).collect();
    assert_eq!(bodies, [json!({ "sub_queue": "dead" }), json!({}), json!({ "messages": ["8.0"] })]);
}

#[test]
fn a_message_and_an_empty_topic_are_deleted() {
    let removed = json!({ "id": "8.0", "removed": true });
    let deleted = json!({ "topic": "mails", "deleted": true });
    let node = FakeNode::scripted([ok(&removed), ok(&deleted), problem(409, "not_empty", false)]);
    assert_eq!(prints(&node, &["delete", "mails", "8.0"]), "8.0 is gone\n");
    assert_eq!(prints(&node, &["delete", "mails"]), "mails is gone\n");
    assert_eq!(run(&node, &["delete", "mails"]).0, 1);
}

#[test]
fn a_tail_shows_each_message_once_and_not_what_was_there_before() {
    let mut looks = 0;
    let node = FakeNode::new(move |_| {
        looks += 1;
        let ids = [&["1.0"][..], &["1.0", "2.0"], &["2.0", "3.0"]][looks.min(3) - 1];
        let messages: Vec<_> = ids.iter().map(|id| stored(id, "x")).collect();
        ok(&json!({ "messages": messages, "continue": null }))
    });
    let mut process = dsync(&node, &["tail", "mails", "-o", "name"]).spawn().unwrap();
    let out = Output::of(process.stdout.take().unwrap());
    assert_eq!((out.line(), out.line()), ("2.0".to_owned(), "3.0".to_owned()));
    process.kill().unwrap();
    process.wait().unwrap();
}

// ---- work ----

/// A topic that delivers so many messages, each once, and takes whatever is said of them.
fn topic_of(count: usize) -> FakeNode {
    let mut next = 0;
    FakeNode::new(move |request| match request.line.ends_with("/receive") {
        true if next < count => {
            next += 1;
            ok(&json!({ "messages": [delivery(next)], "index": 1 }))
        }
        true if request.body["wait"].as_u64() > Some(0) => Say::Nothing,
        true => ok(&json!({ "messages": [], "index": 1 })),
        false => settled(request),
    })
}

fn settled(request: &Request) -> Say {
    let item = &request.body["items"][0];
    let (outcome, left) = match item["action"].as_str() {
        Some("ack") => ("acked", json!(null)),
        Some("extend") => ("extended", item["visibility"].clone()),
        _ => ("nacked", json!(null)),
    };
    ok(
        &json!({ "results": [{ "receipt": item["receipt"], "outcome": outcome, "remaining_ms": left }] }),
    )
}

/// What was said of deliveries, without their extensions.
fn ends(node: &FakeNode) -> Vec<Value> {
    let settles = node.requests().into_iter().filter(|it| it.line.ends_with("/settle"));
    let items = settles.map(|it| it.body["items"][0].clone());
    items.filter(|item| item["action"] != "extend").collect()
}

/// A running `dsync queue work` whose commands say a line when they are ready.
struct Working {
    process: Child,
    out: Output,
}

impl Working {
    fn new(node: &FakeNode, args: &[&str], script: &str) -> Self {
        let args = [&["work", "mails"], args, &["--", "sh", "-c", script]].concat();
        let mut process = dsync(node, &args).stderr(Stdio::inherit()).spawn().unwrap();
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

#[test]
fn a_command_finds_its_message_on_its_input_and_in_its_environment() {
    let node = topic_of(1);
    let script = "cat; echo; echo $DSYNC_TOPIC $DSYNC_MESSAGE_ID $DSYNC_RECEIPT $DSYNC_DELIVERIES; \
                  echo $DSYNC_HEADERS $DSYNC_HEADER_CONTENT_TYPE";
    let args = ["work", "mails", "--until-empty", "--", "sh", "-c", script];
    let (code, out, said) = run(&node, &args);
    assert_eq!((code, said.as_str()), (0, ""));
    assert_eq!(out, "{\"to\":\"ann\"}\nmails 1.0 r1 2\n{\"content-type\":\"a b\"} a b\n");
    assert_eq!(ends(&node), [json!({ "receipt": "r1", "action": "ack" })]);
}

#[test]
fn an_exit_code_and_a_signal_are_the_reason_of_a_nack() {
    let node = topic_of(2);
    let script = "case $DSYNC_MESSAGE_ID in 1.0) exit 3;; *) kill -9 $$;; esac";
    let args = ["work", "mails", "--until-empty", "--", "sh", "-c", script];
    let (code, _, said) = run(&node, &args);
    assert_eq!(
        (code, said.as_str()),
        (0, "dsync: message 1.0: exit code 3\ndsync: message 2.0: signal 9\n")
    );
    assert_eq!(
        ends(&node),
        [
            json!({ "receipt": "r1", "action": "nack", "reason": "exit code 3" }),
            json!({ "receipt": "r2", "action": "nack", "reason": "signal 9" }),
        ]
    );
}

#[test]
fn a_command_that_cannot_run_takes_no_message() {
    let node = topic_of(1);
    for (command, expected) in
        [("/no/such/command", 127), ("no-such-command-anywhere", 127), ("/", 126)]
    {
        let (code, _, said) = run(&node, &["work", "mails", "--", command]);
        assert_eq!(code, expected, "{command}: {said}");
    }
    assert_eq!(run(&node, &["work", "mails"]).0, 2);
    assert_eq!(run(&node, &["work", "mails", "--visibility", "1ms", "--", "true"]).0, 2);
    assert_eq!(node.asked(), 0);
}

#[test]
fn a_command_that_does_not_read_a_long_body_is_no_trouble() {
    let mut turn = 0;
    let node = FakeNode::new(move |request| match request.line.ends_with("/receive") {
        true => {
            turn += 1;
            let mut it = delivery(1);
            it["body"] = json!("x".repeat(200_000));
            let messages = if turn == 1 { vec![it] } else { vec![] };
            ok(&json!({ "messages": messages, "index": 1 }))
        }
        false => settled(request),
    });
    // Something that the command leaves behind holds the pipe.
    let script = "sleep 600 <&0 >/dev/null 2>&1 & echo $!";
    let args = ["work", "mails", "--until-empty", "--", "sh", "-c", script];
    let (code, out, _) = run(&node, &args);
    assert_eq!(code, 0);
    assert_eq!(ends(&node)[0]["action"], "ack");
    kill_process(Pid::from_raw(out.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
}

#[test]
fn told_to_end_it_passes_the_signal_on_and_gives_back_at_once_what_is_not_done() {
    for (signal, name) in [(Signal::TERM, "TERM"), (Signal::INT, "INT"), (Signal::HUP, "HUP")] {
        let node = topic_of(1);
        let script =
            format!("trap 'echo got; exit 9' {name}; echo ready; while :; do sleep 0.01; done");
        let mut working = Working::new(&node, &["--jobs", "2"], &script);
        assert_eq!(working.out.line(), "ready");
        node.await_requests("/receive", 2);
        working.signal(signal);
        assert_eq!((working.out.rest().as_str(), working.code()), ("got\n", 0), "{name}");
        let ends = ends(&node);
        assert_eq!(ends.len(), 1, "{ends:?}");
        let end = (&ends[0]["receipt"], &ends[0]["action"], &ends[0]["delay"]);
        assert_eq!(end, (&json!("r1"), &json!("nack"), &json!(0)));
        node.await_hang_ups(1);
    }
}

#[test]
fn what_a_command_does_although_it_is_told_to_end_is_acknowledged() {
    let node = topic_of(1);
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut working = Working::new(&node, &[], script);
    assert_eq!(working.out.line(), "ready");
    working.signal(Signal::TERM);
    assert_eq!(working.code(), 0);
    assert_eq!(ends(&node), [json!({ "receipt": "r1", "action": "ack" })]);
}

/// Neither it nor its child ends when it is told to.
const STUBBORN: &str = "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo ready; while :; do sleep 1; done";

#[test]
fn a_command_that_does_not_end_is_killed_with_its_group_after_the_grace_or_at_the_second_signal() {
    for again in [false, true] {
        let node = topic_of(1);
        let grace = if again { "1h" } else { "100ms" };
        let mut working = Working::new(&node, &["--grace", grace], STUBBORN);
        assert_eq!(working.out.line(), "ready");
        working.signal(Signal::TERM);
        if again {
            // The first one has been heard when the worker hangs up; there is nothing else to see of it.
            working.signal(Signal::INT);
        }
        // The pipe ends: all of the group is dead.
        assert_eq!((working.out.rest().as_str(), working.code()), ("", 0));
        assert_eq!(
            (&ends(&node)[0]["action"], &ends(&node)[0]["delay"]),
            (&json!("nack"), &json!(0))
        );
    }
}

#[test]
fn a_command_whose_message_is_lost_is_ended_and_nothing_is_settled() {
    let mut first = true;
    let node = FakeNode::new(move |request| match request.line.ends_with("/receive") {
        true if std::mem::take(&mut first) => {
            let mut it = delivery(1);
            it["remaining_ms"] = json!(6_000);
            ok(&json!({ "messages": [it], "index": 1 }))
        }
        true => ok(&json!({ "messages": [], "index": 1 })),
        false => problem(409, "stale_receipt", false),
    });
    let script = "trap 'echo got; exit 0' TERM; echo ready; while :; do sleep 0.01; done";
    let mut working = Working::new(&node, &["--until-empty"], script);
    assert_eq!(working.out.line(), "ready");
    assert_eq!((working.out.rest().as_str(), working.code()), ("got\n", 0));
    assert!(ends(&node).is_empty());
}

#[cfg(target_os = "linux")]
#[test]
fn a_command_dies_with_its_worker() {
    let node = topic_of(1);
    let mut working = Working::new(&node, &[], "echo $$; trap '' TERM; while :; do sleep 1; done");
    let command = Pid::from_raw(working.out.line().parse().unwrap()).unwrap();
    working.process.kill().unwrap();
    working.process.wait().unwrap();
    let gone = || rustix::process::test_kill_process(command).is_err().then_some(());
    within(gone, "the command lives on");
    assert!(ends(&node).is_empty());
}
