//! `GET /v1/locks`: the locks that somebody holds or waits for, page by page, in the order of names.
//!
//! A page says where the next one begins. Its token holds the last name that was looked at, not a
//! position, so locks that come and go between two pages neither repeat nor hide others; it never
//! grows old. Each page is of its own moment.
//!
//! A page ends early when the locks on it have very many holders and waiters: a page must not cost
//! more than a bounded walk.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::lock::{self, LockAnswer};
use super::problems::ReadProblems;
use super::read::Snapshot;
use crate::handle::ReadState;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::{Site, locks_view};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// A page ends after so many holders and waiters.
const PRESENCES_MAX: usize = 20_000;

/// A page of locks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LocksAnswer {
    /// The locks by name, each with at most 16 holders and 16 waiters.
    locks: Vec<LockAnswer>,
    /// The `continue` of the next page; null: this is the last one.
    #[serde(rename = "continue")]
    next: Option<String>,
    /// Last log entry that the page contains.
    index: u64,
    /// Cluster time of the page.
    time_ms: u64,
}

/// The locks whose names begin so, page by page.
#[utoipa::path(
    get,
    path = "/v1/locks",
    operation_id = "list_locks",
    tag = "locks",
    params(
        ("prefix" = Option<String>, Query, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$",
            description = "Only names that begin so."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Most locks of the page; 100 if absent. A page may have fewer."),
        ("continue" = Option<String>, Query, max_length = 544, pattern = "^([0-9a-f]{2})*$",
            description = "What the page before said. Empty: the first page."),
        super::schemas::ConsistencyParam,
    ),
    responses((status = 200, description = "A page.", body = LocksAnswer), ReadProblems),
)]
pub async fn list(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_list(&site, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_list(site: &Site, uri: &Uri) -> Result<Response, Fault> {
    let params = Params::read(uri, &["prefix", "limit", "continue", "consistency"])?;
    let bytes_max = locks_view::name_bytes_max(&site.node.machine());
    let prefix = params.text("prefix", bytes_max)?.unwrap_or_default();
    let limit = params.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let after = match params.text("continue", 2 * bytes_max + 32)? {
        None | Some("") => String::new(),
        Some(token) => read_token(token, prefix)?,
    };
    let snapshot = Snapshot::take(site, &params).await?;
    let page = page(&snapshot.state, prefix, &after, limit);
    Ok(snapshot.mark(typed_answer(&page)))
}

fn page(state: &ReadState, prefix: &str, after: &str, limit: usize) -> LocksAnswer {
    let (index, time) = locks_view::position(state);
    let mut locks: Vec<LockAnswer> = Vec::new();
    let (mut presences, mut last, mut next) = (0, String::new(), None);
    for view in state.machine.locks().after(prefix, after) {
        if locks.len() >= limit || presences >= PRESENCES_MAX {
            next = Some(token(prefix, &last));
            break;
        }
        presences += view.holders.len() + view.waiters.len();
        locks.push(lock::draw(time, &view, lock::BRIEF_MAX));
        last = view.name;
    }
    LocksAnswer { locks, next, index: index.0, time_ms: time.0 }
}

/// The last name in hex, behind a checksum over it and the prefix: a token of another list, or one that
/// was cut, must not pass for a place in this one.
pub(super) fn token(prefix: &str, last: &str) -> String {
    let bytes = [checksum(prefix, last).to_be_bytes().as_slice(), last.as_bytes()].concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

///
/// # Errors
/// If it is not one of this list.
pub(super) fn read_token(token: &str, prefix: &str) -> Result<String, Fault> {
    let wrong = || Fault::field("continue", "continue is not what a page of this list said");
    let bytes = from_hex(token).ok_or_else(wrong)?;
    let (sum, last) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
    let last = String::from_utf8(last.to_vec()).map_err(|_| wrong())?;
    match u32::from_be_bytes(*sum) == checksum(prefix, &last) {
        true => Ok(last),
        false => Err(wrong()),
    }
}

fn checksum(prefix: &str, last: &str) -> u32 {
    // No name has a zero, so the two cannot be divided in another way.
    crc32c::crc32c([prefix.as_bytes(), &[0], last.as_bytes()].concat().as_slice())
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = text.len().is_multiple_of(2) && digits;
    let byte = |at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(byte).collect::<Option<_>>().filter(|_| whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let token = token("jobs/", "jobs/ü");
        assert_eq!(read_token(&token, "jobs/"), Ok("jobs/ü".to_owned()));
        let cut = &token[..token.len() - 2];
        for (token, prefix) in [
            (token.as_str(), ""),
            (token.as_str(), "jobs"),
            (cut, "jobs/"),
            (&token[1..], "jobs/"),
            ("zz", "jobs/"),
            ("00", "jobs/"),
            ("ü", "jobs/"),
            ("+1+1+1+1", "jobs/"),
        ] {
            assert_eq!(read_token(token, prefix).unwrap_err().field.as_deref(), Some("continue"));
        }
    }
}
