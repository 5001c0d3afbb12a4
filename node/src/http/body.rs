//! Bodies: how much of one is read, from whom, and what is in its fields.
//!
//! A body is read only as far as it is wanted: a declared length above the limit is refused unread,
//! one that grows above it is cut there, one that trickles is cut by time. Those above 16 KiB, and
//! those of unknown length, take one of a few seats first, so that every connection sending the
//! longest allowed body at once costs some megabytes and not gigabytes; ordinary requests never need
//! a seat and are not held up by those who do.
//!
//! Only what a field may be (text, number, truth) is kept while parsing. Keeping a tree would let a
//! megabyte of brackets become many megabytes of values.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Site;
use super::problem::Fault;

/// Longest body that is read without a seat.
const SMALL_BODY_BYTES_MAX: u64 = 16 << 10;
/// The largest integer that every JSON reader keeps exactly.
const EXACT_INTEGER_MAX: u64 = (1 << 53) - 1;
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what a page of some web site could have made a browser send to a node on a laptop.
///
/// Browsers send a body of a "simple" type to anybody without asking, but say so: by `Origin`, or by
/// a `Sec-Fetch-Site` other than `none` (typed into the address bar). A JSON type makes them ask
/// first, and this server never says yes. Tools like `curl -d`, which name a form's type, say neither.
///
/// # Errors
/// If the request is a browser's and its type is not JSON.
pub fn refuse_foreign_page(headers: &HeaderMap) -> Result<(), Fault> {
    let fetched = headers.get(FETCH_SITE).is_some_and(|site| site.as_bytes() != b"none");
    if (headers.contains_key(ORIGIN) || fetched) && !is_json(headers) {
        return Err(Fault::media_type("a request from a web page needs a JSON content type"));
    }
    Ok(())
}

/// `application/json` or any `application/...+json`, whatever its parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(value)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a body to its end, within the site's limits.
///
/// # Errors
/// If it is too long or too slow, or the connection broke.
pub async fn read(site: &Site, request: Request) -> Result<Bytes, Fault> {
    let limit = site.limits.body_bytes_max;
    let length = declared_length(request.headers());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(Fault::too_large(limit));
    }
    let reading = async {
        let _seat = match length {
            Some(0..=SMALL_BODY_BYTES_MAX) => None,
            _ => site.large_bodies.acquire().await.ok(),
        };
        collect(request.into_body(), limit).await
    };
    tokio::time::timeout(site.limits.body_timeout, reading)
        .await
        .unwrap_or_else(|_| Err(Fault::too_slow()))
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn collect(body: Body, limit: usize) -> Result<Bytes, Fault> {
    match Limited::new(body, limit).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Fault::too_large(limit)),
        Err(_) => Err(Fault::malformed("the body broke off or is not well-formed HTTP")),
    }
}

/// The fields of a JSON object.
#[derive(Debug)]
pub struct Fields(BTreeMap<String, Scalar>);

impl Fields {
    /// Parses a body. Fields that nobody asks for are ignored: clients of the original routes may
    /// have sent others for years.
    ///
    /// # Errors
    /// If it is not one JSON object in UTF-8.
    pub fn parse(body: &[u8]) -> Result<Self, Fault> {
        let text = std::str::from_utf8(body).map_err(|error| {
            Fault::malformed(format!("the body is not UTF-8 from byte {}", error.valid_up_to()))
        })?;
        serde_json::from_str(text)
            .map(Self)
            .map_err(|error| Fault::malformed(format!("the body is not a JSON object: {error}")))
    }

    /// A name: 1 to `bytes_max` bytes, no control characters.
    ///
    /// # Errors
    /// If the field is missing or anything else.
    pub fn name(&self, field: &str, bytes_max: usize) -> Result<String, Fault> {
        let text = self.text(field)?;
        check_name(text, bytes_max)
            .map_err(|reason| Fault::field(field, format!("{field} {reason}")))?;
        Ok(text.to_owned())
    }

    /// One of a few words.
    ///
    /// # Errors
    /// If the field is missing or anything else.
    pub fn choice<T: Copy>(&self, field: &str, words: &[(&str, T)]) -> Result<T, Fault> {
        let text = self.text(field)?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Fault::field(field, format!("{field} must be {}", words.join(" or ")))
        })
    }

    /// A length of time in milliseconds: an integer, or a text like `30s`. `None` if it is absent or
    /// null.
    ///
    /// # Errors
    /// If the field is anything else.
    pub fn duration_ms(&self, field: &str) -> Result<Option<u64>, Fault> {
        let ms = match self.0.get(field) {
            None | Some(Scalar::Null) => return Ok(None),
            Some(Scalar::Integer(ms)) => Some(*ms),
            Some(Scalar::Text(text)) => parse_duration_ms(text),
            Some(Scalar::Other) => None,
        };
        match ms.filter(|ms| *ms <= EXACT_INTEGER_MAX) {
            Some(ms) => Ok(Some(ms)),
            None => Err(Fault::field(
                field,
                format!(
                    "{field} must be an integer of milliseconds or a text like 500ms, 30s, 5m or 1h"
                ),
            )),
        }
    }

    fn text(&self, field: &str) -> Result<&str, Fault> {
        match self.0.get(field) {
            None => Err(Fault::field(field, format!("{field} is missing"))),
            Some(Scalar::Text(text)) => Ok(text),
            Some(_) => Err(Fault::field(field, format!("{field} must be a text"))),
        }
    }
}

/// Says what is wrong with a name: of a lock, of an owner.
///
/// # Errors
/// With the end of a sentence that begins with what the name is called.
pub fn check_name(name: &str, bytes_max: usize) -> Result<(), String> {
    if name.is_empty() {
        return Err("must not be empty".to_owned());
    }
    if name.len() > bytes_max {
        return Err(format!("must not be longer than {bytes_max} bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err("must not contain control characters".to_owned());
    }
    Ok(())
}

/// `500ms`, `30s`, `5m`, `1h`; a number without a unit is nobody's guess.
fn parse_duration_ms(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit_ms)
}

/// What a field may be. `Other` stands for everything that no field may be.
#[derive(Debug, PartialEq, Eq)]
enum Scalar {
    Null,
    Integer(u64),
    Text(String),
    Other,
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Scalar, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_u64<E>(self, value: u64) -> Result<Scalar, E> {
        Ok(Scalar::Integer(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Scalar, E> {
        Ok(u64::try_from(value).map_or(Scalar::Other, Scalar::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Scalar, E> {
        Ok(Scalar::Other)
    }

    fn visit_str<E>(self, value: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Scalar, E> {
        Ok(Scalar::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scalar, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit_or_are_integer_milliseconds() {
        for (text, ms) in [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration_ms(text), Some(ms), "{text}");
        }
        for text in ["", "30", "s", "30 s", "-1s", "1.5s", "1d", "30S", "99999999999999999999s"] {
            assert_eq!(parse_duration_ms(text), None, "{text}");
        }
    }

    #[test]
    fn a_json_type_may_have_parameters_and_a_suffix() {
        let is = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(is("application/json"));
        assert!(is("Application/JSON; charset=utf-8"));
        assert!(is("application/merge-patch+json"));
        assert!(!is("text/plain; application/json"));
        assert!(!is("text/json"));
        assert!(!is("application/jsonp"));
    }
}
