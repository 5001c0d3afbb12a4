//! What all changing requests of queues have in common: a topic in the path, a JSON body with known
//! fields, a command, and what may be against it.

use std::time::Instant;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use dsync_core::machine::RequestId;
use dsync_core::queue::{MessageId, QueueOperation, QueueOutcome, Rules, SubQueue};
use dsync_core::types::Index;
use tokio::sync::OwnedSemaphorePermit;

use super::codes;
use crate::http::fields::{Fields, check_name};
use crate::http::original::ANONYMOUS;
use crate::http::params::Params;
use crate::http::problem::Fault;
use crate::http::{Site, body, request_id, v1};
use crate::queues::Asker;

/// The words for the parts of a topic.
pub(super) const SUB_QUEUES: [(&str, SubQueue); 2] =
    [("main", SubQueue::Main), ("dead", SubQueue::Dead)];
/// How a message's id is written.
pub(super) const MESSAGE_ID_FORM: &str = "must be a message's id, like 812.0";

/// The topic of a route.
pub(super) type TopicPath = Result<Path<String>, PathRejection>;
/// The topic and the message of a route.
pub(super) type MessagePath = Result<Path<(String, String)>, PathRejection>;

/// A changing request that was read.
#[derive(Debug)]
pub(super) struct Asked {
    /// The topic.
    pub(super) topic: String,
    /// The id that the client gave it.
    pub(super) request: Option<RequestId>,
    /// Its body.
    pub(super) fields: Fields,
    /// The limits of the cluster, as this node knows them.
    pub(super) rules: Rules,
    /// What its body takes, until it is answered.
    _room: Option<OwnedSemaphorePermit>,
}

/// What a body may hold.
#[derive(Clone, Copy)]
pub(super) struct Form {
    /// The fields that are known.
    pub(super) known: &'static [&'static str],
    /// The field, wherever it stands, that may be any JSON.
    pub(super) kept: Option<&'static str>,
    /// The request may be sent again with one effect.
    pub(super) repeatable: bool,
}

impl Form {
    /// A body with these fields, of a request without an id.
    pub(super) const fn of(known: &'static [&'static str]) -> Self {
        Self { known, kept: None, repeatable: false }
    }
}

impl Asked {
    /// Reads a request.
    pub(super) async fn read(
        site: &Site,
        path: TopicPath,
        request: Request,
        form: Form,
    ) -> Result<Self, Fault> {
        let topic = topic_of(site, path)?;
        Params::refuse_all(request.uri())?;
        body::require_json(request.headers())?;
        let id = match form.repeatable {
            true => request_id::read(request.headers())?,
            false => request_id::refuse(request.headers()).map(|()| None)?,
        };
        let (bytes, _room) = body::read_for_queues(site, request).await?;
        let fields = match form.kept {
            Some(kept) => Fields::strict_keeping(&bytes, form.known, kept)?,
            None => Fields::strict(&bytes, form.known)?,
        };
        Ok(Self { topic, request: id, fields, rules: rules(site), _room })
    }

    /// Who asks, for a command that is merged with others.
    pub(super) fn asker(&self, site: &Site) -> Asker {
        let deadline = Instant::now() + site.limits.deadline;
        Asker { principal: ANONYMOUS.to_owned(), request: self.request.clone(), deadline }
    }

    /// Most items of a batch.
    pub(super) fn batch_max(&self) -> usize {
        usize::try_from(self.rules.batch_max).unwrap_or(usize::MAX)
    }

    /// The field `sub_queue`; the main part if it is not there.
    pub(super) fn sub_queue(&self) -> Result<SubQueue, Fault> {
        let sub_queue = self.fields.choice_or_none("sub_queue", &SUB_QUEUES)?;
        Ok(sub_queue.unwrap_or(SubQueue::Main))
    }
}

/// The limits in force.
pub(super) fn rules(site: &Site) -> Rules {
    v1::settings(&site.node.machine()).queues
}

/// Most bytes of a name.
pub(super) fn name_bytes_max(rules: &Rules) -> usize {
    usize::try_from(rules.name_bytes_max).unwrap_or(usize::MAX)
}

/// The topic in the path.
pub(super) fn topic_of(site: &Site, path: TopicPath) -> Result<String, Fault> {
    let Path(topic) = path.map_err(|error| Fault::field("topic", error.body_text()))?;
    checked(site, topic)
}

/// The topic and the message in the path.
pub(super) fn message_of(site: &Site, path: MessagePath) -> Result<(String, MessageId), Fault> {
    let Path((topic, id)) = path.map_err(|error| Fault::field("topic", error.body_text()))?;
    let topic = checked(site, topic)?;
    let id = parse_message(&id);
    let id = id.ok_or_else(|| Fault::field("id", format!("id {MESSAGE_ID_FORM}")))?;
    Ok((topic, id))
}

/// A message's id; one message has one writing.
pub(super) fn parse_message(text: &str) -> Option<MessageId> {
    text.parse().ok().filter(|id: &MessageId| id.to_string() == text)
}

fn checked(site: &Site, topic: String) -> Result<String, Fault> {
    check_name(&topic, name_bytes_max(&rules(site)))
        .map_err(|reason| Fault::field("topic", format!("topic {reason}")))?;
    Ok(topic)
}

/// Applies an operation that is not merged with others, and says in which entry.
pub(super) async fn submit(
    site: &Site,
    topic: &str,
    operation: QueueOperation,
) -> Result<(Index, QueueOutcome), Fault> {
    let deadline = Instant::now() + site.limits.deadline;
    Ok(site.node.queues().apply(topic, operation, deadline).await?)
}

/// An answer to another operation than the one that was asked for: a bug.
pub(super) fn unexpected(outcome: &impl std::fmt::Debug) -> Fault {
    tracing::error!(?outcome, "an operation of queues was answered by something else");
    Fault::internal()
}

/// Nobody has made the topic.
pub(super) fn no_topic(topic: &str) -> Fault {
    Fault::none(codes::NO_SUCH_TOPIC, format!("nobody has made the topic {topic}"))
}

/// The message is not there.
pub(super) fn no_message(topic: &str, id: MessageId) -> Fault {
    Fault::none(codes::NO_SUCH_MESSAGE, format!("there is no message {id} in the topic {topic}"))
}
