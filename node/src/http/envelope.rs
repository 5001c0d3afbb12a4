//! What every answer has in common, whatever route made it: a request id, the leader's name, a count
//! in the metrics, and a problem instead of a broken connection when a handler panics.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use dsync_core::contract::LEADER_HEADER;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::Site;
use super::problem::Fault;
use crate::handle::NodeStatus;
use crate::metrics::{RequestLabels, RouteLabel};

/// Names a request in the answer, the log and every problem.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// W3C trace context; echoed so that a caller finds its own trace in an answer.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

const REQUEST_ID_BYTES_MAX: usize = 128;
const TRACEPARENT_BYTES_MAX: usize = 128;

/// What a handler may say about the request that it serves.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// Given by the client, or minted here.
    pub request_id: String,
    /// Who led when the request came, as far as this node knows.
    pub leader: Option<String>,
}

/// The layer. Must be the outermost one.
pub(super) async fn wrap(State(site): State<Site>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let context = RequestContext {
        request_id: request_id(&site, request.headers()),
        leader: leader_name(&site.node.status()),
    };
    let labels = labels(&request);
    let traceparent = request.headers().get(TRACEPARENT).cloned();
    let acceptable = acceptable(&site, &request);
    request.extensions_mut().insert(context.clone());
    let answering = async {
        match acceptable {
            Ok(()) => next.run(request).await,
            Err(fault) => fault.into_problem(&context),
        }
    };
    let mut response = catch_panic(answering).await.unwrap_or_else(|()| {
        tracing::error!(
            request_id = context.request_id,
            route = labels.route,
            "a handler panicked"
        );
        Fault::internal().into_problem(&context)
    });
    mark(&site, &context, traceparent, response.headers_mut());
    let status = response.status().as_u16();
    tracing::debug!(
        request_id = context.request_id,
        method = labels.method,
        route = labels.route,
        status,
        elapsed_us = began.elapsed().as_micros(),
        "answered"
    );
    count(&site, &RequestLabels { status, ..labels }, began);
    response
}

/// What is looked at before any route: for whom the request is, from whose page, and whether its path
/// can be read.
fn acceptable(site: &Site, request: &Request) -> Result<(), Fault> {
    site.hosts.check(request.uri(), request.version(), request.headers())?;
    match is_well_escaped(request.uri().path()) {
        true => Ok(()),
        false => Err(Fault::field("path", "the path has a % without two hexadecimal digits")),
    }
}

/// True if two hexadecimal digits follow every `%`. Decoders take what is not so for itself, which
/// would give one name two spellings.
#[must_use]
pub fn is_well_escaped(text: &str) -> bool {
    let mut escapes = text.split('%');
    let _before = escapes.next();
    escapes.all(|rest| {
        rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// The name by which people know the leader; its id in hex if its name is not known here.
#[must_use]
pub fn leader_name(status: &NodeStatus) -> Option<String> {
    let leader = status.raft.leader?;
    let name = status.membership.as_ref().and_then(|membership| membership.names.get(&leader));
    Some(name.map_or_else(|| leader.to_string(), ToString::to_string))
}

fn request_id(site: &Site, headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given {
        Some(id) if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) => id.to_owned(),
        // The boot id is random per process, so the pair is as unique, and says where it was made.
        _ => minted(&site.node.status().boot_id.to_string()),
    }
}

/// A request id that this process has not given yet.
#[must_use]
pub fn minted(prefix: &str) -> String {
    static MINTED: AtomicU64 = AtomicU64::new(1);
    format!("{prefix}-{}", MINTED.fetch_add(1, Ordering::Relaxed))
}

fn labels(request: &Request) -> RequestLabels {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    RequestLabels { route: route.to_owned(), method: method(request.method()), status: 0 }
}

/// Anybody can invent methods; each would be a series for ever.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn mark(
    site: &Site,
    context: &RequestContext,
    traceparent: Option<HeaderValue>,
    headers: &mut HeaderMap,
) {
    if let Ok(id) = HeaderValue::from_str(&context.request_id) {
        headers.insert(REQUEST_ID, id);
    }
    // Asked again: the leader may have changed while the request waited for one.
    let leader = leader_name(&site.node.status());
    if let Some(leader) = leader.and_then(|name| HeaderValue::from_str(&name).ok()) {
        headers.insert(LEADER_HEADER, leader);
    }
    if let Some(trace) = traceparent.filter(|trace| trace.len() <= TRACEPARENT_BYTES_MAX) {
        headers.insert(TRACEPARENT, trace);
    }
}

fn count(site: &Site, labels: &RequestLabels, began: Instant) {
    let metrics = &site.metrics.http;
    let route = RouteLabel { route: labels.route.clone() };
    metrics.request_seconds.get_or_create(&route).observe(began.elapsed().as_secs_f64());
    metrics.requests.get_or_create(labels).inc();
}

/// Runs a handler to its end or to its panic. What the handler shares with others is behind the
/// node's handle and the metrics, which hold no lock across a point where a handler can panic.
async fn catch_panic<F: Future>(handler: F) -> Result<F::Output, ()> {
    let mut handler = pin!(handler);
    poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| handler.as_mut().poll(context)))
            .map_or(std::task::Poll::Ready(Err(())), |poll| poll.map(Ok))
    })
    .await
}
