//! Bad input of every field: a problem that names it, and nothing reaches the machine.

use axum::body::Body;
use dsync_core::machine::Settings;
use http::Request;
use serde_json::{Value, json};

use super::super::fake_node::json_request;
use super::super::real_locks::node_with;
use super::{FakeNode, ok, problem};

/// Every changing route with a body that is taken, all its fields in it.
fn routes() -> Vec<(&'static str, Value)> {
    let lock = json!({"name": "x", "mode": "permits", "permits": 1, "permits_max": 2});
    vec![
        (
            "/v1/locks/x/acquire",
            json!({"owner": "a", "mode": "permits", "permits": 1, "permits_max": 2, "ttl": "30s",
                "wait": 0}),
        ),
        ("/v1/locks/acquire", json!({"owner": "a", "locks": [lock], "ttl": 0, "wait": "1ms"})),
        ("/v1/locks/x/release", json!({"hold": "7-0"})),
        ("/v1/locks/release", json!({"hold": "7-0"})),
        ("/v1/locks/x/renew", json!({"hold": "7-0", "ttl": 1000})),
        ("/v1/locks/renew", json!({"hold": "7-0", "ttl": "1h"})),
        ("/v1/locks/x/upgrade", json!({"hold": "7-0", "ttl": "1m", "wait": "1ms"})),
        ("/v1/locks/x/downgrade", json!({"hold": "7-0"})),
        ("/v1/locks/renew-all", json!({"owner": "a", "ttl": "5s", "holds": ["7-0", "8-1"]})),
        ("/v1/locks/x/force", json!({"reason": "r", "hold": "7-0", "now": true})),
        ("/v1/locks/x/check", json!({"token": 41})),
    ]
}

/// What no field may be.
fn wrong_values(field: &str) -> Vec<Value> {
    let long = "n".repeat(257);
    let mut wrong = vec![json!({"a": 1}), json!(-1), json!(1.5), json!("\u{7}")];
    match field {
        "owner" | "name" => wrong.extend([json!(null), json!(""), json!("a\nb"), json!(long)]),
        "reason" => wrong.extend([json!(null), json!(""), json!("r".repeat(1025))]),
        "mode" => wrong.extend([json!("write"), json!("Shared"), json!(true)]),
        "permits" | "permits_max" => wrong.extend([json!(0), json!(1_000_001), json!("1")]),
        "ttl" => wrong.extend([json!("30"), json!("1w"), json!(2_592_000_001_u64), json!([])]),
        "wait" => wrong.extend([json!("601s"), json!(600_001), json!("1.5ms"), json!(true)]),
        "hold" => wrong.extend([json!(""), json!("7"), json!("07-0"), json!(7), json!(["7-0"])]),
        "now" => wrong.extend([json!(1), json!("true")]),
        "token" => wrong.extend([json!(1_u64 << 53), json!("41")]),
        "holds" => wrong.extend([json!("7-0"), json!(vec!["7-0"; 10_001])]),
        "locks" => wrong.extend([json!(null), json!([]), json!("x")]),
        other => panic!("no bad values for {other}"),
    }
    wrong
}

async fn refused(path: &str, body: String, status: u16, code: &str, field: Option<&str>) {
    let node = FakeNode::granting();
    let reply = node.send(json_request(path, body.clone())).await;
    let refused = problem(&reply, status, code);
    assert_eq!(refused["field"], json!(field), "{path} {body}");
    assert_eq!(refused["retryable"], false, "{path} {body}");
    assert!(node.operations.lock().unwrap().is_empty(), "{path} {body}");
}

#[tokio::test]
async fn each_field_that_is_wrong_is_400_naming_it() {
    for (path, body) in routes() {
        for field in body.as_object().unwrap().keys() {
            for wrong in wrong_values(field) {
                let mut body = body.clone();
                body[field] = wrong;
                refused(path, body.to_string(), 400, "invalid_field", Some(field)).await;
            }
        }
    }
}

