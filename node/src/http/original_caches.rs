//! The original cache routes: `POST /cache/set` and `GET /cache/{key}`.
//!
//! They are what clients spoke before this server, so their shape is fixed: any JSON but null as a value,
//! no versions, no time to live. `0`, `false`, `""` and `[]` are values like any other. Errors keep the shape
//! too, as with locks ([`super::original`]).
//!
//! A value that `/v1` has put under another type than JSON's is shown as a text, in base64.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dsync_core::cache::{Condition, Key, Value, Write, WriteOutcome};
use http::Uri;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value as Json};

use super::body::{self, is_json_type};
use super::envelope::RequestContext;
use super::fields::Fields;
use super::original::draw;
use super::params::Params;
use super::problem::{Fault, json_answer, typed_answer};
use super::v1::cache::{checked_key, codes, value_bytes_max};
use super::{Site, v1};
use crate::caches::Consistency;

const JSON: &str = "application/json";

/// A value, as it was set.
#[derive(Serialize)]
struct Cached {
    success: bool,
    key: String,
    value: Box<RawValue>,
}

/// `POST /cache/set`
pub async fn set(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_set(&site, request).await.unwrap_or_else(|fault| draw(fault, &context))
}

/// `GET /cache/{key}`
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Response {
    let key = path.map_err(|error| Fault::field("key", error.body_text()));
    let got = match key {
        Ok(Path(key)) => try_get(&site, key, &uri).await,
        Err(fault) => Err(fault),
    };
    got.unwrap_or_else(|fault| draw(fault, &context))
}

/// `GET /cache/set`: the key "set" is a key like any other.
pub async fn get_set(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_get(&site, "set".to_owned(), &uri).await.unwrap_or_else(|fault| draw(fault, &context))
}

async fn try_set(site: &Site, request: Request) -> Result<Response, Fault> {
    body::refuse_foreign_page(request.headers())?;
    let fields = Fields::parse_keeping(&body::read(site, request).await?, "value")?;
    let max = v1::settings(&site.node.machine()).locks.name_bytes_max;
    let key = Key(fields.name("key", usize::try_from(max).unwrap_or(usize::MAX))?);
    let value = fields.kept_json("value")?;
    let value = value.ok_or_else(|| fields.wrong("value", "is missing: any JSON but null"))?;
    if value.len() > value_bytes_max(site) {
        return Err(Fault::too_large(value_bytes_max(site)));
    }
    let body = Bytes::copy_from_slice(value.as_bytes());
    let value = Some(Value { body, content_type: JSON.to_owned() });
    let write = Write { value, ttl_ms: None, condition: Condition::Any };
    match site.caches.write(key.clone(), write).await? {
        WriteOutcome::Done(_) => Ok(json_answer(success(format!("Cached under {key}")))),
        other => {
            tracing::error!(?other, "a write without a condition was answered by something else");
            Err(Fault::internal())
        }
    }
}

async fn try_get(site: &Site, key: String, uri: &Uri) -> Result<Response, Fault> {
    Params::refuse_all(uri)?;
    let key = checked_key(site, key)?;
    let got = site.caches.get(key.clone(), Consistency::Linearizable).await?;
    let found = got
        .found
        .ok_or_else(|| Fault::none(codes::NO_SUCH_KEY, format!("Nothing is cached under {key}")))?;
    Ok(typed_answer(&Cached { success: true, key: key.0, value: shown(&found.value)? }))
}

fn shown(value: &Value) -> Result<Box<RawValue>, Fault> {
    let json = is_json_type(&value.content_type)
        .then(|| serde_json::from_slice::<Box<RawValue>>(&value.body).ok())
        .flatten();
    let text = || {
        let text = STANDARD.encode(&value.body);
        serde_json::value::to_raw_value(&text).map_err(|_| Fault::internal())
    };
    json.map_or_else(text, Ok)
}

fn success(message: String) -> Map<String, Json> {
    let mut body = Map::new();
    body.insert("success".to_owned(), Json::Bool(true));
    body.insert("message".to_owned(), Json::String(message));
    body
}
