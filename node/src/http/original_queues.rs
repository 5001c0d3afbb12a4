//! The original queue routes: `POST /queue/push`, `GET /queue/pop/{topic}/{consumer_id}` and
//! `POST /queue/ack/{topic}`.
//!
//! They are what clients spoke before this server, so their shape is fixed: one message at a time, any
//! JSON, no receipts. A message and its consumer stand for the message's latest delivery, if it was to
//! that consumer. Errors keep the shape too, as with locks ([`super::original`]).
//!
//! A topic that is made here delivers its messages any number of times: there are no dead ones, since no
//! old client would look for them.

use std::time::Instant;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use dsync_core::queue::{
    BodyKind, Consumer, DeliveryRef, DeliveryView, PushItem, PushOutcome, SettleItem,
    SettleOutcome, Verdict,
};
use http::{HeaderMap, Uri};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::envelope::RequestContext;
use super::fields::{Fields, check_name};
use super::original::{ANONYMOUS, draw};
use super::params::Params;
use super::problem::{Fault, json_answer, typed_answer};
use super::v1::queues::push::message_bytes;
use super::v1::queues::receive::take_one;
use super::v1::settings;
use super::{Site, body};
use crate::queues::Asker;

/// A message, as it was pushed.
#[derive(Serialize)]
struct Popped {
    success: bool,
    message_id: String,
    message: Box<RawValue>,
    topic: String,
    consumer_id: String,
    deliveries: u32,
}

/// `POST /queue/push`
pub async fn push(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_push(&site, request).await.unwrap_or_else(|fault| draw(fault, &context))
}

/// `GET /queue/pop/{topic}/{consumer_id}`
pub async fn pop(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    try_pop(&site, path, &uri, &headers).await.unwrap_or_else(|fault| draw(fault, &context))
}

/// `POST /queue/ack/{topic}`
pub async fn ack(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Response {
    try_ack(&site, path, request).await.unwrap_or_else(|fault| draw(fault, &context))
}

async fn try_push(site: &Site, request: Request) -> Result<Response, Fault> {
    body::refuse_foreign_page(request.headers())?;
    let (bytes, _room) = body::read_for_queues(site, request).await?;
    let fields = Fields::parse_keeping(&bytes, "message")?;
    let topic = fields.name("topic", name_bytes_max(site))?;
    let message = fields.kept_json("message")?;
    let message =
        message.ok_or_else(|| fields.wrong("message", "is missing: any JSON but null"))?;
    let item = item(site, message)?;
    let mut results = site.node.queues().push(topic.clone(), true, vec![item], asker(site)).await;
    let result = results.pop().ok_or_else(Fault::internal)?;
    match result.map_err(Fault::queues)?.1 {
        PushOutcome::Pushed(id) | PushOutcome::Duplicate(id) => {
            let mut body = answer(true, format!("Message pushed to topic {topic}"));
            body.insert("message_id".to_owned(), json!(id.to_string()));
            Ok(json_answer(body))
        }
        PushOutcome::Refused(refusal) => Err(refusal.into()),
    }
}

fn item(site: &Site, message: &str) -> Result<PushItem, Fault> {
    let item = PushItem {
        body: Bytes::copy_from_slice(message.as_bytes()),
        kind: BodyKind::Json,
        headers: Vec::new(),
        delay_ms: 0,
        ttl_ms: None,
        priority: 0,
        group: None,
        dedupe_key: None,
    };
    let machine = site.node.machine();
    let max = settings(&machine).queues.message_bytes_max;
    if message_bytes(&item, machine.time()) <= max {
        return Ok(item);
    }
    Err(Fault::field("message", format!("message must not be larger than {max} bytes, all told")))
}

async fn try_pop(
    site: &Site,
    path: Result<Path<(String, String)>, PathRejection>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    // A page could let its reader's browser take messages away.
    body::refuse_foreign_page(headers)?;
    Params::refuse_all(uri)?;
    let Path((topic, name)) = path.map_err(|error| Fault::field("topic", error.body_text()))?;
    let topic = checked(site, "topic", topic)?;
    let consumer = consumer(checked(site, "consumer_id", name)?);
    let delivered = take_one(site, topic.clone(), consumer.clone()).await?;
    let nothing = || json_answer(answer(false, format!("No message in topic {topic}")));
    let Some(delivered) = delivered else { return Ok(nothing()) };
    let Some(view) = delivered.views().first() else { return Ok(nothing()) };
    let response = typed_answer(&Popped {
        success: true,
        message_id: view.receipt.message.to_string(),
        message: message(view)?,
        topic: topic.clone(),
        consumer_id: consumer.name,
        deliveries: view.deliveries,
    });
    delivered.hand_over();
    Ok(response)
}

/// A body that is bytes was pushed by a route that knows them; here it is a text, in base64.
fn message(view: &DeliveryView) -> Result<Box<RawValue>, Fault> {
    let json = match view.content.kind {
        BodyKind::Json => serde_json::from_slice(&view.content.body).ok(),
        BodyKind::Bytes => None,
    };
    let text = || {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(&view.content.body);
        serde_json::value::to_raw_value(&text).map_err(|_| Fault::internal())
    };
    json.map_or_else(text, Ok)
}

async fn try_ack(
    site: &Site,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Fault> {
    body::refuse_foreign_page(request.headers())?;
    Params::refuse_all(request.uri())?;
    let Path(topic) = path.map_err(|error| Fault::field("topic", error.body_text()))?;
    let topic = checked(site, "topic", topic)?;
    let fields = Fields::parse(&body::read(site, request).await?)?;
    let consumer = consumer(fields.name("consumer_id", name_bytes_max(site))?);
    let id = fields.name("message_id", 64)?;
    let (name, refused) =
        (consumer.name.clone(), |why: &str| Ok(json_answer(answer(false, why.to_owned()))));
    let Ok(message) = id.parse() else {
        return refused(&format!("There is no message {id} in topic {topic}"));
    };
    let delivery = DeliveryRef::Latest { message, consumer };
    let items = vec![SettleItem { delivery, verdict: Verdict::Ack }];
    let mut results = site.node.queues().settle(topic.clone(), items, asker(site)).await;
    let result = results.pop().ok_or_else(Fault::internal)?;
    match result.map_err(Fault::queues)?.1 {
        SettleOutcome::Acked => {
            Ok(json_answer(answer(true, format!("Message {id} acknowledged by {name}"))))
        }
        SettleOutcome::Refused(refusal) if Fault::from(refusal.clone()).status != 404 => {
            Err(refusal.into())
        }
        _ => refused(&format!("Message {id} is not {name}'s (any more); nothing changed")),
    }
}

fn asker(site: &Site) -> Asker {
    let deadline = Instant::now() + site.limits.deadline;
    Asker { principal: ANONYMOUS.to_owned(), request: None, deadline }
}

fn consumer(name: String) -> Consumer {
    Consumer { principal: ANONYMOUS.to_owned(), name }
}

fn checked(site: &Site, field: &str, name: String) -> Result<String, Fault> {
    match check_name(&name, name_bytes_max(site)) {
        Ok(()) => Ok(name),
        Err(reason) => Err(Fault::field(field, format!("{field} {reason}"))),
    }
}

fn name_bytes_max(site: &Site) -> usize {
    let max = settings(&site.node.machine()).queues.name_bytes_max;
    usize::try_from(max).unwrap_or(usize::MAX)
}

fn answer(success: bool, message: String) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("success".to_owned(), Value::Bool(success));
    body.insert("message".to_owned(), Value::String(message));
    body
}
