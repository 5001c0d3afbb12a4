//! Bytes on the wire and on disk: postcard, inside enums that name their version.
//!
//! postcard is not self-describing: the order of fields and variants *is* the format. A published
//! variant never changes; a change is a new variant here, with golden bytes in the tests, proposed
//! only above the feature level at which every member can read it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::raft::{Envelope, Record};

/// A record of the log on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredRecord {
    /// First format.
    V1(Record),
}

/// A message between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerFrame {
    /// First format.
    V1(Envelope),
}

/// The bytes do not have the form that was expected.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode {what}: {source}")]
pub struct DecodeError {
    /// What was being read.
    pub what: &'static str,
    /// What the decoder says.
    pub source: postcard::Error,
}

/// Encodes a value. Everything that is encoded here is finite and has a size, so it cannot fail.
///
/// # Panics
/// If a type is given that postcard cannot represent: a bug, found by its first test.
#[must_use]
#[allow(clippy::expect_used)]
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).expect("every wire type has a postcard form")
}

/// How many bytes [`encode`] makes of a value.
///
/// # Panics
/// As [`encode`].
#[must_use]
#[allow(clippy::expect_used)]
pub fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> u64 {
    let size = postcard::ser_flavors::Size::default();
    let bytes = postcard::serialize_with_flavor(value, size);
    bytes.expect("every wire type has a postcard form") as u64
}

/// Decodes a value that fills `bytes` to the end.
///
/// # Errors
/// If the bytes are not exactly one value of this type.
pub fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) =
        postcard::take_from_bytes(bytes).map_err(|source| DecodeError { what, source })?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(DecodeError { what, source: postcard::Error::DeserializeBadEncoding })
    }
}
