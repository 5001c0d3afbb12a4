//! What holds for every route: request ids, the leader's name, problems for what has no route.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::Request;

use super::fake_node::{FakeNode, call};
use crate::http::hosts::HostRules;
use crate::http::{admin_router, client_router, compose};

#[tokio::test]
async fn unknown_paths_and_routes_that_come_later_are_404_problems() {
    let node = FakeNode::granting();
    for path in ["/", "/nothing", "/queue/pop/t", "/cache", "/v1/locks/", "/v1/locks/a/b", "/livez"]
    {
        let reply = node.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("content-type"), "application/problem+json", "{path}");
        let problem = reply.json();
        assert_eq!(problem["type"], "urn:dsync:problem:not_found");
        assert_eq!(problem["status"], 404);
        assert_eq!(problem["code"], "not_found");
        assert_eq!(problem["retryable"], false);
        assert_eq!(problem["leader"], "n1");
        assert_eq!(problem["request_id"], reply.header("x-request-id"));
        assert!(problem["title"].is_string() && problem["detail"].is_string());
    }
    assert_eq!(node.post("/nothing", "{}").await.status, 404);
}

#[tokio::test]
async fn a_percent_without_two_hexadecimal_digits_is_refused_wherever_it_stands() {
    let node = FakeNode::granting();
    for escape in ["%", "%zz", "a%2", "%2", "%g0", "a%%20"] {
        for path in [format!("/v1/locks/{escape}"), format!("/nothing/{escape}")] {
            let reply = node.get(&path).await;
            assert_eq!(reply.status, 400, "{path}");
            assert_eq!(reply.json()["field"], "path", "{path}");
        }
        for parameter in ["prefix", "limit"] {
            let path = format!("/v1/locks?consistency=stale&{parameter}={escape}");
            let reply = node.get(&path).await;
            assert_eq!(reply.status, 400, "{path}");
            assert_eq!(reply.json()["field"], parameter, "{path}");
        }
    }
    for good in ["/v1/locks/%25", "/v1/locks/%2Fa%2f", "/v1/locks?prefix=%25%7E"] {
        assert_eq!(node.get(good).await.status, 200, "{good}");
    }
}

#[tokio::test]
async fn a_host_or_a_page_that_is_not_served_reaches_no_route() {
    let node = FakeNode::granting();
    let rules = HostRules::new("127.0.0.1:5001".parse().unwrap(), Vec::new());
    let site = node.site.clone().with_hosts(rules);
    for (router, path) in [
        (client_router(site.clone()), "/lock/acquire"),
        (client_router(site.clone()), "/v1/locks/x/force"),
        (client_router(site.clone()), "/status"),
        (client_router(site.clone()), "/nothing"),
        (admin_router(site), "/livez"),
    ] {
        for (header, value, code) in [
            ("host", "evil.example", "host_not_allowed"),
            ("origin", "http://evil.example", "origin_not_allowed"),
        ] {
            let request = Request::post(path).header("content-type", "application/json");
            let body = r#"{"resource_id":"x","client_id":"c"}"#;
            let request = request.header(header, value).body(Body::from(body)).unwrap();
            let reply = call(router.clone(), request).await;
            assert_eq!(reply.status, 403, "{path}: {}", reply.text());
            assert_eq!(reply.json()["code"], code, "{path}");
            assert_eq!(reply.header("content-type"), "application/problem+json");
        }
    }
    assert!(node.operations.lock().unwrap().is_empty());
}

#[tokio::test]
async fn another_method_is_a_405_problem_that_names_the_methods() {
    let node = FakeNode::granting();
    for (method, path, allow) in [
        ("GET", "/lock/acquire", "POST"),
        ("DELETE", "/lock/release", "POST"),
        ("POST", "/status", "GET,HEAD"),
        ("PUT", "/v1/locks/x", "GET,HEAD"),
        ("BREW", "/metrics", "GET,HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let reply = node.send(request).await;
        assert_eq!(reply.status, 405, "{method} {path}");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["code"], "method_not_allowed");
    }
}

#[tokio::test]
async fn a_request_id_is_echoed_or_minted() {
    let node = FakeNode::granting();
    let ask = |id: &str| Request::get("/status").header("x-request-id", id).body(Body::empty());
    assert_eq!(node.send(ask("mine-1").unwrap()).await.header("x-request-id"), "mine-1");
    let too_long = "x".repeat(129);
    for bad in ["", too_long.as_str()] {
        let minted = node.send(ask(bad).unwrap()).await.header("x-request-id").to_owned();
        assert!(minted.starts_with("000000000000b007-"), "{minted}");
    }
    let (first, second) = (node.get("/status").await, node.get("/status").await);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn a_trace_is_echoed() {
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let request = Request::get("/status").header("traceparent", trace).body(Body::empty()).unwrap();
    assert_eq!(FakeNode::granting().send(request).await.header("traceparent"), trace);
}

#[tokio::test]
async fn every_answer_names_the_leader_if_one_is_known() {
    let node = FakeNode::granting();
    for path in ["/status", "/nothing", "/metrics", "/v1/locks/x"] {
        assert_eq!(node.get(path).await.header("dsync-leader"), "n1", "{path}");
    }
    node.set_status(|status| status.raft.leader = None);
    assert_eq!(node.get("/status").await.headers.get("dsync-leader"), None);
}

#[tokio::test]
async fn a_panic_is_a_500_problem_and_not_a_broken_connection() {
    let node = FakeNode::granting();
    let routes = Router::new().route("/boom", get(boom));
    let request = Request::get("/boom").body(Body::empty()).unwrap();
    let reply = call(compose(routes, node.site.clone()), request).await;
    assert_eq!(reply.status, 500);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.json()["code"], "internal");
    assert_eq!(reply.json()["request_id"], reply.header("x-request-id"));
    assert!(!reply.text().contains("on purpose"));
}

async fn boom() -> &'static str {
    panic!("on purpose")
}

#[tokio::test]
async fn metrics_come_in_the_form_that_is_asked_for() {
    let node = FakeNode::granting();
    let plain = node.get("/metrics").await;
    assert_eq!(plain.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for line in ["dsync_raft_term 5\n", "dsync_raft_role{role=\"follower\"} 1\n"] {
        assert!(plain.text().contains(line), "{line}");
    }
    assert!(plain.text().contains("# TYPE dsync_raft_leader_changes_total counter\n"));
    assert!(!plain.text().contains("_total_total"));

    let json = Request::get("/metrics").header("accept", "application/json");
    let json = node.send(json.body(Body::empty()).unwrap()).await;
    assert_eq!(json.header("content-type"), "application/json");
    assert_eq!(json.json()["dsync_raft_term"]["samples"][0]["value"], 5.0);

    let open = node.admin("/metrics").await;
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(open.header("content-type"), media_type);
    assert!(open.text().ends_with("# EOF\n"));
}