#[tokio::test]
async fn each_field_that_must_be_there_is_400_naming_it_when_it_is_not() {
    let needed = ["owner", "hold", "locks", "reason"];
    for (path, body) in routes() {
        let optional = path.ends_with("force");
        for field in needed.into_iter().filter(|field| body.get(field).is_some()) {
            if optional && field == "hold" {
                continue;
            }
            let mut body = body.clone();
            body.as_object_mut().unwrap().remove(field);
            refused(path, body.to_string(), 400, "invalid_field", Some(field)).await;
        }
    }
    refused("/v1/locks/x/check", "{}".into(), 400, "invalid_field", Some("token")).await;
}

#[tokio::test]
async fn a_field_that_is_not_known_or_stands_there_twice_is_400_naming_it() {
    for (path, body) in routes() {
        let mut unknown = body.clone();
        unknown["wiat"] = json!("30s");
        refused(path, unknown.to_string(), 400, "invalid_field", Some("wiat")).await;
        let body = body.to_string();
        let field = body.split('"').nth(1).unwrap().to_owned();
        let twice = body.replacen('{', &format!(r#"{{"{field}":1,"#), 1);
        refused(path, twice, 400, "invalid_field", Some(&field)).await;
    }
}

#[tokio::test]
async fn fields_of_a_list_are_named_by_their_place() {
    for (locks, field) in [
        (json!([{"name": "x"}, {}]), "locks[1].name"),
        (json!([{"name": "x"}, {"name": ""}]), "locks[1].name"),
        (json!([{"name": "x"}, {"name": "x"}]), "locks[1].name"),
        (json!([{"name": "x", "mode": "w"}]), "locks[0].mode"),
        (json!([{"name": "x", "permits": 1}]), "locks[0].permits"),
        (json!([{"name": "x", "mode": "permits"}]), "locks[0].permits_max"),
        (
            json!([{"name": "x", "mode": "permits", "permits": 3, "permits_max": 2}]),
            "locks[0].permits",
        ),
        (json!([{"name": "x", "moed": "shared"}]), "locks[0].moed"),
        (json!([{"name": "x"}, "y"]), "locks[1]"),
    ] {
        let body = json!({"owner": "a", "locks": locks}).to_string();
        refused("/v1/locks/acquire", body, 400, "invalid_field", Some(field)).await;
    }
    let body = json!({"owner": "a", "holds": ["7-0", "x"]}).to_string();
    refused("/v1/locks/renew-all", body, 400, "invalid_field", Some("holds[1]")).await;
    let many: Vec<_> = (0..129).map(|n| json!({"name": format!("l{n}")})).collect();
    let body = json!({"owner": "a", "locks": many}).to_string();
    refused("/v1/locks/acquire", body, 400, "invalid_field", Some("locks")).await;
}

#[tokio::test]
async fn fields_that_do_not_go_together_are_400_naming_one() {
    for (path, body, field) in [
        ("/v1/locks/x/acquire", json!({"owner": "a", "permits": 1}), "permits"),
        (
            "/v1/locks/x/acquire",
            json!({"owner": "a", "mode": "shared", "permits_max": 1}),
            "permits_max",
        ),
        ("/v1/locks/x/acquire", json!({"owner": "a", "mode": "permits"}), "permits_max"),
        ("/v1/locks/x/check", json!({"token": 1, "hold": "7-0"}), "hold"),
    ] {
        refused(path, body.to_string(), 400, "invalid_field", Some(field)).await;
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_400() {
    for (path, _) in routes() {
        for body in ["", "{", "[]", "null", "1", "\"x\"", "{} {}", "owner=a", "{\"a\":\"\\ud800\"}"]
        {
            refused(path, body.to_owned(), 400, "malformed_body", Some("body")).await;
        }
        let deep = format!("{{\"owner\":{}", "[".repeat(100_000));
        refused(path, deep, 400, "malformed_body", Some("body")).await;
    }
}

#[tokio::test]
async fn only_json_types_are_taken() {
    for (path, body) in routes() {
        for media_type in ["", "text/plain", "application/x-www-form-urlencoded", "text/json"] {
            let node = FakeNode::granting();
            let mut request = Request::post(path);
            if !media_type.is_empty() {
                request = request.header("content-type", media_type);
            }
            let request = request.body(Body::from(body.to_string())).unwrap();
            problem(&node.send(request).await, 415, "unsupported_media_type");
            assert!(node.operations.lock().unwrap().is_empty());
        }
    }
}

#[tokio::test]
async fn a_body_above_the_limit_is_413() {
    for (path, _) in routes() {
        let reply = FakeNode::granting().send(json_request(path, vec![b' '; (1 << 20) + 1])).await;
        problem(&reply, 413, "payload_too_large");
    }
}

#[tokio::test]
async fn a_name_in_the_path_that_cannot_be_one_is_400() {
    let long = "n".repeat(257);
    for (path, body) in routes().into_iter().filter(|(path, _)| path.starts_with("/v1/locks/x/")) {
        for name in ["%ff", "a%00", "a%0Ab", "%C2%85", long.as_str()] {
            let path = path.replacen("/x/", &format!("/{name}/"), 1);
            refused(&path, body.to_string(), 400, "invalid_field", Some("name")).await;
        }
    }
}

#[tokio::test]
async fn another_method_is_405_naming_the_methods() {
    let node = FakeNode::granting();
    for (method, path, allow) in [
        ("PUT", "/v1/locks/x", "GET,HEAD"),
        ("POST", "/v1/locks/x", "GET,HEAD"),
        ("GET", "/v1/locks/x/acquire", "POST"),
        ("DELETE", "/v1/locks/x/release", "POST"),
        ("POST", "/v1/locks", "GET,HEAD"),
        ("PUT", "/v1/locks/acquire", "POST,GET,HEAD"),
        ("POST", "/v1/events", "GET,HEAD"),
        ("POST", "/v1/cluster", "GET,HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let reply = node.send(request).await;
        problem(&reply, 405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn a_query_that_is_wrong_is_400_naming_the_parameter() {
    let node = FakeNode::granting();
    for (path, field) in [
        ("/v1/locks/x?limit=0", "limit"),
        ("/v1/locks/x?limit=10001", "limit"),
        ("/v1/locks/x?limit=1&limit=2", "limit"),
        ("/v1/locks/x?consistency=eventual", "consistency"),
        ("/v1/locks/x?prefix=a", "prefix"),
        ("/v1/locks?limit=1001", "limit"),
        ("/v1/locks?limit=%2B1", "limit"),
        ("/v1/locks?prefix=a%00", "prefix"),
        ("/v1/locks?prefix=%ff", "prefix"),
        ("/v1/locks?continue=zz", "continue"),
        ("/v1/locks?continue=00", "continue"),
        ("/v1/locks?contniue=00", "contniue"),
        ("/v1/graph/locks?limit=x", "limit"),
        ("/v1/cluster?consistency=", "consistency"),
        ("/v1/events?from=0", "from"),
        ("/v1/events?from=-1", "from"),
        ("/v1/events?name=", "name"),
        ("/v1/events?name=a&prefix=b", "prefix"),
        ("/v1/events?timeout=25h", "timeout"),
        ("/v1/events?timeout=soon", "timeout"),
    ] {
        let refused = problem(&node.get(path).await, 400, "invalid_field");
        assert_eq!(refused["field"], field, "{path}");
    }
}

/// Everybody who writes 30 means seconds.
#[tokio::test]
async fn a_lease_below_the_least_is_refused_and_says_which_unit_was_read() {
    let node = node_with(Settings::default());
    let path = "/v1/locks/x/acquire";
    let integer =
        super::refused(&node, path, json!({"owner": "a", "ttl": 30}), 400, "invalid_field").await;
    let detail = integer["detail"].as_str().unwrap();
    assert_eq!(integer["field"], "ttl");
    assert!(detail.contains("30 was read as milliseconds; 30 seconds are \"30s\""), "{detail}");
    assert!(detail.contains("lease_ms_min"), "{detail}");
    let text =
        super::refused(&node, path, json!({"owner": "a", "ttl": "999ms"}), 400, "invalid_field")
            .await;
    assert!(text["detail"].as_str().unwrap().contains("read as 999 ms"), "{text}");
    for allowed in [json!(0), json!(1_000), json!("1s")] {
        ok(&node, path, json!({"owner": "a", "ttl": allowed})).await;
    }
    let original = r#"{"resource_id":"y","client_id":"a","lock_type":"shared","ttl":30}"#;
    let reply = node.post("/lock/acquire", original).await;
    assert_eq!(reply.status, 400);
}
