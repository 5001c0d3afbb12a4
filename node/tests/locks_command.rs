//! `dsync locks` and `dsync completion` as processes, against nodes that say what they are told to say.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../client/testing/fake_node.rs"]
mod fake_node;

use std::process::Command;

use fake_node::{FakeNode, Request, Say, ok, problem};
use serde_json::{Value, json};

fn lock() -> Value {
    json!({
        "name": "a/b", "permits_max": null, "permits_free": null,
        "holders": [{
            "owner": "one", "mode": "exclusive", "permits": 1, "hold": "812-0", "token": 41,
            "claim": false, "since_ms": 5, "held_ms": 61_000, "remaining_ms": 12_300, "revoked": null,
        }],
        "holders_count": 1,
        "waiters": [{
            "owner": "two", "mode": "shared", "permits": 1, "upgrade": false, "since_ms": 6,
            "waited_ms": 900, "attached": true, "place_remaining_ms": null,
        }],
        "waiters_count": 1, "truncated": false,
    })
}

fn node() -> FakeNode {
    FakeNode::new(|request: &Request| match request.line.split_once(' ').map_or("", |it| it.1) {
        "/v1/locks/a%2Fb" => ok(&lock()),
        "/v1/locks/free" => ok(&json!({ "name": "free", "holders": [], "waiters": [] })),
        "/v1/locks?prefix=a&limit=1000" => ok(&json!({ "locks": [lock()], "continue": "6a" })),
        "/v1/locks?prefix=a&limit=1000&continue=6a" => {
            let mut second = lock();
            second["name"] = json!("az");
            ok(&json!({ "locks": [second], "continue": null }))
        }
        "/v1/locks/a%2Fb/force" => ok(&json!({ "count": 1, "holds": ["812-0"], "index": 9 })),
        "/v1/graph/locks" => {
            let edge =
                json!({ "owner": "two", "waits_for": "a/b", "blocker": "one", "holds": true });
            ok(&json!({ "edges": [edge], "truncated": false }))
        }
        _ => problem(409, "not_held", false),
    })
}

