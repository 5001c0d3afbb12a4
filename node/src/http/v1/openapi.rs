//! `GET /openapi.json`: the description of `/v1`, made from the routes and the types themselves.
//!
//! The repository has a copy (`docs/openapi.json`), so that a change of the API is seen in review; a
//! test and `cargo xtask verify` keep it true, `cargo xtask gen` writes it.

use std::sync::LazyLock;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use serde_json::{Value, json};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::examples;
use super::problems::{CycleEdge, ProblemCode, ProblemHolder, ProblemSchema};
use super::{cache, queues};

static TEXT: LazyLock<Bytes> = LazyLock::new(|| text().into());

/// `GET /openapi.json`
pub async fn serve() -> Response {
    let mut response = Body::from(TEXT.clone()).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The description as it is served, and as it stands in the repository.
#[must_use]
pub fn text() -> String {
    let mut api = serde_json::to_value(description()).unwrap_or_default();
    complete(&mut api);
    format!("{api:#}\n")
}

fn description() -> OpenApi {
    let mut api = OpenApiBuilder::new().info(info()).build();
    api.merge(super::described().into_openapi());
    let schemas = &mut api.components.get_or_insert_default().schemas;
    schemas.insert(ProblemSchema::name().into_owned(), ProblemSchema::schema());
    schemas.insert(ProblemCode::name().into_owned(), ProblemCode::schema());
    schemas.insert(ProblemHolder::name().into_owned(), ProblemHolder::schema());
    schemas.insert(CycleEdge::name().into_owned(), CycleEdge::schema());
    api
}

/// Adds what is the same on every route, and an example to each.
fn complete(api: &mut Value) {
    api["servers"] = json!([{ "url": "/", "description": "Any node: each serves every route." }]);
    api["tags"] = json!([
        { "name": "locks", "description": "Take, keep, give back, look at." },
        { "name": "queues", "description": "Push, receive, settle, look at." },
        { "name": "caches", "description": "Values by key, the same on every node." },
        { "name": "events", "description": "What happens to locks, as it happens." },
        { "name": "cluster", "description": "Who is in it, and with which settings." },
        { "name": "audit", "description": "What has happened to locks, from the audit trail." },
    ]);
    api["components"]["headers"] = headers();
    let paths = api["paths"].as_object_mut().into_iter().flatten();
    for (_, route) in paths.flat_map(|(_, methods)| methods.as_object_mut().into_iter().flatten()) {
        add_headers(route);
        add_example(route);
    }
}

fn headers() -> Value {
    let text =
        |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    let number = |description: &str| json!({ "description": description, "schema": { "type": "integer", "minimum": 0 } });
    let mut id = text("The request's own, if it had one of 1 to 128 bytes; else a new one.");
    id["required"] = json!(true);
    json!({
        "X-Request-Id": id,
        "Traceparent": text("The request's, echoed."),
        "Dsync-Leader": text("Who leads, as far as this node knows."),
        "Cache-Control": text("`no-store`: an answer is about one moment."),
        "Dsync-Applied": number("The last log entry that the answer contains."),
        "Dsync-Staleness-Ms": number("With `consistency=stale`: the answer contains everything that \
            was answered anywhere up to so many milliseconds ago."),
        "ETag": text("The version of the value, in quotes."),
        "Dsync-Cache": text("`hit`: served by this node alone; `miss`: a home was asked."),
        "Dsync-Ttl-Ms": number("The value goes by itself after so many milliseconds."),
        "Retry-After": number("Seconds after which to ask again."),
        "Allow": text("The methods that there are."),
    })
}

fn add_headers(route: &mut Value) {
    let id = route["operationId"].as_str().unwrap_or_default().to_owned();
    let reads = route["parameters"]
        .as_array()
        .is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "consistency"));
    let responses = route["responses"].as_object_mut().into_iter().flatten();
    for (status, response) in responses {
        let more: &[&str] = match status.as_str() {
            "200" | "304" if id == "get_cached" => {
                &["ETag", "Dsync-Cache", "Dsync-Ttl-Ms", "Dsync-Staleness-Ms"]
            }
            "200" if id == "put_cached" => &["ETag"],
            "200" if reads => &["Dsync-Applied", "Dsync-Staleness-Ms"],
            "405" => &["Allow"],
            "429" | "503" => &["Retry-After"],
            _ => &[],
        };
        let always = ["X-Request-Id", "Traceparent", "Dsync-Leader", "Cache-Control"];
        for name in always.iter().chain(more) {
            let reference = format!("#/components/headers/{name}");
            response["headers"][name] = json!({ "$ref": reference });
        }
    }
}

fn add_example(route: &mut Value) {
    let id = route["operationId"].as_str().unwrap_or_default();
    let example = examples::of(id).or_else(|| queues::example(id)).or_else(|| cache::example(id));
    let Some((asked, answered)) = example else { return };
    if let Some(asked) = asked {
        route["requestBody"]["content"]["application/json"]["example"] = asked;
    }
    let contents = route["responses"]["200"]["content"].as_object_mut().into_iter().flatten();
    for (media_type, content) in contents {
        content["example"] = match media_type.as_str() {
            "text/event-stream" => {
                json!(format!("id: 42\nevent: granted\ndata: {answered}\n\n"))
            }
            _ => answered.clone(),
        };
    }
}

fn info() -> utoipa::openapi::Info {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    InfoBuilder::new()
        .title("dsync")
        .version("v1")
        .description(Some(
            "Locks that several machines can agree on: linearizable, fair, fenced; and queues whose \
             messages are worked on at least once; and caches whose hits are never stale. What each route promises, and how to repeat a \
             request: docs/protocol.md.",
        ))
        .license(Some(license))
        .build()
}
