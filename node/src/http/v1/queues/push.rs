//! `POST /v1/queues/{topic}/push`: messages, each with a result of its own.
//!
//! What is wrong with a message in itself is found here, before anything is sent: the whole request is
//! then refused, naming the message. Whether there is room, and whether it was pushed before, only the
//! log knows.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use dsync_core::encoding::encoded_bytes;
use dsync_core::queue::{BodyKind, Content, PRIORITY_MAX, PushItem, PushOutcome};
use dsync_core::types::ClusterTime;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::asking::{Asked, Form, TopicPath, name_bytes_max};
use super::problems::QueueWriteProblems;
use super::results::Results;
use super::schemas::{self, ItemError};
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::fields::Fields;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::schemas::{Duration, RequestIdHeaders};

const FORM: Form = Form { known: &["messages"], kept: Some("body"), repeatable: true };
const FIELDS: [&str; 8] =
    ["body", "base64", "headers", "delay", "ttl", "priority", "group", "dedupe_key"];

/// Messages.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct PushRequest {
    /// 1 to 1000 of them.
    #[schema(min_items = 1, max_items = 1000)]
    messages: Vec<PushMessageRequest>,
}

/// A message. It has either `body` or `base64`.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct PushMessageRequest {
    /// The body: any JSON but null, kept as it is written.
    body: Option<Value>,
    /// The body, if it is bytes: standard alphabet, with padding.
    base64: Option<String>,
    /// Words beside the body.
    headers: Option<BTreeMap<String, String>>,
    /// How long it is not ready; at most 366 days.
    delay: Option<Duration>,
    /// How long it is wanted, from the push; 0: for ever. The topic's if absent.
    ttl: Option<Duration>,
    /// A higher one is delivered first; 0 if absent.
    #[schema(minimum = 0, maximum = 9)]
    priority: Option<u8>,
    /// Messages of one group are delivered one after the other.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    group: Option<String>,
    /// A push with the same key within the topic's window makes no second message.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    dedupe_key: Option<String>,
}

/// What came of each message.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PushAnswer {
    /// In the order of the messages.
    #[schema(value_type = Vec<PushResult>)]
    results: Vec<Value>,
    /// What an acknowledged message survives: `quorum`, the loss of any minority of the nodes.
    durability: &'static str,
    /// The newest log entry that holds one of them.
    index: u64,
}

/// What came of one message: `id` and `duplicate`, or `error`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct PushResult {
    /// Its id.
    #[schema(value_type = Option<schemas::MessageIdText>)]
    id: Option<String>,
    /// It was pushed before under its `dedupe_key`, and this is the id of then.
    duplicate: Option<bool>,
    /// Why it was not taken.
    error: Option<ItemError>,
}

/// Pushes messages, and makes the topic if it is not there.
///
/// If no message was taken, the answer is the problem of the first one, with all of them in `results`:
/// 429 `limit_reached`, 422 `dedupe_key_reused`, ...
#[utoipa::path(
    post, path = "/v1/queues/{topic}/push", operation_id = "push_messages", tag = "queues",
    params(schemas::TopicInPath, RequestIdHeaders),
    request_body = PushRequest,
    responses((status = 200, description = "Pushed.", body = PushAnswer), QueueWriteProblems),
)]
pub async fn push(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    request: Request,
) -> Response {
    try_push(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_push(site: &Site, path: TopicPath, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, path, request, FORM).await?;
    let now = site.node.machine().time();
    let messages = asked.fields.objects("messages", asked.batch_max(), &FIELDS)?;
    let items = messages.iter().enumerate().map(|(at, fields)| item(&asked, at, fields, now));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let (topic, asker) = (asked.topic.clone(), asked.asker(site));
    let results = site.node.queues().push(topic, false, items, asker).await;
    let Results { items: results, index } = Results::draw(results, |_| json!({}), drawn)?;
    Ok(typed_answer(&PushAnswer { results, durability: "quorum", index: index.0 }))
}

fn item(asked: &Asked, at: usize, fields: &Fields, now: ClusterTime) -> Result<PushItem, Fault> {
    let (rules, names) = (&asked.rules, name_bytes_max(&asked.rules));
    let (kind, body) = body(fields)?;
    let priority = fields.integer("priority", 0..=PRIORITY_MAX.into())?.unwrap_or(0);
    let item = PushItem {
        body,
        kind,
        headers: fields.texts_by_name("headers")?,
        delay_ms: fields.duration_up_to("delay", rules.delay_ms_max)?.unwrap_or(0),
        ttl_ms: fields.duration_up_to("ttl", rules.delay_ms_max)?,
        priority: u8::try_from(priority).unwrap_or(PRIORITY_MAX),
        group: fields.name_or_none("group", names)?,
        dedupe_key: fields.name_or_none("dedupe_key", names)?,
    };
    let bytes = message_bytes(&item, now);
    if bytes <= rules.message_bytes_max {
        return Ok(item);
    }
    let (field, max) = (format!("messages[{at}]"), rules.message_bytes_max);
    let detail = format!("{field} has {bytes} bytes, all told; at most {max} (message_bytes_max)");
    Err(Fault::field(&field, detail))
}

/// As the machine counts them.
pub(in crate::http) fn message_bytes(item: &PushItem, now: ClusterTime) -> u64 {
    encoded_bytes(&Content {
        body: item.body.clone(),
        kind: item.kind,
        headers: item.headers.clone(),
        priority: item.priority,
        group: item.group.clone(),
        ttl_ms: item.ttl_ms.unwrap_or(0),
        pushed_at: now,
    })
}

fn body(fields: &Fields) -> Result<(BodyKind, Bytes), Fault> {
    match (fields.kept_json("body")?, fields.text_up_to("base64", usize::MAX)?) {
        (Some(json), None) => Ok((BodyKind::Json, Bytes::copy_from_slice(json.as_bytes()))),
        (None, Some(text)) => match STANDARD.decode(text) {
            Ok(bytes) => Ok((BodyKind::Bytes, bytes.into())),
            Err(error) => Err(fields.wrong("base64", &format!("is not base64: {error}"))),
        },
        (Some(_), Some(_)) => Err(fields.wrong("base64", "cannot stand beside body")),
        (None, None) => Err(fields.wrong("body", "is missing: any JSON but null, or base64")),
    }
}

fn drawn(outcome: PushOutcome) -> Result<Value, Fault> {
    match outcome {
        PushOutcome::Pushed(id) => Ok(json!({ "id": id.to_string(), "duplicate": false })),
        PushOutcome::Duplicate(id) => Ok(json!({ "id": id.to_string(), "duplicate": true })),
        PushOutcome::Refused(refusal) => Err(refusal.into()),
    }
}
