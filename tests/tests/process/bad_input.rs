//! Bad input of every field, parameter and header of every `/v1` route, over real sockets: a problem
//! that names it, and nothing has changed.
//!
//! Which routes there are, and what they take, is read from the description that the node serves. Every
//! request is good but for one thing, and is about locks that are held and waited for, and messages
//! that are ready, in flight and dead: had the bad part been overlooked, something would have changed.
//! What is looked at, on every node, is all locks with their holders and waiters, all messages and
//! counts of the topic, and the number of the newest event: a refusal that had reached the lock machine
//! would have made one.

use dsync_tests::process::description::{Field, Route};
use serde_json::{Value, json};

use crate::bad_bench::{Bench, Request};
use crate::{bad_values, turns};

/// These words may be a route's or a lock's: `GET` shows the lock.
const WORDS: [&str; 4] = ["acquire", "release", "renew", "renew-all"];
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"];

fn body_bytes_max(path: &str) -> usize {
    if path.starts_with("/v1/queues/") { 8 << 20 } else { 1 << 20 }
}

#[test]
fn a_bad_value_of_any_field_is_refused_by_its_name() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    for (route, path, body) in bench.posts() {
        for field in &route.fields {
            each_bad_value(&mut bench, &path, &body, field);
        }
    }
    bench.nothing_has_changed("a bad value");
}

fn each_bad_value(bench: &mut Bench, path: &str, good: &Value, field: &Field) {
    if good.get(&field.name).is_none() {
        // It stands in the other good request of the route.
        return;
    }
    for bad in bad_values::of_field(path, &field.name) {
        let mut body = good.clone();
        body[&field.name] = bad;
        bench.bad_field(path, &body, &field.name);
    }
    if field.needed {
        let mut body = good.clone();
        body[&field.name] = Value::Null;
        bench.bad_field(path, &body, &field.name);
        body.as_object_mut().unwrap().remove(&field.name);
        bench.bad_field(path, &body, &field.name);
    }
    for inner in &field.within {
        for bad in bad_values::of_field(path, &inner.name) {
            let mut body = good.clone();
            let first = body[&field.name][0].clone();
            let other = bad_values::another_item(&field.name, &first);
            body[&field.name] = json!([other, first]);
            body[&field.name][1][&inner.name] = bad;
            bench.bad_field(path, &body, &format!("{}[1].{}", field.name, inner.name));
        }
    }
}

#[test]
fn a_field_or_parameter_that_is_not_known_or_stands_there_twice_is_refused_by_its_name() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    for (route, path, body) in bench.posts() {
        let all = bench.good(&route.path);
        for field in &route.fields {
            let there = all.iter().any(|(_, body)| body.get(&field.name).is_some());
            assert!(there, "no request of {path} has the field {}", field.name);
        }
        for unknown in ["wiat", "Owner", "hold_id", "force"] {
            let mut body = body.clone();
            body[unknown] = json!("30s");
            bench.bad_field(&path, &body, unknown);
        }
        let text = body.to_string();
        for field in body.as_object().unwrap().keys() {
            // Whichever of the two counted, somebody would be surprised.
            let twice = format!("{},\"{field}\":{}}}", &text[..text.len() - 1], body[field]);
            bench.bad_text(&path, &twice, field);
        }
        let unknown = format!("{path}?wait=30s");
        bench.refused(
            &Request::change(&unknown, text.as_bytes()),
            400,
            "invalid_field",
            Some("wait"),
        );
    }
    bench.nothing_has_changed("fields that are not known or stand there twice");
}

#[test]
fn fields_that_contradict_each_other_or_their_place_are_refused_by_name() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    let held = bench.held.clone();
    let locks = |locks: Value| json!({ "owner": "ann", "locks": locks });
    let many: Value = (0..129).map(|at| json!({ "name": format!("free-{at}") })).collect();
    for (path, body, field) in [
        ("/v1/locks/free/acquire", json!({ "owner": "a", "permits": 1 }), "permits"),
        (
            "/v1/locks/free/acquire",
            json!({ "owner": "a", "mode": "shared", "permits_max": 1 }),
            "permits_max",
        ),
        ("/v1/locks/free/acquire", json!({ "owner": "a", "mode": "permits" }), "permits_max"),
        (
            "/v1/locks/free/acquire",
            json!({ "owner": "a", "mode": "permits", "permits": 3, "permits_max": 2 }),
            "permits",
        ),
        ("/v1/locks/acquire", locks(json!([{ "name": "x" }, {}])), "locks[1].name"),
        ("/v1/locks/acquire", locks(json!([{ "name": "x" }, { "name": "x" }])), "locks[1].name"),
        ("/v1/locks/acquire", locks(json!([{ "name": "x" }, "y"])), "locks[1]"),
        ("/v1/locks/acquire", locks(json!([{ "name": "x", "moed": "shared" }])), "locks[0].moed"),
        (
            "/v1/locks/acquire",
            locks(json!([{ "name": "x", "mode": "permits" }])),
            "locks[0].permits_max",
        ),
        ("/v1/locks/acquire", locks(many), "locks"),
        ("/v1/locks/renew-all", json!({ "owner": "ann", "holds": [held, "x"] }), "holds[1]"),
        ("/v1/locks/renew-all", json!({ "owner": "ann", "holds": [held, null] }), "holds[1]"),
        ("/v1/locks/held/check", json!({ "token": 1, "hold": held }), "hold"),
        ("/v1/locks/held/check", json!({}), "token"),
    ] {
        bench.bad_field(path, &body, field);
    }
    let twice = r#"{"owner":"ann","locks":[{"name":"x"},{"name":"y","name":"z"}]}"#;
    bench.bad_text("/v1/locks/acquire", twice, "locks[1].name");
    bench.nothing_has_changed("fields that do not go together");
}

