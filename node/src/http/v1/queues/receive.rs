//! `POST /v1/queues/{topic}/receive`: messages, each this receiver's alone for a while.
//!
//! An empty answer must not overlook what was pushed before on another node, so it is given only after a
//! read round. What is there is delivered by an entry of the log in any case.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::queue::{Consumer, SubQueue};
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::DeliveryAnswer;
use super::asking::{Asked, Form, TopicPath, no_topic};
use super::problems::QueueWriteProblems;
use super::schemas;
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::schemas::Duration as DurationSchema;
use crate::queues::{Delivered, ReceiveError, Wanted};

const FORM: Form = Form::of(&["max", "max_bytes", "wait", "visibility", "sub_queue"]);
/// Longest wait of one request; who wants to wait longer asks again.
const WAIT_MS_MAX: u64 = 60_000;
const BYTES_DEFAULT: u64 = 4 << 20;
const BYTES_MAX: u64 = 8 << 20;

/// What is wanted.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct ReceiveRequest {
    /// Most messages; 1 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    max: Option<u32>,
    /// Most bytes of messages; 4 MiB if absent. The first may be larger.
    #[schema(minimum = 1, maximum = 8_388_608)]
    max_bytes: Option<u64>,
    /// How long to wait for the first message, at most 60 s; 0 if absent.
    wait: Option<DurationSchema>,
    /// How long each is this receiver's alone: 1 ms to 12 h; the topic's if absent.
    visibility: Option<DurationSchema>,
    /// From which part of the topic; `main` if absent.
    sub_queue: Option<schemas::SubQueueWord>,
}

/// Deliveries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReceiveAnswer {
    /// The messages; empty: there is nothing, or the wait is over.
    messages: Vec<DeliveryAnswer>,
    /// Log entry of the delivery; of an empty answer, the newest that it contains.
    index: u64,
}

/// Receives messages, and waits for the first one.
///
/// 404 `no_such_topic`: there is none, at the end of the wait either.
#[utoipa::path(
    post, path = "/v1/queues/{topic}/receive", operation_id = "receive_messages", tag = "queues",
    params(schemas::TopicInPath),
    request_body = ReceiveRequest,
    responses((status = 200, description = "Delivered.", body = ReceiveAnswer), QueueWriteProblems),
)]
pub async fn receive(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    request: Request,
) -> Response {
    try_receive(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_receive(site: &Site, path: TopicPath, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, path, request, FORM).await?;
    let (fields, rules) = (&asked.fields, &asked.rules);
    let max = fields.integer("max", 1..=rules.batch_max.into())?.unwrap_or(1);
    let wait_ms = fields.duration_up_to("wait", WAIT_MS_MAX)?.unwrap_or(0);
    let visibility_ms = fields.duration_up_to("visibility", rules.visibility_ms_max)?;
    if visibility_ms == Some(0) {
        return Err(fields.wrong("visibility", "must be at least 1 ms"));
    }
    let wanted = Wanted {
        topic: asked.topic.clone(),
        sub_queue: asked.sub_queue()?,
        consumer: None,
        max: u32::try_from(max).unwrap_or(rules.batch_max),
        max_bytes: fields.integer("max_bytes", 1..=BYTES_MAX)?.unwrap_or(BYTES_DEFAULT),
        visibility_ms,
        wait: Duration::from_millis(wait_ms),
        step: site.limits.deadline,
    };
    let _seat = if wait_ms > 0 { Some(site.seat_to_wait()?) } else { None };
    let Some(delivered) = take(site, wanted).await? else {
        return empty(site, &asked.topic);
    };
    let now = delivered.stamp();
    let messages = delivered.views().iter().map(|view| DeliveryAnswer::new(view, now)).collect();
    let answer = typed_answer(&ReceiveAnswer { messages, index: delivered.index().0 });
    delivered.hand_over();
    Ok(answer)
}

/// Takes messages, or waits for them. `None`: there is nothing, as of a moment after this was called.
///
/// # Errors
/// If the cluster does not answer.
pub(in crate::http) async fn take(site: &Site, wanted: Wanted) -> Result<Option<Delivered>, Fault> {
    let queues = site.node.queues();
    let shown = site.node.machine().queues().deliverable(&wanted.topic, wanted.sub_queue) > 0;
    if shown {
        let now = Wanted { wait: Duration::ZERO, ..wanted.clone() };
        if let Some(delivered) = queues.receive(now).await.map_err(fault)? {
            return Ok(Some(delivered));
        }
    }
    // This node's state may be behind that of the node at which a push was answered.
    site.read().await?;
    queues.receive(wanted).await.map_err(fault)
}

/// One message for a consumer of the original routes.
///
/// # Errors
/// If the cluster does not answer.
pub(in crate::http) async fn take_one(
    site: &Site,
    topic: String,
    consumer: Consumer,
) -> Result<Option<Delivered>, Fault> {
    let wanted = Wanted {
        topic,
        sub_queue: SubQueue::Main,
        consumer: Some(consumer),
        max: 1,
        max_bytes: BYTES_MAX,
        visibility_ms: None,
        wait: Duration::ZERO,
        step: site.limits.deadline,
    };
    take(site, wanted).await
}

fn empty(site: &Site, topic: &str) -> Result<Response, Fault> {
    let machine = site.node.machine();
    if machine.queues().topic(topic).is_none() {
        return Err(no_topic(topic));
    }
    let index = machine.applied().0;
    Ok(typed_answer(&ReceiveAnswer { messages: Vec::new(), index }))
}

fn fault(error: ReceiveError) -> Fault {
    match error {
        ReceiveError::NotDone(not_done) => Fault::queues(not_done),
        ReceiveError::Refused(refusal) => refusal.into(),
    }
}
