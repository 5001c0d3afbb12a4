//! Values as bytes: postcard, small and quick, and not self-describing (`wire.rs` says what follows).

use serde::Serialize;
use serde::de::DeserializeOwned;

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
