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
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::problems::ProblemSchema;

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
    let text = description().to_pretty_json().unwrap_or_default();
    format!("{text}\n")
}

fn description() -> OpenApi {
    let mut api = OpenApiBuilder::new().info(info()).build();
    api.merge(super::described().into_openapi());
    let schemas = &mut api.components.get_or_insert_default().schemas;
    schemas.insert(ProblemSchema::name().into_owned(), ProblemSchema::schema());
    api
}

fn info() -> utoipa::openapi::Info {
    let license = LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build();
    InfoBuilder::new()
        .title("dsync")
        .version("v1")
        .description(Some(
            "Locks that several machines can agree on: linearizable, fair, fenced. What each route \
             promises, and how to repeat a request: docs/protocol.md.",
        ))
        .license(Some(license))
        .build()
}
