//! `GET /v1/events`: what happens to locks, as it happens, resumable by record number.
//!
//! Every event has a number, the same on every node: its place in the audit trail. A watcher that was
//! cut off goes on from the number after the last one that it has seen, on any node; a number that has
//! fallen out of that node's memory is 410 `compacted`, with the oldest one that is left.
//!
//! Two forms of one stream, by `Accept`:
//!
//! - `text/event-stream` (SSE): an event has its number as `id`, its kind as `event`, and JSON as
//!   `data`. A browser's EventSource resumes by itself (`Last-Event-ID`).
//! - `application/jsonl` or `application/x-ndjson`: a JSON object a line. What is no event is an object
//!   with one member, `bookmark` or `end`.
//!
//! Every 10 s without an event comes a *bookmark*: the number up to which everything has been seen. It
//! keeps the connection alive through proxies, shows a dead one, and lets a watcher of a quiet name
//! resume where it is rather than where the last event was. Rejected: empty heartbeats, after which
//! such a watcher would find its old number compacted.
//!
//! A watcher pulls; what it does not read costs nobody anything but its own connection, which the
//! write timeout ends. A drain ends the stream with an `end` that says so.

mod form;
mod stream;

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use crate::events::{EventFilter, Subscription, WatchEnd};
use crate::handle::SubmitError;
use crate::http::envelope::RequestContext;
use crate::http::fields::EXACT_INTEGER_MAX;
use crate::http::params::Params;
use crate::http::problem::Fault;
use crate::http::request_id;
use crate::http::{Site, locks_view};

use super::problems::ReadProblems;
use form::Form;
pub use form::{EventAnswer, EventLine, EventLock};
use stream::EventStream;

/// From one sign of life to the next.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Longest stream that can be asked for; without a word a stream has no end.
const TIMEOUT_MS_MAX: u64 = 24 * 3_600_000;
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A proxy that collects answers before it passes them on would hold the events back.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What happens to locks, as it happens.
///
/// Without `from` and `Last-Event-ID` the stream begins with what comes next.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "watch_events", tag = "events",
    params(
        ("name" = Option<String>, Query, min_length = 1, max_length = 256,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", description = "Only events about this lock."),
        ("prefix" = Option<String>, Query, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$",
            description = "Only events about locks whose names begin so. Not beside `name`."),
        ("from" = Option<u64>, Query, minimum = 1, maximum = 9_007_199_254_740_991_u64,
            description = "Number of the first event that is wanted."),
        ("timeout" = Option<super::schemas::Duration>, Query,
            description = "When the stream shall end, at most 24 hours; never if absent."),
        ("Last-Event-ID" = Option<String>, Header, pattern = "^[0-9]{0,15}$",
            description = "Number of the last event that was seen; counts before `from`."),
    ),
    responses(
        (status = 200, description = "The stream.", content(
            (String = "text/event-stream"),
            (EventLine = "application/jsonl"),
            (EventLine = "application/x-ndjson"),
        )),
        EventProblems,
        ReadProblems,
    ),
)]
pub async fn watch(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    try_watch(&site, &uri, &headers).unwrap_or_else(|fault| fault.into_problem(&context))
}

fn try_watch(site: &Site, uri: &Uri, headers: &HeaderMap) -> Result<Response, Fault> {
    let form = Form::accepted(headers.get_all(ACCEPT))?;
    let params = Params::read(uri, &["name", "prefix", "from", "timeout"])?;
    let filter = filter(site, &params)?;
    let from = from(&params, headers)?;
    let timeout = params.duration_up_to("timeout", TIMEOUT_MS_MAX)?.map(Duration::from_millis);
    let seat = site.seat_to_wait()?;
    let subscription = subscribe(site, from, filter)?;
    let stream = EventStream::new(subscription, form, timeout, HEARTBEAT).with_seat(seat);
    let mut response = Body::new(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn filter(site: &Site, params: &Params) -> Result<EventFilter, Fault> {
    let bytes_max = locks_view::name_bytes_max(&site.node.machine());
    match (params.name("name", bytes_max)?, params.text("prefix", bytes_max)?) {
        (Some(_), Some(_)) => Err(Fault::field("prefix", "prefix cannot stand beside name")),
        (Some(name), None) => Ok(EventFilter::Name(name.to_owned())),
        (None, None | Some("")) => Ok(EventFilter::All),
        (None, Some(prefix)) => Ok(EventFilter::Prefix(prefix.to_owned())),
    }
}

/// An EventSource that reconnects repeats its first URL, so the header counts before the parameter.
fn from(params: &Params, headers: &HeaderMap) -> Result<Option<u64>, Fault> {
    let asked = params.number("from", 1..=EXACT_INTEGER_MAX)?;
    let Some(last) = request_id::one(headers, &LAST_EVENT_ID)?.filter(|id| !id.is_empty()) else {
        return Ok(asked);
    };
    let digits = last.bytes().all(|b| b.is_ascii_digit());
    match last.parse::<u64>().ok().filter(|last| digits && *last < EXACT_INTEGER_MAX) {
        Some(last) => Ok(Some(last + 1)),
        None => Err(Fault::field("last-event-id", "last-event-id must be an event's number")),
    }
}

fn subscribe(site: &Site, from: Option<u64>, filter: EventFilter) -> Result<Subscription, Fault> {
    if site.health.is_draining() {
        return Err(SubmitError::Stopping.into());
    }
    site.node.events().subscribe(from, filter).map_err(|end| match end {
        WatchEnd::Compacted { oldest } => Fault::compacted(oldest),
        WatchEnd::Stopping => SubmitError::Stopping.into(),
    })
}

/// What only this route fails with.
struct EventProblems;

impl utoipa::IntoResponses for EventProblems {
    fn responses() -> std::collections::BTreeMap<
        String,
        utoipa::openapi::RefOr<utoipa::openapi::response::Response>,
    > {
        let own = [
            (406, "None of the types that are accepted is to be had."),
            (410, "Events are wanted that are not kept any more: `oldest` is."),
        ];
        own.iter().map(super::problems::problem).collect()
    }
}