#[test]
fn a_body_that_is_no_json_object_or_too_long_or_of_another_type_is_refused() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    for (_, path, body) in bench.posts() {
        for bad in bad_values::NO_OBJECTS {
            bench.refused(&Request::change(&path, bad), 400, "malformed_body", Some("body"));
        }
        let deep = format!("{{\"owner\":{}", "[".repeat(100_000));
        let deep = Request::change(&path, deep.as_bytes());
        bench.refused(&deep, 400, "malformed_body", Some("body"));

        let body = body.to_string();
        for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "text/json"] {
            let mut request = Request::change(&path, body.as_bytes());
            request.headers = vec![("content-type", media_type)];
            bench.refused(&request, 415, "unsupported_media_type", None);
        }
        let mut untyped = Request::change(&path, body.as_bytes());
        untyped.headers.clear();
        bench.refused(&untyped, 415, "unsupported_media_type", None);

        // Good, but for its length.
        let long = format!("{}{body}", " ".repeat(body_bytes_max(&path) + 1 - body.len()));
        let long = Request::change(&path, long.as_bytes());
        bench.refused(&long, 413, "payload_too_large", None);
    }
    for (_, path) in bench.puts() {
        let long = vec![b'1'; (128 << 10) + 1];
        bench.refused(&Request::put(&path, &long), 413, "payload_too_large", None);
    }
    bench.nothing_has_changed("a bad body");
}

#[test]
fn a_name_in_the_path_that_is_none_is_refused_and_a_slash_in_one_is_written_2f() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    for route in bench.routes.clone() {
        let named = ["name", "topic", "key"]
            .into_iter()
            .find(|it| route.path.contains(&format!("{{{it}}}")));
        let Some(named) = named else { continue };
        let body = match route.method.as_str() {
            "POST" | "PATCH" => bench.good(&route.path)[0].1.to_string(),
            _ => String::new(),
        };
        let place = |name: &str| route.path.replace(&format!("{{{named}}}"), name);
        for bad in bad_values::in_path() {
            let path = bench.place(&place(&bad));
            let mut request = Request::change(&path, body.as_bytes());
            request.method = &route.method;
            bench.refused(&request, 400, "invalid_field", Some(named));
        }
        // Another one than that which is in use.
        let path = bench.place(&place("he/ld"));
        let mut request = Request::change(&path, body.as_bytes());
        request.method = &route.method;
        bench.refused(&request, 404, "not_found", None);
    }
    for bad in ["8", "8.", "08.0", "8.0.0", "-8.0", "x"] {
        for method in ["GET", "DELETE"] {
            let path = format!("/v1/queues/mails/messages/{bad}");
            let mut request = Request::get(&path);
            request.method = method;
            bench.refused(&request, 400, "invalid_field", Some("id"));
        }
    }
    let seen = bench.send("GET", "/v1/locks/a%2Fb%20%C3%BC", &[], b"");
    assert_eq!((seen.status, &seen.json()["name"]), (200, &json!("a/b \u{fc}")));
    bench.nothing_has_changed("a bad name in the path");
}

