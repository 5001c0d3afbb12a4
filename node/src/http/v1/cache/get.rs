//! `GET /v1/cache/{key}`: the value, as it was put.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use dsync_core::cache::Found;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

use super::asking::{GetParams, KeyInPath, KeyPath, Known, ReadConditions, etag, key_of};
use super::codes;
use super::problems::CacheReadProblems;
use crate::caches::{Consistency, Got};
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::Fault;
use crate::http::v1::read::STALENESS_MS;

/// `hit`: served by this node alone; `miss`: a home was asked.
pub const CACHE: HeaderName = HeaderName::from_static("dsync-cache");
/// The value goes by itself after so many milliseconds.
pub const TTL_MS: HeaderName = HeaderName::from_static("dsync-ttl-ms");

const CONSISTENCIES: [(&str, Consistency); 3] = [
    ("linearizable", Consistency::Linearizable),
    ("verify", Consistency::Verify),
    ("stale", Consistency::Stale),
];

/// The value that is cached under a key, with the media type with which it was put.
///
/// `ETag` is its version; `Dsync-Cache` says whether this node served it alone (`hit`) or asked its home
/// (`miss`); `Dsync-Ttl-Ms`, how much longer it is kept, if it goes by itself.
#[utoipa::path(
    get, path = "/v1/cache/{key}", operation_id = "get_cached", tag = "caches",
    params(KeyInPath, GetParams, ReadConditions),
    responses(
        (status = 200, description = "The value.", body = Vec<u8>, content_type = "*/*"),
        (status = 304, description = "It is the value that the reader has."),
        CacheReadProblems,
    ),
)]
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: KeyPath,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    try_get(&site, path, &uri, &headers).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_get(
    site: &Site,
    path: KeyPath,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let key = key_of(site, path)?;
    let params = Params::read(uri, &["consistency"])?;
    let consistency = params.choice("consistency", &CONSISTENCIES)?.unwrap_or_default();
    let known = Known::read(headers)?;
    let name = key.0.clone();
    let got = site.caches.get(key, consistency).await?;
    match got.found.clone() {
        Some(found) => Ok(drawn(found, &got, known, consistency)),
        None => Err(Fault::none(codes::NO_SUCH_KEY, format!("nothing is cached under {name}"))),
    }
}

fn drawn(found: Found, got: &Got, known: Known, consistency: Consistency) -> Response {
    let version = found.version;
    let mut response = match known.is(version) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => with_body(found.value.body.into(), &found.value.content_type),
    };
    let headers = response.headers_mut();
    headers.extend(etag(version).map(|tag| (ETAG, tag)));
    headers.insert(CACHE, HeaderValue::from_static(if got.hit { "hit" } else { "miss" }));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.extend(found.ttl_left_ms.map(|left| (TTL_MS, HeaderValue::from(left))));
    if consistency == Consistency::Stale {
        headers.insert(STALENESS_MS, HeaderValue::from(got.staleness_ms));
    }
    response
}

fn with_body(body: Body, content_type: &str) -> Response {
    let mut response = body.into_response();
    let headers = response.headers_mut();
    // It was read from a header, and is one again.
    headers.extend(HeaderValue::from_str(content_type).ok().map(|value| (CONTENT_TYPE, value)));
    // What somebody has put is not to be taken for a page of this node's.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
