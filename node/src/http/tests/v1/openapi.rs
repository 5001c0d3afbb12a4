//! The description: served, kept in the repository, and true.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::FakeNode;
use crate::http::v1::openapi;

fn description() -> Value {
    serde_json::from_str(&openapi::text()).unwrap()
}

#[tokio::test]
async fn the_node_serves_the_description() {
    let reply = FakeNode::granting().get("/openapi.json").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.json(), description());
    assert_eq!(reply.json()["openapi"], "3.1.0");
}

/// Refreshed by `cargo xtask gen`, or by this test with `UPDATE_GOLDEN=1`.
#[test]
fn the_copy_in_the_repository_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, openapi::text()).unwrap();
    }
    let copy = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(copy == openapi::text(), "docs/openapi.json is stale: run `cargo xtask gen`");
}

#[tokio::test]
async fn every_route_of_the_description_is_there_with_its_method() {
    let node = FakeNode::granting();
    for (path, methods) in description()["paths"].as_object().unwrap() {
        let path = path.replace("{name}", "x");
        for method in methods.as_object().unwrap().keys() {
            let request = http::Request::builder().method(method.to_uppercase().as_str());
            let request = request.uri(format!("{path}?no_such=1")).body(axum::body::Body::empty());
            let status = node.send(request.unwrap()).await.status;
            // A body is missing, or a parameter is wrong: but the route is there.
            assert!(matches!(status.as_u16(), 400 | 415), "{method} {path}: {status}");
        }
    }
}

#[test]
fn what_is_referred_to_is_there() {
    let text = openapi::text();
    let description = description();
    let schemas: BTreeSet<&str> = description["components"]["schemas"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains(name), "{name}");
    }
}

#[test]
fn a_body_takes_no_other_fields_than_it_says() {
    let description = description();
    let schemas = description["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas.iter().filter(|(name, _)| name.ends_with("Request")) {
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
}
