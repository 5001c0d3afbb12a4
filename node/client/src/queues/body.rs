//! What a message says: JSON as it was written, or bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// What a message says.
#[derive(Clone, Debug)]
pub enum Body {
    /// JSON, kept as it was written, to the byte.
    Json(Box<RawValue>),
    /// Bytes of any kind.
    Bytes(Vec<u8>),
}

impl Body {
    /// Reads it as a value. Bytes are read as JSON, too.
    ///
    /// # Errors
    /// If it is no JSON, or not of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.as_bytes())
    }

    /// The bytes, or the JSON text as it was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) => text.get().as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        let is_json = |it: &Self| matches!(it, Self::Json(_));
        is_json(self) == is_json(other) && self.as_bytes() == other.as_bytes()
    }
}

/// The two members that stand for a body in a JSON object; exactly one of them is there.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base64: Option<Base64>,
}

impl Written {
    pub(super) fn of(body: &Body) -> Self {
        match body {
            Body::Json(text) => Self { body: Some(text.clone()), base64: None },
            Body::Bytes(bytes) => Self { body: None, base64: Some(Base64(bytes.clone())) },
        }
    }

    /// `None`: neither of them is there.
    pub(super) fn read(self) -> Option<Body> {
        match (self.base64, self.body) {
            (Some(Base64(bytes)), _) => Some(Body::Bytes(bytes)),
            (None, body) => body.map(Body::Json),
        }
    }
}

/// Bytes as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base64(pub(super) Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(D::Error::custom)
    }
}
