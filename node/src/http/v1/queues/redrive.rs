//! `POST /v1/queues/{topic}/redrive`: dead messages, back to be worked on.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::queue::{
    MessageId, QueueOperation, QueueOutcome, Redrive, RedriveOutcome, Redriven,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::asking::{self, Asked, Form, MESSAGE_ID_FORM, TopicPath, parse_message};
use super::codes;
use super::problems::QueueWriteProblems;
use super::results::Results;
use super::schemas::{self, ItemError};
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::original::ANONYMOUS;
use crate::http::problem::{Fault, typed_answer};

const FORM: Form = Form::of(&["messages"]);

/// Which dead messages.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct RedriveRequest {
    /// These, 1 to 1000; all that are ready if absent.
    #[schema(min_items = 1, max_items = 1000)]
    messages: Option<Vec<schemas::MessageIdText>>,
}

/// What was moved.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RedriveAnswer {
    /// How many messages.
    messages: u64,
    /// There was no time for all of them: ask again.
    more: bool,
    /// The main part has no room for the rest.
    full: bool,
    /// With ids: what came of each, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<RedriveResult>>)]
    results: Option<Vec<Value>>,
    /// Log entry of the last step.
    index: u64,
}

/// What came of one message: `moved`, or `error`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct RedriveResult {
    /// Its id.
    #[schema(value_type = schemas::MessageIdText)]
    id: String,
    /// True.
    moved: Option<bool>,
    /// Why it was not moved.
    error: Option<ItemError>,
}

/// Moves dead messages back to the main part, as if they had just been pushed.
///
/// With ids, and none moved: the problem of the first one, with all of them in `results`: 409 `not_dead`,
/// 429 `limit_reached`.
#[utoipa::path(
    post, path = "/v1/queues/{topic}/redrive", operation_id = "redrive_topic", tag = "queues",
    params(schemas::TopicInPath),
    request_body = RedriveRequest,
    responses((status = 200, description = "Moved.", body = RedriveAnswer), QueueWriteProblems),
)]
pub async fn redrive(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    request: Request,
) -> Response {
    try_redrive(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_redrive(site: &Site, path: TopicPath, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, path, request, FORM).await?;
    let ids =
        asked.fields.list_of("messages", asked.batch_max(), MESSAGE_ID_FORM, parse_message)?;
    let answer = match ids {
        Some(ids) => these(site, &asked.topic, ids).await?,
        None => all(site, &asked.topic).await?,
    };
    Ok(typed_answer(&answer))
}

/// Step by step, until nothing is left, there is no room, or the time is over.
async fn all(site: &Site, topic: &str) -> Result<RedriveAnswer, Fault> {
    let until = Instant::now() + site.limits.deadline;
    let (mut total, mut before) = (0, None);
    loop {
        match submit(site, topic, Redriven::All { before }).await? {
            (index, QueueOutcome::Redriven { messages, next, full }) => {
                total += messages;
                let full = full.is_some();
                if next.is_none() || full || Instant::now() >= until {
                    let (more, results) = (next.is_some() && !full, None);
                    return Ok(RedriveAnswer {
                        messages: total,
                        more,
                        full,
                        results,
                        index: index.0,
                    });
                }
                before = next;
            }
            (_, other) => return Err(asking::unexpected(&other)),
        }
    }
}

async fn these(site: &Site, topic: &str, ids: Vec<MessageId>) -> Result<RedriveAnswer, Fault> {
    let (index, outcome) = submit(site, topic, Redriven::These(ids.clone())).await?;
    let QueueOutcome::RedrivenThese(outcomes) = outcome else {
        return Err(asking::unexpected(&outcome));
    };
    let moved = outcomes.iter().filter(|outcome| **outcome == RedriveOutcome::Moved).count();
    let outcomes = outcomes.into_iter().map(|outcome| Ok((index, outcome))).collect();
    let name = |at: usize| json!({ "id": ids.get(at).map(ToString::to_string) });
    let results = Results::draw(outcomes, name, |outcome| match outcome {
        RedriveOutcome::Moved => Ok(json!({ "moved": true })),
        RedriveOutcome::NotDead => {
            let detail = "there is no such dead message, or somebody works on it";
            Err(Fault::conflict(codes::NOT_DEAD, detail))
        }
        RedriveOutcome::Refused(refusal) => Err(refusal.into()),
    })?;
    let (messages, results) = (moved as u64, Some(results.items));
    Ok(RedriveAnswer { messages, more: false, full: false, results, index: index.0 })
}

async fn submit(
    site: &Site,
    topic: &str,
    which: Redriven,
) -> Result<(dsync_core::types::Index, QueueOutcome), Fault> {
    let redrive = Redrive { principal: ANONYMOUS.to_owned(), topic: topic.to_owned(), which };
    asking::submit(site, QueueOperation::Redrive(redrive)).await
}
