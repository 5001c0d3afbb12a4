//! `/v1/queues/{topic}`: what a topic holds and has counted; and its end.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::queue::{
    Counts, DeleteTopic, QueueOperation, QueueOutcome, Store, TopicView, Totals,
};
use dsync_core::types::ClusterTime;
use http::{HeaderMap, Uri};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{self, TopicPath, topic_of};
use super::problems::{QueueReadProblems, QueueWriteProblems};
use super::reader::{Position, Reader};
use super::schemas;
use super::settings::SettingsView;
use crate::http::envelope::RequestContext;
use crate::http::original::ANONYMOUS;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::schemas::ConsistencyParam;
use crate::http::{Site, request_id};

/// A topic. All counts are exact.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopicAnswer {
    /// Its name.
    topic: String,
    /// Where its messages are.
    #[schema(value_type = StoreWord)]
    store: Store,
    /// Its settings.
    settings: SettingsView,
    /// What the messages of its main part do.
    main: CountsAnswer,
    /// What its dead messages do.
    dead: CountsAnswer,
    /// What it has counted since it was made.
    totals: TotalsAnswer,
    /// Bytes of all its messages.
    bytes: u64,
    /// How long ago the oldest message of the main part was pushed; null: there is none.
    oldest_age_ms: Option<u64>,
}

/// Where a topic's messages are.
#[derive(ToSchema)]
#[schema(as = Store, rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum StoreWord {
    /// In the Raft log, and in the memory of every node.
    Raft,
    /// In Redis.
    Redis,
}

/// How many messages do what.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CountsAnswer {
    /// They can be delivered, or wait for others of their group.
    ready: u64,
    /// They will be ready.
    delayed: u64,
    /// Somebody works on them.
    in_flight: u64,
}

/// What a topic has counted since it was made.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TotalsAnswer {
    /// Messages that were pushed; a duplicate is none.
    pushed: u64,
    /// Pushes that were duplicates.
    duplicates: u64,
    /// Deliveries, those that were given back included.
    delivered: u64,
    /// Deliveries that nobody has seen, and that were given back.
    given_back: u64,
    /// Messages that were acknowledged.
    acked: u64,
    /// Deliveries that were nacked.
    nacked: u64,
    /// Deliveries that ended without a word.
    timed_out: u64,
    /// Messages that died, each time that they did.
    died: u64,
    /// Dead messages that were moved back.
    redriven: u64,
    /// Messages that were dropped at the end of their time to live.
    expired: u64,
    /// Messages that were purged, or removed by their id.
    purged: u64,
}

/// A topic, and the moment of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopicNowAnswer {
    #[serde(flatten)]
    topic: TopicAnswer,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// A topic that is gone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopicDeletedAnswer {
    /// Its name.
    topic: String,
    /// True.
    deleted: bool,
    /// Log entry of its end.
    index: u64,
}

/// What a topic holds, and has counted.
#[utoipa::path(
    get, path = "/v1/queues/{topic}", operation_id = "get_topic", tag = "queues",
    params(schemas::TopicInPath, ConsistencyParam),
    responses((status = 200, description = "The topic.", body = TopicNowAnswer), QueueReadProblems),
)]
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    uri: Uri,
) -> Response {
    try_get(&site, path, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Deletes a topic that holds no message.
///
/// 409 `not_empty`: `messages` says how many there are, dead ones included.
#[utoipa::path(
    delete, path = "/v1/queues/{topic}", operation_id = "delete_topic", tag = "queues",
    params(schemas::TopicInPath),
    responses(
        (status = 200, description = "It is gone.", body = TopicDeletedAnswer),
        QueueWriteProblems,
    ),
)]
pub async fn delete(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    try_delete(&site, path, &uri, &headers)
        .await
        .unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_get(site: &Site, path: TopicPath, uri: &Uri) -> Result<Response, Fault> {
    let topic = topic_of(site, path)?;
    let params = Params::read(uri, &["consistency"])?;
    let reader = Reader::open(site, &params, &topic).await?;
    let (view, Position { index, now }) = reader.view().await?;
    let topic = TopicAnswer::new(&view, now, reader.store());
    Ok(reader.mark(typed_answer(&TopicNowAnswer { topic, index: index.0, time_ms: now.0 })))
}

async fn try_delete(
    site: &Site,
    path: TopicPath,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response, Fault> {
    let topic = topic_of(site, path)?;
    Params::refuse_all(uri)?;
    request_id::refuse(headers)?;
    let delete = DeleteTopic { principal: ANONYMOUS.to_owned(), topic: topic.clone() };
    match asking::submit(site, &topic, QueueOperation::DeleteTopic(delete)).await? {
        (index, QueueOutcome::Deleted) => {
            Ok(typed_answer(&TopicDeletedAnswer { topic, deleted: true, index: index.0 }))
        }
        (_, other) => Err(asking::unexpected(&other)),
    }
}

impl TopicAnswer {
    /// Draws a topic as of a moment.
    pub(super) fn new(view: &TopicView, now: ClusterTime, store: Store) -> Self {
        Self {
            topic: view.name.clone(),
            store,
            settings: SettingsView::new(&view.settings),
            main: counts(view.main),
            dead: counts(view.dead),
            totals: totals(&view.totals),
            bytes: view.bytes,
            oldest_age_ms: view.oldest_pushed_at.map(|at| now.since(at)),
        }
    }
}

fn counts(counts: Counts) -> CountsAnswer {
    CountsAnswer { ready: counts.ready, delayed: counts.delayed, in_flight: counts.in_flight }
}

fn totals(totals: &Totals) -> TotalsAnswer {
    TotalsAnswer {
        pushed: totals.pushed,
        duplicates: totals.duplicates,
        delivered: totals.delivered,
        given_back: totals.given_back,
        acked: totals.acked,
        nacked: totals.nacked,
        timed_out: totals.timed_out,
        died: totals.died,
        redriven: totals.redriven,
        expired: totals.expired,
        purged: totals.purged,
    }
}
