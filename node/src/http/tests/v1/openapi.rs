//! The description: served, kept in the repository, and true.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{FakeNode, node};
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

/// Every route with its operation.
fn operations(description: &Value) -> Vec<(String, String, Value)> {
    let paths = description["paths"].as_object().unwrap().iter();
    let all = paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().unwrap().iter();
        methods.map(|(method, route)| (method.to_uppercase(), path.clone(), route.clone()))
    });
    all.collect()
}

#[tokio::test]
async fn a_node_takes_the_example_of_every_route() {
    for (method, path, route) in operations(&description()) {
        let node = node();
        let path = path.replace("{name}", "printer").replace("{topic}", "mails");
        let path = path.replace("{id}", "812.0").replace("{key}", "user");
        let body = &route["requestBody"]["content"]["application/json"]["example"];
        assert!(body.is_object() || !matches!(method.as_str(), "POST" | "PATCH"), "{path}");
        let reply = match method.as_str() {
            "POST" => node.post_json(&path, body).await,
            "PATCH" => node.patch_json(&path, body).await,
            "DELETE" => node.delete(&path).await,
            "PUT" => node.put(&path, &[], "hello").await,
            // A stream has no end, and is looked at elsewhere.
            _ if path == "/v1/events" => continue,
            _ => node.get(&path).await,
        };
        // The hold of the example is not there, and neither are the topic and the key.
        let status = reply.status.as_u16();
        let none = status == 404
            && ["no_such_topic", "no_such_key"].iter().any(|code| reply.json()["code"] == *code);
        let known = matches!(status, 200 | 409) || none;
        assert!(known, "{method} {path}: {status} {}", reply.text());
    }
}

#[test]
fn the_example_of_every_answer_has_the_members_of_its_schema() {
    let description = description();
    for (method, path, route) in operations(&description) {
        let contents = route["responses"]["200"]["content"].as_object().unwrap();
        for (media_type, content) in contents {
            let example = &content["example"];
            assert!(!example.is_null(), "{method} {path} {media_type} has no example");
            if let Some(of) = content["schema"]["$ref"].as_str().filter(|of| !of.ends_with("Line"))
            {
                let schema = description.pointer(of.trim_start_matches('#')).unwrap();
                fits(&description, schema, example, &path);
            }
        }
    }
}

fn fits(description: &Value, schema: &Value, example: &Value, place: &str) {
    if let Some(of) = schema["$ref"].as_str() {
        let schema = description.pointer(of.trim_start_matches('#')).unwrap();
        return fits(description, schema, example, place);
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(description, part, example, place);
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        assert!(example.get(name.as_str().unwrap()).is_some(), "{place}: {name} is missing");
    }
    for (name, of) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{place} {name}");
        match &example[name] {
            Value::Array(all) => {
                all.iter().for_each(|it| fits(description, &of["items"], it, &place));
            }
            Value::Object(_) => fits(description, of, &example[name], &place),
            _ => {}
        }
    }
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(example), "{place}: {example}");
    }
}

#[test]
fn every_answer_names_its_headers_and_every_kind_of_event_is_there() {
    let description = description();
    for (method, path, route) in operations(&description) {
        for (status, response) in route["responses"].as_object().unwrap() {
            for (name, header) in response["headers"].as_object().unwrap() {
                let of = header["$ref"].as_str().unwrap();
                let place = of.trim_start_matches('#');
                assert!(description.pointer(place).is_some(), "{method} {path} {status} {name}");
            }
        }
    }
    use dsync_core::locks::What::*;
    // The compiler names what is new here and in `EventKind`.
    let all = [
        Queued,
        Granted,
        ClaimOpened,
        ClaimTaken,
        UpgradeQueued,
        Upgraded,
        Downgraded,
        Released,
        Undone,
        Expired,
        ClaimLapsed,
        Left,
        PlaceLapsed,
        Revoked,
        Forced,
        Refused,
        Deadlock,
    ];
    let words: Vec<Value> = all
        .into_iter()
        .inspect(|what| match what {
            Queued | Granted | ClaimOpened | ClaimTaken | UpgradeQueued | Upgraded | Downgraded
            | Released | Undone | Expired | ClaimLapsed | Left | PlaceLapsed | Revoked | Forced
            | Refused | Deadlock => {}
        })
        .map(|what| serde_json::to_value(what).unwrap())
        .collect();
    assert_eq!(description["components"]["schemas"]["EventKind"]["enum"], Value::Array(words));
}

#[test]
fn names_of_members_are_in_one_case() {
    let description = description();
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        for member in schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name) {
            let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            let snake = member.chars().all(letter);
            assert!(snake, "{name}.{member}");
        }
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
