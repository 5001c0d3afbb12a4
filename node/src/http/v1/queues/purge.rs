//! `POST /v1/queues/{topic}/purge`: takes out what is there.
//!
//! An entry of the log takes a bounded number; this repeats it, as the answer to each says, until nothing
//! is left of what was there when it began, or the time that a request has is over.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::queue::{Purge, QueueOperation, QueueOutcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{self, Asked, Form, TopicPath};
use super::problems::QueueWriteProblems;
use super::schemas;
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::original::ANONYMOUS;
use crate::http::problem::{Fault, typed_answer};

const FORM: Form = Form::of(&["sub_queue"]);

/// What is taken out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct PurgeRequest {
    /// Which part of the topic; `main` if absent.
    sub_queue: Option<schemas::SubQueueWord>,
}

/// What was taken out.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PurgeAnswer {
    /// How many messages.
    messages: u64,
    /// There was no time for all of them: ask again.
    more: bool,
    /// Log entry of the last step.
    index: u64,
}

/// Takes out the messages that are there now, also those that somebody works on.
#[utoipa::path(
    post, path = "/v1/queues/{topic}/purge", operation_id = "purge_topic", tag = "queues",
    params(schemas::TopicInPath),
    request_body = PurgeRequest,
    responses((status = 200, description = "Purged.", body = PurgeAnswer), QueueWriteProblems),
)]
pub async fn purge(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    request: Request,
) -> Response {
    try_purge(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_purge(site: &Site, path: TopicPath, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, path, request, FORM).await?;
    let (sub_queue, until) = (asked.sub_queue()?, Instant::now() + site.limits.deadline);
    let (mut total, mut before) = (0, None);
    loop {
        let (principal, topic) = (ANONYMOUS.to_owned(), asked.topic.clone());
        let step = Purge { principal, topic, sub_queue, before };
        match asking::submit(site, QueueOperation::Purge(step)).await? {
            (index, QueueOutcome::Purged { messages, next }) => {
                total += messages;
                if next.is_none() || Instant::now() >= until {
                    let more = next.is_some();
                    return Ok(typed_answer(&PurgeAnswer {
                        messages: total,
                        more,
                        index: index.0,
                    }));
                }
                before = next;
            }
            (_, other) => return Err(asking::unexpected(&other)),
        }
    }
}
