//! `/v1/queues/{topic}/messages/{id}`: one message, wherever it stands; and out of the topic with it.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::queue::{QueueOperation, QueueOutcome, QueueRefusal, Remove};
use http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::answers::MessageAnswer;
use super::asking::{self, MessagePath, message_of, no_message};
use super::problems::{QueueReadProblems, QueueWriteProblems};
use super::reader::{Position, Reader};
use super::schemas;
use crate::http::envelope::RequestContext;
use crate::http::original::ANONYMOUS;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::schemas::ConsistencyParam;
use crate::http::{Site, request_id};

/// A message, and the moment of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct MessageNowAnswer {
    /// The message.
    message: MessageAnswer,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// A message that is gone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RemoveAnswer {
    /// Its id.
    #[schema(value_type = schemas::MessageIdText)]
    id: String,
    /// True.
    removed: bool,
    /// Log entry of the removal.
    index: u64,
}

/// A message, whatever it is doing.
#[utoipa::path(
    get, path = "/v1/queues/{topic}/messages/{id}", operation_id = "get_message", tag = "queues",
    params(schemas::MessageInPath, ConsistencyParam),
    responses(
        (status = 200, description = "The message.", body = MessageNowAnswer),
        QueueReadProblems,
    ),
)]
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: MessagePath,
    uri: Uri,
) -> Response {
    try_get(&site, path, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Takes a message out of its topic, whatever it is doing; so a delayed one is cancelled.
#[utoipa::path(
    delete, path = "/v1/queues/{topic}/messages/{id}", operation_id = "remove_message",
    tag = "queues", params(schemas::MessageInPath),
    responses((status = 200, description = "It is gone.", body = RemoveAnswer), QueueWriteProblems),
)]
pub async fn remove(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: MessagePath,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    try_remove(&site, path, &uri, &headers)
        .await
        .unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_get(site: &Site, path: MessagePath, uri: &Uri) -> Result<Response, Fault> {
    let (topic, id) = message_of(site, path)?;
    let params = Params::read(uri, &["consistency"])?;
    let reader = Reader::open(site, &params, &topic).await?;
    let (view, Position { index, now }) = reader.message(id).await?;
    let view = view.ok_or_else(|| no_message(&topic, id))?;
    let message = MessageAnswer::new(&view, now);
    Ok(reader.mark(typed_answer(&MessageNowAnswer { message, index: index.0, time_ms: now.0 })))
}

async fn try_remove(
    site: &Site,
    path: MessagePath,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let (topic, message) = message_of(site, path)?;
    Params::refuse_all(uri)?;
    request_id::refuse(headers)?;
    let (principal, id) = (ANONYMOUS.to_owned(), message.to_string());
    let remove = Remove { principal, topic: topic.clone(), message };
    let done = asking::submit(site, &topic, QueueOperation::Remove(remove)).await;
    match done.map_err(|fault| named(fault, &topic, message))? {
        (index, QueueOutcome::Removed) => {
            Ok(typed_answer(&RemoveAnswer { id, removed: true, index: index.0 }))
        }
        (_, other) => Err(asking::unexpected(&other)),
    }
}

/// Says which.
fn named(fault: Fault, topic: &str, id: dsync_core::queue::MessageId) -> Fault {
    match fault.code {
        code if code == QueueRefusal::NoMessage.code() => no_message(topic, id),
        code if code == QueueRefusal::NoTopic.code() => asking::no_topic(topic),
        _ => fault,
    }
}
