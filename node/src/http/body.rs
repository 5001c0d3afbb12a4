//! Bodies: how much of one is read, and from whom. What is in one: [`super::fields`].
//!
//! A body is read only as far as it is wanted: a declared length above the limit is refused unread,
//! one that grows above it is cut there, one that trickles is cut by time. Those above 16 KiB, and
//! those of unknown length, take one of a few seats first, so that every connection sending the
//! longest allowed body at once costs some megabytes and not gigabytes; ordinary requests never need
//! a seat and are not held up by those who do.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, HeaderName};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::sync::OwnedSemaphorePermit;

use super::Site;
use super::problem::Fault;

/// Longest body that is read without a seat.
const SMALL_BODY_BYTES_MAX: u64 = 16 << 10;
/// The unit in which the room for bodies of queue routes is counted.
pub(super) const QUEUE_ROOM_BYTES: u64 = 1 << 10;
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

/// Refuses every type but JSON: `/v1` has no clients from before.
///
/// # Errors
/// If the type is another, or none is said.
pub fn require_json(headers: &HeaderMap) -> Result<(), Fault> {
    match is_json(headers) {
        true => Ok(()),
        false => {
            Err(Fault::media_type("the body must be JSON, with `Content-Type: application/json`"))
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(CONTENT_TYPE).map(|value| value.to_str());
    matches!(given, Some(Ok(given)) if is_json_type(given))
}

/// `application/json` or any `application/...+json`, whatever its parameters.
pub(super) fn is_json_type(given: &str) -> bool {
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

/// Reads a body to its end, within the site's limits.
///
/// # Errors
/// If it is too long or too slow, or the connection broke.
pub async fn read(site: &Site, request: Request) -> Result<Bytes, Fault> {
    read_at_most(site, request, site.limits.body_bytes_max).await
}

/// The same within another length.
///
/// # Errors
/// If it is too long or too slow, or the connection broke.
pub async fn read_at_most(site: &Site, request: Request, limit: usize) -> Result<Bytes, Fault> {
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

/// A body of a queue route, and the room that it takes among them until that is dropped: not when it is
/// read, but when nothing of it is needed any more. A small one takes none.
///
/// # Errors
/// If it is too long or too slow, or the connection broke.
pub async fn read_for_queues(
    site: &Site,
    request: Request,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Fault> {
    let limit = site.limits.queue_body_bytes_max;
    let length = declared_length(request.headers());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(Fault::too_large(limit));
    }
    let reading = async {
        let room = match length {
            Some(0..=SMALL_BODY_BYTES_MAX) => None,
            length => {
                let bytes = length.unwrap_or(limit as u64).div_ceil(QUEUE_ROOM_BYTES);
                let count = u32::try_from(bytes).unwrap_or(u32::MAX);
                Arc::clone(&site.queue_bodies).acquire_many_owned(count).await.ok()
            }
        };
        Ok((collect(request.into_body(), limit).await?, room))
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

#[cfg(test)]
mod tests {
    use super::*;

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
