//! What these routes take: a key in the path, versions and conditions in the head.

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use dsync_core::cache::{Condition, Key, Version};
use http::header::{IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use utoipa::IntoParams;

use crate::http::fields::check_name;
use crate::http::problem::Fault;
use crate::http::{Site, request_id, v1};

/// The key of a route.
pub(super) type KeyPath = Result<Path<String>, PathRejection>;

/// The key of a route.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct KeyInPath {
    /// The key: 1 to 256 bytes of UTF-8 (the setting `name_bytes_max`), without control characters. A "/"
    /// is written `%2F`.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    key: String,
}

/// Which value a get wants.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct GetParams {
    /// `linearizable` (the default): the newest value, also if it is served from a copy. `verify`: what its
    /// home says, whatever is kept here. `stale`: what is kept here, however old; if nothing is, as
    /// `linearizable`.
    #[param(pattern = "^(linearizable|verify|stale)$")]
    consistency: Option<String>,
}

/// What the reader has already.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ReadConditions {
    /// The `ETag` of a value that the reader has, or `*`: if it is what is cached, the answer is 304.
    #[param(
        rename = "If-None-Match",
        pattern = r#"^(\*|(W/)?"(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})")$"#
    )]
    if_none_match: Option<String>,
}

/// What must be there for a write to act.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct WriteConditions {
    /// The `ETag` of the value that must be there, or `*`: any.
    #[param(
        rename = "If-Match",
        pattern = r#"^(\*|"(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,18})")$"#
    )]
    if_match: Option<String>,
    /// `*`: no value may be there.
    #[param(rename = "If-None-Match", pattern = r"^\*$")]
    if_none_match: Option<String>,
}

/// The key in the path.
pub(super) fn key_of(site: &Site, path: KeyPath) -> Result<Key, Fault> {
    let Path(key) = path.map_err(|error| Fault::field("key", error.body_text()))?;
    checked_key(site, key)
}

/// A key that may be one.
pub(in crate::http) fn checked_key(site: &Site, key: String) -> Result<Key, Fault> {
    let max = v1::settings(&site.node.machine()).locks.name_bytes_max;
    match check_name(&key, usize::try_from(max).unwrap_or(usize::MAX)) {
        Ok(()) => Ok(Key(key)),
        Err(reason) => Err(Fault::field("key", format!("key {reason}"))),
    }
}

/// Most bytes of a value.
pub(in crate::http) fn value_bytes_max(site: &Site) -> usize {
    site.limits.cache_value_bytes_max
}

/// A version as clients see it.
pub(super) fn version_text(version: Version) -> String {
    format!("{}.{}", version.epoch, version.number)
}

/// A version as an `ETag`.
pub(super) fn etag(version: Version) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{}\"", version_text(version))).ok()
}

/// What must be there for a write to act.
pub(super) fn write_condition(headers: &HeaderMap) -> Result<Condition, Fault> {
    let some = request_id::one(headers, &IF_MATCH)?;
    let none = request_id::one(headers, &IF_NONE_MATCH)?;
    match (some, none) {
        (None, None) => Ok(Condition::Any),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(tag), None) => match parse_etag(tag) {
            Some(version) => Ok(Condition::Version(version)),
            None => Err(wrong(&IF_MATCH, "must be * or the ETag of a value, like \"812.7\"")),
        },
        (None, Some("*")) => Ok(Condition::Absent),
        (None, Some(_)) => Err(wrong(&IF_NONE_MATCH, "must be * here")),
        (Some(_), Some(_)) => Err(wrong(&IF_NONE_MATCH, "cannot stand beside if-match")),
    }
}

/// What the reader has already: then it need not be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    Nothing,
    Any,
    Version(Version),
}

impl Known {
    pub(super) fn read(headers: &HeaderMap) -> Result<Self, Fault> {
        if headers.contains_key(IF_MATCH) {
            return Err(wrong(&IF_MATCH, "is not taken here: it is for writes"));
        }
        let Some(tag) = request_id::one(headers, &IF_NONE_MATCH)? else { return Ok(Self::Nothing) };
        if tag == "*" {
            return Ok(Self::Any);
        }
        // Who compresses an answer on its way weakens its tag.
        let version = parse_etag(tag.strip_prefix("W/").unwrap_or(tag));
        let version = version.map(Self::Version);
        version.ok_or_else(|| wrong(&IF_NONE_MATCH, "must be * or the ETag of a value"))
    }

    pub(super) fn is(self, version: Version) -> bool {
        match self {
            Self::Nothing => false,
            Self::Any => true,
            Self::Version(known) => known == version,
        }
    }
}

/// One version has one writing.
fn parse_etag(tag: &str) -> Option<Version> {
    let text = tag.strip_prefix('"')?.strip_suffix('"')?;
    let (epoch, number) = text.split_once('.')?;
    let version = Version { epoch: epoch.parse().ok()?, number: number.parse().ok()? };
    (version_text(version) == text).then_some(version)
}

pub(super) fn wrong(header: &HeaderName, reason: &str) -> Fault {
    Fault::field(header.as_str(), format!("the header {header} {reason}"))
}
