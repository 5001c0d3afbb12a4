//! Values: what is put, and what is got.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CacheVersion;
use crate::error::Error;
use crate::nodes::Answer;

/// What is put: bytes, and their media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheValue {
    pub(super) body: Vec<u8>,
    pub(super) content_type: String,
}

impl CacheValue {
    /// Bytes of a media type, like `image/png`.
    #[must_use]
    pub fn new(body: impl Into<Vec<u8>>, content_type: impl Into<String>) -> Self {
        Self { body: body.into(), content_type: content_type.into() }
    }

    /// Bytes of no particular type.
    #[must_use]
    pub fn bytes(body: impl Into<Vec<u8>>) -> Self {
        Self::new(body, "application/octet-stream")
    }

    /// A text.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        Self::new(text.into(), "text/plain; charset=utf-8")
    }

    /// A value as JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        Ok(Self::new(serde_json::to_vec(value).map_err(Error::Body)?, "application/json"))
    }
}

/// Which value a get wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheConsistency {
    /// The newest one, also if it is served from a copy.
    #[default]
    Linearizable,
    /// What the key's home says, whatever the asked node keeps: no lease of a copy is trusted.
    Verify,
    /// What the asked node keeps, however old.
    Stale,
}

impl CacheConsistency {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Verify => "verify",
            Self::Stale => "stale",
        }
    }
}

/// A value that was cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cached {
    /// The bytes, as they were put.
    pub body: Vec<u8>,
    /// Their media type.
    pub content_type: String,
    /// Its version, for [`if_version`](super::Put::if_version).
    pub version: CacheVersion,
    /// The node that was asked served it alone.
    pub hit: bool,
    /// It goes by itself after this, counted by the node.
    pub ttl: Option<Duration>,
    /// It was the newest one up to so long ago; zero unless [`CacheConsistency::Stale`] was asked for.
    pub staleness: Duration,
}

impl Cached {
    /// Reads it as JSON.
    ///
    /// # Errors
    /// If it is no JSON, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    pub(super) fn read(answer: Answer) -> Result<Self, Error> {
        let header = |name: &str| answer.headers.get(name).and_then(|value| value.to_str().ok());
        let ms = |name| header(name).and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let version =
            header("etag").and_then(CacheVersion::of_tag).ok_or_else(|| Error::Answer {
                node: answer.node.clone(),
                reason: "a cached value without a version".to_owned(),
            })?;
        Ok(Self {
            content_type: header("content-type").unwrap_or_default().to_owned(),
            version,
            hit: header("dsync-cache") == Some("hit"),
            ttl: ms("dsync-ttl-ms"),
            staleness: ms("dsync-staleness-ms").unwrap_or_default(),
            body: answer.into_body(),
        })
    }
}
