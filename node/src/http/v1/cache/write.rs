//! `PUT` and `DELETE /v1/cache/{key}`.
//!
//! A write is answered when no node can serve the former value any more. It is sent to the key's home once:
//! a repeat could undo what somebody else has written since.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::cache::{Condition, Key, Value, Version, Write, WriteOutcome};
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{
    KeyInPath, KeyPath, WriteConditions, etag, key_of, value_bytes_max, version_text,
    write_condition, wrong,
};
use super::codes;
use super::problems::CacheWriteProblems;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::schemas::Duration;
use crate::http::{Site, body, request_id};

/// The media type of a body without one (RFC 9110, 8.3).
const BYTES: &str = "application/octet-stream";
const CONTENT_TYPE_BYTES_MAX: usize = 256;
/// A value that is to go later than this may as well stay.
const TTL_MS_MAX: u64 = 366 * 24 * 60 * 60 * 1_000;

/// A write that was done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WrittenAnswer {
    /// The key.
    key: String,
    /// The version of what is there now: later writes of the key have higher ones.
    #[schema(pattern = r"^(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})$")]
    version: String,
}

/// Puts a value under a key: any bytes of any media type, kept as they are.
///
/// The `ETag` of the answer is the version. When it is answered, every get on every node sees this value, a
/// later one, or none.
#[utoipa::path(
    put, path = "/v1/cache/{key}", operation_id = "put_cached", tag = "caches",
    params(
        KeyInPath,
        ("ttl" = Option<Duration>, Query,
            description = "The value goes by itself after this; absent: it stays as long as there is room."),
        WriteConditions,
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses((status = 200, description = "Done.", body = WrittenAnswer), CacheWriteProblems),
)]
pub async fn put(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: KeyPath,
    request: Request,
) -> Response {
    try_put(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Deletes the value of a key, if there is one.
#[utoipa::path(
    delete, path = "/v1/cache/{key}", operation_id = "delete_cached", tag = "caches",
    params(KeyInPath, WriteConditions),
    responses((status = 200, description = "Done.", body = WrittenAnswer), CacheWriteProblems),
)]
pub async fn delete(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: KeyPath,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    try_delete(&site, path, &uri, &headers)
        .await
        .unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_put(site: &Site, path: KeyPath, request: Request) -> Result<Response, Fault> {
    let key = key_of(site, path)?;
    let ttl_ms = Params::read(request.uri(), &["ttl"])?.duration_up_to("ttl", TTL_MS_MAX)?;
    if ttl_ms == Some(0) {
        return Err(Fault::field("ttl", "ttl must not be 0: leave it out to keep the value"));
    }
    let condition = condition(request.headers())?;
    let content_type = content_type(request.headers())?;
    let body = body::read_at_most(site, request, value_bytes_max(site)).await?;
    let write = Write { value: Some(Value { body, content_type }), ttl_ms, condition };
    let (key, version) = written(site, key, write).await?;
    Ok(answer(key, version, true))
}

async fn try_delete(
    site: &Site,
    path: KeyPath,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let key = key_of(site, path)?;
    Params::refuse_all(uri)?;
    let condition = condition(headers)?;
    let (key, version) = written(site, key, Write { value: None, ttl_ms: None, condition }).await?;
    Ok(answer(key, version, false))
}

fn condition(headers: &HeaderMap) -> Result<Condition, Fault> {
    request_id::refuse(headers)?;
    write_condition(headers)
}

fn content_type(headers: &HeaderMap) -> Result<String, Fault> {
    let given = request_id::one(headers, &CONTENT_TYPE)?.unwrap_or(BYTES);
    let fits = given.len() <= CONTENT_TYPE_BYTES_MAX && given.parse::<mime::Mime>().is_ok();
    match fits {
        true => Ok(given.to_owned()),
        false => Err(wrong(&CONTENT_TYPE, "must be a media type of at most 256 bytes")),
    }
}

async fn written(site: &Site, key: Key, write: Write) -> Result<(Key, Version), Fault> {
    match site.caches.write(key.clone(), write).await? {
        WriteOutcome::Done(version) => Ok((key, version)),
        WriteOutcome::ConditionFailed(there) => Err(condition_failed(&key, there)),
        other => {
            tracing::error!(?other, "a write of the caches was answered by something else");
            Err(Fault::internal())
        }
    }
}

fn condition_failed(key: &Key, there: Option<Version>) -> Fault {
    let there = there.map(version_text);
    let detail = match &there {
        Some(version) => format!("the value of {key} has the version {version}"),
        None => format!("nothing is cached under {key}"),
    };
    Fault::precondition(codes::CONDITION_FAILED, detail).with("version", there)
}

fn answer(key: Key, version: Version, tagged: bool) -> Response {
    let mut response = typed_answer(&WrittenAnswer { key: key.0, version: version_text(version) });
    let tag = etag(version).filter(|_| tagged);
    response.headers_mut().extend(tag.map(|tag| (ETAG, tag)));
    response
}
