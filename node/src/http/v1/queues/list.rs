//! `GET /v1/queues/{topic}/messages` and `/peek`: what is there, and what comes next. Both change nothing.
//!
//! A page says where the next one begins: behind the last message that was looked at. Messages that come
//! and go between two pages neither repeat nor hide others. It ends early when its messages are large, or
//! when few of those that it looks at are in the wanted state.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::queue::{MessageId, MessageView, StateKind, SubQueue};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::MessageAnswer;
use super::asking::{MESSAGE_ID_FORM, SUB_QUEUES, TopicPath, parse_message, topic_of, with_topic};
use super::problems::QueueReadProblems;
use super::schemas;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::read::Snapshot;
use crate::http::v1::schemas::ConsistencyParam;
use crate::http::{Site, locks_view};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;
/// A page ends with the message that exceeds this.
const PAGE_BYTES_MAX: u64 = 4 << 20;
const STATES: [(&str, StateKind); 3] = [
    ("ready", StateKind::Ready),
    ("delayed", StateKind::Delayed),
    ("in_flight", StateKind::InFlight),
];

/// A page of messages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessagesAnswer {
    /// In the order of their pushes.
    messages: Vec<MessageAnswer>,
    /// The `continue` of the next page; null: this is the last one.
    #[serde(rename = "continue")]
    next: Option<String>,
    /// Last log entry that the page contains.
    index: u64,
    /// Cluster time of the page.
    time_ms: u64,
}

/// What comes next.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PeekAnswer {
    /// In the order in which they would be delivered.
    messages: Vec<MessageAnswer>,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// The messages of a part of a topic, page by page.
#[utoipa::path(
    get, path = "/v1/queues/{topic}/messages", operation_id = "list_messages", tag = "queues",
    params(
        schemas::TopicInPath,
        ("sub_queue" = Option<schemas::SubQueueWord>, Query,
            description = "Which part; `main` if absent."),
        ("state" = Option<schemas::StateWord>, Query, description = "Only those in this state."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Most messages of the page; 100 if absent. A page may have fewer, or none."),
        ("continue" = Option<String>, Query,
            pattern = r"^((0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,8}))?$",
            description = "What the page before said. Empty: the first page."),
        ConsistencyParam,
    ),
    responses((status = 200, description = "A page.", body = MessagesAnswer), QueueReadProblems),
)]
pub async fn list(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    uri: Uri,
) -> Response {
    try_list(&site, path, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// What a receive would deliver next, in that order; of each group its first message.
#[utoipa::path(
    get, path = "/v1/queues/{topic}/peek", operation_id = "peek_messages", tag = "queues",
    params(
        schemas::TopicInPath,
        ("sub_queue" = Option<schemas::SubQueueWord>, Query,
            description = "Which part; `main` if absent."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Most messages; 100 if absent."),
        ConsistencyParam,
    ),
    responses((status = 200, description = "What comes next.", body = PeekAnswer), QueueReadProblems),
)]
pub async fn peek(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    uri: Uri,
) -> Response {
    try_peek(&site, path, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_list(site: &Site, path: TopicPath, uri: &Uri) -> Result<Response, Fault> {
    let topic = topic_of(site, path)?;
    let known = ["sub_queue", "state", "limit", "continue", "consistency"];
    let params = Params::read(uri, &known)?;
    let sub_queue = params.choice("sub_queue", &SUB_QUEUES)?.unwrap_or(SubQueue::Main);
    let state = params.choice("state", &STATES)?;
    let limit = params.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let after = after(&params)?;
    let snapshot = Snapshot::take(site, &params).await?;
    let (index, now) = locks_view::position(&snapshot.state);
    let page = with_topic(&snapshot.state, &topic)?.list(&topic, sub_queue, state, after, limit);
    let fitting = fitting(page.messages.iter());
    let next = match page.messages.get(fitting.saturating_sub(1)) {
        Some(last) if fitting < page.messages.len() => Some(last.id),
        _ => page.next,
    };
    let shown = page.messages.iter().take(fitting);
    Ok(snapshot.mark(typed_answer(&MessagesAnswer {
        messages: shown.map(|view| MessageAnswer::new(view, now)).collect(),
        next: next.map(|id| id.to_string()),
        index: index.0,
        time_ms: now.0,
    })))
}

async fn try_peek(site: &Site, path: TopicPath, uri: &Uri) -> Result<Response, Fault> {
    let topic = topic_of(site, path)?;
    let params = Params::read(uri, &["sub_queue", "limit", "consistency"])?;
    let sub_queue = params.choice("sub_queue", &SUB_QUEUES)?.unwrap_or(SubQueue::Main);
    let limit = params.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let snapshot = Snapshot::take(site, &params).await?;
    let (index, now) = locks_view::position(&snapshot.state);
    let next: Vec<MessageView> =
        with_topic(&snapshot.state, &topic)?.peek(&topic, sub_queue).take(limit).collect();
    let shown = next.iter().take(fitting(next.iter()));
    Ok(snapshot.mark(typed_answer(&PeekAnswer {
        messages: shown.map(|view| MessageAnswer::new(view, now)).collect(),
        index: index.0,
        time_ms: now.0,
    })))
}

fn after(params: &Params) -> Result<Option<MessageId>, Fault> {
    match params.text("continue", 64)? {
        None | Some("") => Ok(None),
        Some(text) => match parse_message(text) {
            Some(id) => Ok(Some(id)),
            None => Err(Fault::field("continue", format!("continue {MESSAGE_ID_FORM}"))),
        },
    }
}

/// How many of them are shown at once: one at least.
fn fitting<'a>(messages: impl Iterator<Item = &'a MessageView>) -> usize {
    let mut bytes = 0;
    let fits = |view: &&MessageView| {
        let before = bytes;
        bytes += view.bytes;
        before < PAGE_BYTES_MAX
    };
    messages.take_while(fits).count()
}