#[test]
fn a_path_without_a_route_is_404_and_another_method_is_405_with_those_that_there_are() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    for path in [
        "/v1",
        "/v1/",
        "/v1/lock/held",
        "/v1/locks/",
        "/v1/locks/held/steal",
        "/v1/locks/held/release/",
        "/v1/locks/held/release/now",
        "/v1/graph",
        "/v2/locks",
        "/V1/locks",
        "/v1/locks/held/Release",
        "/v1/../lock/acquire",
        "/v1/events/held",
        "/v1/cluster/",
        "/v1/queues/",
        "/v1/queues/mails/pop",
        "/v1/queues/mails/messages/",
        "/v1/queues/mails/messages/8.0/body",
        "/v1/cache/",
        "/v1/cache/cached/body",
    ] {
        for method in METHODS.into_iter().filter(|method| *method != "HEAD") {
            let mut request = Request::change(path, b"{}");
            request.method = method;
            bench.refused(&request, 404, "not_found", None);
        }
    }
    let mut paths: Vec<String> = bench.routes.iter().map(|route| route.path.clone()).collect();
    paths.dedup();
    for path in &paths {
        let routes = bench.routes.clone();
        let there = methods(&routes, path);
        let (path, body) = match there.contains(&"POST") {
            true => bench.good(path)[0].clone(),
            false => (bench.place(path), Value::Null),
        };
        for method in METHODS.into_iter().filter(|method| !there.contains(method)) {
            let response = bench.send(method, &path, &[], body.to_string().as_bytes());
            assert_eq!(response.status, 405, "{method} {path}: {}", response.text());
            let mut allow: Vec<_> = response.header("allow").unwrap().split(',').collect();
            allow.iter_mut().for_each(|method| *method = method.trim());
            allow.sort_unstable();
            assert_eq!(allow, there, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(response.json()["code"], "method_not_allowed");
            }
        }
    }
    bench.nothing_has_changed("no such route");
}

/// Sorted.
fn methods<'a>(routes: &'a [Route], path: &str) -> Vec<&'a str> {
    let of = routes.iter().filter(|route| route.path == path);
    let mut methods: Vec<&str> = of.map(|route| route.method.as_str()).collect();
    let is_name = path.strip_prefix("/v1/locks/").is_some_and(|word| WORDS.contains(&word));
    if is_name {
        methods.push("GET");
    }
    if methods.contains(&"GET") {
        methods.push("HEAD");
    }
    methods.sort_unstable();
    methods
}

#[test]
fn a_bad_parameter_or_header_is_refused_by_its_name() {
    let _turn = turns::together();
    let mut bench = Bench::new();
    let refuse = |bench: &mut Bench, path: &str, field: &str| {
        bench.refused(&Request::get(path), 400, "invalid_field", Some(field));
    };
    for route in bench.routes.clone().iter().filter(|route| route.method == "GET") {
        let path = bench.place(&route.path);
        for parameter in &route.query {
            for bad in bad_values::of_parameter(&route.path, parameter) {
                refuse(&mut bench, &format!("{path}?{parameter}={bad}"), parameter);
            }
            refuse(&mut bench, &format!("{path}?{parameter}=1&{parameter}=1"), parameter);
        }
        refuse(&mut bench, &format!("{path}?wiat=1"), "wiat");
        for header in &route.headers {
            bad_headers(&mut bench, &Request::get(&path), header);
        }
    }
    for path in ["/v1/queues/mails", "/v1/queues/mails/messages/8.0", "/v1/cache/cached"] {
        let path = format!("{path}?force=true");
        let mut request = Request::get(&path);
        request.method = "DELETE";
        bench.refused(&request, 400, "invalid_field", Some("force"));
    }
    refuse(&mut bench, "/v1/events?name=a&prefix=b", "prefix");
    refuse(&mut bench, "/v1/audit?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to");
    let other = Request::get("/v1/events").with("accept", "text/html");
    bench.refused(&other, 406, "not_acceptable", None);

    for (route, path, body) in bench.posts() {
        for header in &route.headers {
            bad_headers(&mut bench, &Request::change(&path, body.to_string().as_bytes()), header);
        }
        if route.headers.contains("Dsync-Request") {
            let body = body.to_string();
            let both = Request::change(&path, body.as_bytes());
            let both = both.with("idempotency-key", "k").with("dsync-request", "ab-1-1");
            bench.refused(&both, 400, "invalid_field", Some("dsync-request"));
        }
    }
    for (route, path) in bench.puts() {
        for parameter in &route.query {
            for bad in bad_values::of_parameter(&route.path, parameter) {
                let path = format!("{path}?{parameter}={bad}");
                bench.refused(&Request::put(&path, b"2"), 400, "invalid_field", Some(parameter));
            }
        }
        let unknown = format!("{path}?wiat=1");
        bench.refused(&Request::put(&unknown, b"2"), 400, "invalid_field", Some("wiat"));
        for header in &route.headers {
            bad_headers(&mut bench, &Request::put(&path, b"2"), header);
        }
        for header in ["idempotency-key", "dsync-request"] {
            let request = Request::put(&path, b"2").with(header, "ab-1-1");
            bench.refused(&request, 400, "invalid_field", Some(header));
        }
    }
    bench.nothing_has_changed("a bad parameter or header");
}

fn bad_headers(bench: &mut Bench, good: &Request<'_>, header: &str) {
    let header = &header.to_lowercase();
    let values = bad_values::of_header(header);
    for bad in values.iter().filter(|bad| !(bad.is_empty() && header == "last-event-id")) {
        bench.refused(&good.clone().with(header, bad), 400, "invalid_field", Some(header));
    }
    let twice = good.clone().with(header, "1").with(header, "1");
    bench.refused(&twice, 400, "invalid_field", Some(header));
}
