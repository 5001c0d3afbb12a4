//! `dsync cache` as a process, against nodes that say what they are told to say.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../client/testing/fake_node.rs"]
mod fake_node;

use std::io::Write;
use std::process::{Command, Stdio};

use fake_node::{FakeNode, Say, ok, problem};
use serde_json::{Value, json};

const HEAD: &str = "content-type: text/plain\r\netag: \"812.7\"\r\ndsync-cache: hit\r\n";

/// What it ended with, wrote, and said.
fn run_with(node: &FakeNode, args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsync"));
    command.arg("cache").args(args).env("DSYNC_SERVERS", &node.address);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    // It may end without reading.
    let _ = process.stdin.take().unwrap().write_all(input);
    let ended = process.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

fn run(node: &FakeNode, args: &[&str]) -> (i32, String, String) {
    run_with(node, args, b"")
}

fn written() -> Say {
    ok(&json!({ "key": "k", "version": "812.8" }))
}

#[test]
fn a_value_is_printed_as_it_is_or_with_what_is_known_of_it() {
    let node = FakeNode::scripted([Say::WithHead(200, HEAD, "hello".to_owned())]);
    assert_eq!(run(&node, &["get", "k"]), (0, "hello".to_owned(), String::new()));
    let (code, out, _) = run(&node, &["get", "k", "-o", "json", "--consistency", "verify"]);
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["text"], &said["version"]), (0, &json!("hello"), &json!("812.7")));
    assert_eq!(run(&node, &["get", "k", "-o", "name"]).1, "812.7\n");
    assert_eq!(node.requests()[1].line, "GET /v1/cache/k?consistency=verify");
}

#[test]
fn nothing_and_a_condition_that_does_not_hold_have_a_code_of_their_own() {
    let node = FakeNode::scripted([problem(404, "no_such_key", false)]);
    let (code, out, said) = run(&node, &["get", "k"]);
    assert_eq!((code, out.as_str()), (3, ""));
    assert!(said.contains("nothing is cached under k"), "{said}");
    let body = json!({ "code": "condition_failed", "detail": "no", "version": "812.9" });
    let node = FakeNode::scripted([Say::Answer(412, body.to_string())]);
    for args in [&["set", "k", "v", "--if-absent"][..], &["delete", "k", "--if-match", "1.2"]] {
        let (code, out, said) = run(&node, args);
        assert_eq!((code, out.as_str()), (3, ""), "{args:?}");
        assert!(said.contains("812.9"), "{said}");
    }
}

#[test]
fn a_value_comes_from_the_argument_or_standard_input_with_its_type() {
    let node = FakeNode::scripted([written()]);
    let (code, out, said) = run(&node, &["set", "k", "v", "--ttl", "2s", "--if-match", "812.7"]);
    assert_eq!((code, out.as_str(), said.as_str()), (0, "KEY  VERSION\nk    812.8\n", ""));
    run_with(&node, &["set", "k", "--json"], b"{\"a\":1.0}");
    run_with(&node, &["set", "k", "--content-type", "a/b"], b"x");
    assert_eq!(run(&node, &["delete", "k", "-o", "name"]).1, "812.8\n");
    let asked = node.requests();
    assert_eq!(
        (asked[0].line.as_str(), asked[0].written.as_str()),
        ("PUT /v1/cache/k?ttl=2000", "v")
    );
    assert!(asked[0].head.contains("content-type: text/plain"), "{}", asked[0].head);
    assert!(asked[0].head.contains("if-match: \"812.7\""), "{}", asked[0].head);
    assert_eq!(asked[1].written, "{\"a\":1.0}");
    assert!(asked[1].head.contains("content-type: application/json"));
    assert!(asked[2].head.contains("content-type: a/b"));
    assert_eq!(asked[3].line, "DELETE /v1/cache/k");
}

#[test]
fn what_is_no_json_is_not_set_and_wrong_calls_end_with_2() {
    let node = FakeNode::scripted([written()]);
    let (code, _, said) = run(&node, &["set", "k", "{", "--json"]);
    assert_eq!(code, 1);
    assert!(said.contains("no JSON"), "{said}");
    for args in [
        &["set", "k", "v", "--file", "x"][..],
        &["set", "k", "v", "--if-absent", "--if-present"],
        &["set", "k", "v", "--ttl", "5"],
        &["get"],
    ] {
        assert_eq!(run(&node, args).0, 2, "{args:?}");
    }
    assert_eq!(node.asked(), 0);
}

#[test]
fn every_node_shows_its_caches() {
    let stats = json!({
        "node": "n1", "entries": 3, "entries_max": 10, "bytes": 1_024, "bytes_max": 4_096, "hits": 17,
        "misses": 4, "evictions": 0, "home": true, "homes": 3, "epoch": 812, "sessions": 2,
    });
    let node = FakeNode::scripted([ok(&stats)]);
    let (code, out, said) = run(&node, &["stats"]);
    assert_eq!((code, said.as_str()), (0, ""));
    let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1], ["n1", "3", "1024", "17", "4", "0", "yes", "3", "812"]);
}