fn dsync(node: &FakeNode, args: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsync"));
    let output = command.args(args).env("DSYNC_SERVERS", &node.address).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// What it prints when all is well.
fn prints(args: &[&str]) -> String {
    let (code, out, said) = dsync(&node(), args);
    assert_eq!((code, said.as_str()), (0, ""), "{args:?}");
    out
}

#[test]
fn a_list_has_every_page_and_one_line_for_each_lock() {
    let lines = "NAME  MODE       HELD BY  TOKEN  LEASE LEFT  WAITING\n\
                 a/b   exclusive  one      41     12.3s       1\n\
                 az    exclusive  one      41     12.3s       1\n";
    assert_eq!(prints(&["locks", "list", "--prefix", "a"]), lines);
    assert_eq!(prints(&["locks", "list", "--prefix", "a", "-o", "name"]), "a/b\naz\n");
    let json: Value =
        serde_json::from_str(&prints(&["locks", "list", "--prefix", "a", "-o", "json"])).unwrap();
    assert_eq!(json["locks"][1]["name"], "az");
}

#[test]
fn one_lock_shows_who_holds_it_and_who_waits_and_for_how_long() {
    let lines = "STATE  OWNER  MODE       FOR    LEASE LEFT  TOKEN  HOLD\n\
                 holds  one    exclusive  1m01s  12.3s       41     812-0\n\
                 waits  two    shared     900ms  -           -      -\n";
    assert_eq!(prints(&["locks", "get", "a/b"]), lines);
    assert_eq!(prints(&["locks", "get", "free"]), "free is free\n");
    let json: Value =
        serde_json::from_str(&prints(&["locks", "get", "a/b", "-o", "json"])).unwrap();
    assert_eq!(json, lock(), "JSON is the answer as it stands");
    assert!(prints(&["locks", "get", "a/b", "-o", "yaml"]).contains("owner: one"));
}

#[test]
fn a_forced_release_needs_the_word_and_a_reason() {
    for wrong in [&["a/b"][..], &["a/b", "--force"], &["a/b", "--reason", "stuck"]] {
        let node = node();
        assert_eq!(dsync(&node, &[&["locks", "release"], wrong].concat()).0, 2, "{wrong:?}");
        assert_eq!(node.asked(), 0);
    }
    let node = node();
    let args =
        ["locks", "release", "a/b", "--force", "--reason", "stuck", "--hold", "812-0", "--now"];
    assert_eq!(dsync(&node, &args).1, "hold 812-0 ended\n");
    let asked = &node.requests()[0];
    assert_eq!(asked.body, json!({ "reason": "stuck", "hold": "812-0", "now": true }));
    assert!(asked.id.is_some(), "asked again, it has one effect");
}

#[test]
fn what_is_refused_is_said_and_fails() {
    let args = ["locks", "release", "free", "--force", "--reason", "stuck"];
    let (code, out, said) = dsync(&node(), &args);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(said.contains("not_held"), "{said}");
}

#[test]
fn the_graph_says_why_everybody_waits() {
    let lines = "OWNER  WAITS FOR  BECAUSE OF  WHO\ntwo    a/b        one         holds it\n";
    assert_eq!(prints(&["locks", "graph"]), lines);
    assert_eq!(prints(&["locks", "graph", "-o", "name"]), "two\n");
}

#[test]
fn watching_goes_on_after_the_last_number_and_ends_when_it_is_refused() {
    let events = "{\"number\":7,\"what\":\"granted\"}\n{\"bookmark\":9}\n{\"number\":12,\"wh";
    let refused = problem(410, "compacted", false);
    let node = FakeNode::scripted([Say::Answer(200, events.to_owned()), refused]);
    let (code, out, said) = dsync(&node, &["locks", "watch", "a", "--from", "5", "-o", "json"]);
    assert_eq!((code, out.as_str()), (1, "{\"number\":7,\"what\":\"granted\"}\n"));
    assert!(said.contains("compacted"), "{said}");
    let lines: Vec<_> = node.requests().into_iter().map(|it| it.line).collect();
    assert_eq!(lines, ["GET /v1/events?prefix=a&from=5", "GET /v1/events?prefix=a&from=10"]);
}

#[test]
fn each_shell_gets_a_script_that_knows_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let script = prints(&["completion", shell]);
        assert!(script.contains("locks") && script.contains("permits"), "{shell}");
    }
}

/// `a/b` with a right-to-left override in each name that a client has chosen.
#[test]
fn nothing_that_a_client_has_named_hides_anything_in_any_form() {
    let hidden = |text: &str| json!(format!("{text}\u{202e}"));
    let node = FakeNode::new(move |request| {
        let mut lock = lock();
        lock["name"] = hidden("a/b");
        lock["holders"][0]["owner"] = hidden("one");
        lock["holders"][0]["revoked"] = hidden("stuck");
        lock["waiters"][0]["owner"] = hidden("two");
        let edge = json!({ "owner": hidden("two"), "waits_for": hidden("a/b"), "blocker": "one", "holds": true });
        match request.line.contains("/graph/") {
            true => ok(&json!({ "edges": [edge] })),
            false if request.line.contains('?') => {
                ok(&json!({ "locks": [lock], "continue": null }))
            }
            false => ok(&lock),
        }
    });
    for verb in [&["locks", "list"][..], &["locks", "get", "x"], &["locks", "graph"]] {
        for form in ["table", "name", "json", "yaml"] {
            let (code, out, said) = dsync(&node, &[verb, &["-o", form]].concat());
            assert_eq!((code, said.as_str()), (0, ""), "{verb:?} {form}");
            assert!(!out.contains('\u{202e}') && out.contains("202e"), "{verb:?} {form}: {out}");
        }
    }
    let (_, out, _) = dsync(&node, &["locks", "get", "x", "-o", "json"]);
    let document: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(document["name"], hidden("a/b"), "it means the same");
}

#[test]
fn the_status_of_nodes_without_a_connection_left_is_not_that_they_have_no_leader() {
    let node = FakeNode::scripted([problem(503, "too_many_connections", true)]);
    let (code, out, _) = dsync(&node, &["status"]);
    assert_eq!(code, 5, "{out}");
    assert!(out.contains("refuses") && out.contains("it is too_many_connections"), "{out}");
    assert!(!out.contains("No leader"), "{out}");
}
