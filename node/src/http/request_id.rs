//! The id that a client gives to a request, so that it may be sent again with one effect.
//!
//! | header | form | for |
//! |---|---|---|
//! | `Idempotency-Key` | 1 to 256 printable ASCII characters | anybody; remembered for a while after the request is settled |
//! | `Dsync-Request` | `CLIENT-SEQUENCE-LOWWATER` | clients that number their requests, and say which are settled |

use dsync_core::machine::RequestId;
use http::{HeaderMap, HeaderName};

use super::fields::EXACT_INTEGER_MAX;
use super::problem::Fault;

/// Any word of the client's.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// A numbered request.
pub const DSYNC_REQUEST: HeaderName = HeaderName::from_static("dsync-request");

const KEY_BYTES_MAX: usize = 256;

/// The request's id, if the client gave one.
///
/// # Errors
/// If it is malformed, or both headers are there.
pub fn read(headers: &HeaderMap) -> Result<Option<RequestId>, Fault> {
    match (one(headers, &IDEMPOTENCY_KEY)?, one(headers, &DSYNC_REQUEST)?) {
        (None, None) => Ok(None),
        (Some(key), None) => self::key(key).map(Some),
        (None, Some(numbers)) => numbered(numbers).map(Some),
        (Some(_), Some(_)) => {
            Err(wrong(&DSYNC_REQUEST, "cannot stand beside idempotency-key: a request has one id"))
        }
    }
}

/// The only value of a header.
///
/// # Errors
/// If there are several, or it is not UTF-8.
pub fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(wrong(name, "is given twice"));
    }
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| wrong(name, "is not UTF-8"))?;
    Ok(Some(text))
}

/// For requests that can be repeated as they are, or not at all.
///
/// # Errors
/// If the client gave one.
pub fn refuse(headers: &HeaderMap) -> Result<(), Fault> {
    match [IDEMPOTENCY_KEY, DSYNC_REQUEST].into_iter().find(|name| headers.contains_key(name)) {
        None => Ok(()),
        Some(name) => {
            let detail = format!("the header {name} is not taken here: see docs/protocol.md");
            Err(Fault::field(name.as_str(), detail))
        }
    }
}

fn key(key: &str) -> Result<RequestId, Fault> {
    // What else a header may hold reads differently from one proxy to the next.
    let printable = key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match printable && (1..=KEY_BYTES_MAX).contains(&key.len()) {
        true => Ok(RequestId::Key(key.to_owned())),
        false => Err(wrong(&IDEMPOTENCY_KEY, "must be 1 to 256 printable ASCII characters")),
    }
}

fn numbered(text: &str) -> Result<RequestId, Fault> {
    parse_numbered(text).ok_or_else(|| {
        let form = "must be CLIENT-SEQUENCE-LOWWATER: 1 to 16 hex digits, and two decimal numbers \
                    from 1 to 2^53-1, of which the second is not the greater";
        wrong(&DSYNC_REQUEST, form)
    })
}

fn parse_numbered(text: &str) -> Option<RequestId> {
    let mut parts = text.split('-');
    let (client, sequence, low_water) = (parts.next()?, parts.next()?, parts.next()?);
    let hex = client.len() <= 16 && client.bytes().all(|b| b.is_ascii_hexdigit());
    let client = u64::from_str_radix(client, 16).ok().filter(|_| hex)?;
    let (sequence, low_water) = (number(sequence)?, number(low_water)?);
    let whole = parts.next().is_none() && low_water <= sequence;
    whole.then_some(RequestId::Numbered { client, sequence, low_water })
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=EXACT_INTEGER_MAX).contains(number))
}

fn wrong(name: &HeaderName, reason: &str) -> Fault {
    Fault::field(name.as_str(), format!("the header {name} {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(name: HeaderName, value: &str) -> Result<Option<RequestId>, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(name, http::HeaderValue::from_bytes(value.as_bytes()).unwrap());
        read(&headers)
    }

    #[test]
    fn a_key_is_printable_and_numbers_are_three() {
        let key = read_one(IDEMPOTENCY_KEY, "order 7/~");
        assert_eq!(key, Ok(Some(RequestId::Key("order 7/~".to_owned()))));
        let numbered = RequestId::Numbered { client: 0xab, sequence: 12, low_water: 9 };
        assert_eq!(read_one(DSYNC_REQUEST, "00000000000000ab-12-9"), Ok(Some(numbered)));
        assert_eq!(read(&HeaderMap::new()), Ok(None));
    }

    #[test]
    fn a_malformed_id_is_refused_by_the_name_of_its_header() {
        let long = "k".repeat(257);
        for (header, value) in [
            (IDEMPOTENCY_KEY, ""),
            (IDEMPOTENCY_KEY, long.as_str()),
            (IDEMPOTENCY_KEY, "ü"),
            (IDEMPOTENCY_KEY, "a\tb"),
            (DSYNC_REQUEST, ""),
            (DSYNC_REQUEST, "ab-1"),
            (DSYNC_REQUEST, "-1-1"),
            (DSYNC_REQUEST, "xy-1-1"),
            (DSYNC_REQUEST, "+a-1-1"),
            (DSYNC_REQUEST, "ab-0-0"),
            (DSYNC_REQUEST, "ab-1-2"),
            (DSYNC_REQUEST, "ab-+1-1"),
            (DSYNC_REQUEST, "ab-1-1-1"),
            (DSYNC_REQUEST, "00000000000000000ab-1-1"),
            (DSYNC_REQUEST, "ab-9007199254740992-1"),
        ] {
            let fault = read_one(header.clone(), value).unwrap_err();
            assert_eq!(fault.field.as_deref(), Some(header.as_str()), "{value}");
        }
    }

    #[test]
    fn two_ids_are_one_too_many() {
        let mut headers = HeaderMap::new();
        headers.insert(IDEMPOTENCY_KEY, http::HeaderValue::from_static("a"));
        headers.append(IDEMPOTENCY_KEY, http::HeaderValue::from_static("b"));
        assert!(read(&headers).is_err());
        headers.insert(IDEMPOTENCY_KEY, http::HeaderValue::from_static("a"));
        headers.insert(DSYNC_REQUEST, http::HeaderValue::from_static("ab-1-1"));
        assert!(read(&headers).is_err());
    }
}
