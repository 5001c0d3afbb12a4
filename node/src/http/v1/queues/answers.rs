//! Messages as they are shown.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dsync_core::queue::{
    BodyKind, Cause, Content, Death, DeathCause, DeliveryView, Failure, Failures, MessageView,
    StateKind, StateView, SubQueue,
};
use dsync_core::types::ClusterTime;
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::schemas;

/// A message that was delivered.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeliveryAnswer {
    /// The message's id.
    #[schema(value_type = schemas::MessageIdText)]
    id: String,
    /// What settles this delivery.
    #[schema(value_type = schemas::ReceiptText)]
    receipt: String,
    /// The body, if it is JSON, as it was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// The body, if it is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Words beside the body.
    headers: BTreeMap<String, String>,
    /// Which delivery it is since the message came to this sub-queue, from 1.
    deliveries: u32,
    /// How long it is this receiver's alone. Count it from the sending of the request.
    remaining_ms: u64,
    /// Cluster time of the push.
    pushed_ms: u64,
    /// How long ago that was.
    age_ms: u64,
    /// 0 to 9; a higher one is delivered first.
    priority: u8,
    /// The group that it is delivered in order with.
    group: Option<String>,
    /// What went wrong before; null: nothing.
    failures: Option<FailuresAnswer>,
    /// Why it is dead; null: it is not.
    death: Option<DeathAnswer>,
}

/// A message where it stands.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageAnswer {
    /// Its id.
    #[schema(value_type = schemas::MessageIdText)]
    id: String,
    /// In which part of its topic.
    #[schema(value_type = schemas::SubQueueWord)]
    sub_queue: SubQueue,
    /// What it is doing.
    #[schema(value_type = schemas::StateWord)]
    state: StateKind,
    /// What is left of its delay, or of its delivery; null: it is ready.
    remaining_ms: Option<u64>,
    /// Who works on it, if it was received by an original route.
    consumer: Option<String>,
    /// The body, if it is JSON, as it was pushed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// The body, if it is bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Words beside the body.
    headers: BTreeMap<String, String>,
    /// How often it was delivered since it came to this sub-queue.
    deliveries: u32,
    /// Cluster time of the push.
    pushed_ms: u64,
    /// How long ago that was.
    age_ms: u64,
    /// How long it is still wanted; null: for ever.
    expires_in_ms: Option<u64>,
    /// Its bytes, as they are counted.
    bytes: u64,
    /// 0 to 9; a higher one is delivered first.
    priority: u8,
    /// The group that it is delivered in order with.
    group: Option<String>,
    /// What went wrong before; null: nothing.
    failures: Option<FailuresAnswer>,
    /// Why it is dead; null: it is not.
    death: Option<DeathAnswer>,
}

/// The first and the last delivery that went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailuresAnswer {
    /// The first.
    first: FailureAnswer,
    /// The last; it may be the first.
    last: FailureAnswer,
}

/// A delivery that went wrong.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FailureAnswer {
    /// How: `nacked`, `timed_out` or `rejected`.
    #[schema(value_type = String)]
    cause: Cause,
    /// What the worker said; empty if it said nothing, or if there was no room for it.
    reason: String,
    /// Which delivery, from 1.
    delivery: u32,
    /// Cluster time.
    at_ms: u64,
}

/// Why a message is dead.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeathAnswer {
    /// Why: `too_many_deliveries`, `rejected` or `expired`.
    #[schema(value_type = String)]
    cause: DeathCause,
    /// How often it had been delivered.
    deliveries: u32,
    /// Cluster time.
    at_ms: u64,
}

impl DeliveryAnswer {
    /// Draws a delivery as of the entry that made it.
    pub(super) fn new(view: &DeliveryView, now: ClusterTime) -> Self {
        let (body, base64) = body(&view.content);
        Self {
            id: view.receipt.message.to_string(),
            receipt: view.receipt.to_string(),
            body,
            base64,
            headers: view.content.headers.iter().cloned().collect(),
            deliveries: view.deliveries,
            remaining_ms: view.ends_at.since(now),
            pushed_ms: view.content.pushed_at.0,
            age_ms: now.since(view.content.pushed_at),
            priority: view.content.priority,
            group: view.content.group.clone(),
            failures: view.failures.as_deref().map(failures),
            death: view.death.map(death),
        }
    }
}

impl MessageAnswer {
    /// Draws a message as of a moment.
    pub(super) fn new(view: &MessageView, now: ClusterTime) -> Self {
        let (body, base64) = body(&view.content);
        let (state, until, consumer) = match &view.state {
            StateView::Ready => (StateKind::Ready, None, None),
            StateView::Delayed { until } => (StateKind::Delayed, Some(*until), None),
            StateView::InFlight { consumer, ends_at, .. } => {
                (StateKind::InFlight, Some(*ends_at), consumer.as_ref().map(|it| it.name.clone()))
            }
        };
        Self {
            id: view.id.to_string(),
            sub_queue: view.sub_queue,
            state,
            remaining_ms: until.map(|until| until.since(now)),
            consumer,
            body,
            base64,
            headers: view.content.headers.iter().cloned().collect(),
            deliveries: view.deliveries,
            pushed_ms: view.content.pushed_at.0,
            age_ms: now.since(view.content.pushed_at),
            expires_in_ms: view.expires_at.map(|at| at.since(now)),
            bytes: view.bytes,
            priority: view.content.priority,
            group: view.content.group.clone(),
            failures: view.failures.as_deref().map(failures),
            death: view.death.map(death),
        }
    }
}

/// A body as JSON, or as bytes in base64.
fn body(content: &Content) -> (Option<Box<RawValue>>, Option<String>) {
    let json = match content.kind {
        BodyKind::Json => serde_json::from_slice(&content.body).ok(),
        BodyKind::Bytes => None,
    };
    let bytes = json.is_none().then(|| STANDARD.encode(&content.body));
    (json, bytes)
}

fn failures(failures: &Failures) -> FailuresAnswer {
    let draw = |failure: &Failure| FailureAnswer {
        cause: failure.cause,
        reason: failure.reason.clone(),
        delivery: failure.delivery,
        at_ms: failure.at.0,
    };
    FailuresAnswer { first: draw(&failures.first), last: draw(&failures.last) }
}

fn death(death: Death) -> DeathAnswer {
    DeathAnswer { cause: death.cause, deliveries: death.deliveries, at_ms: death.at.0 }
}
