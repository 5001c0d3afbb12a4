//! `GET /v1/queues/{topic}/conservation`: no message was lost, or made of nothing.
//!
//! The messages themselves are counted, one by one, from a frozen state, in a thread of its own: not what
//! the topic says of them.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::queue::Recount;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{TopicPath, no_topic, topic_of};
use super::problems::QueueReadProblems;
use super::schemas;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::read::Snapshot;
use crate::http::v1::schemas::ConsistencyParam;
use crate::http::{Site, locks_view};

/// Every message that was ever pushed, by what has become of it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConservationAnswer {
    /// The topic.
    topic: String,
    /// `pushed` is the sum of the others. False is a bug.
    holds: bool,
    /// Messages that were pushed.
    pushed: u64,
    /// Those that were acknowledged.
    acked: u64,
    /// Those in the main part that are ready, counted one by one.
    ready: u64,
    /// Those in the main part that are delayed, counted one by one.
    delayed: u64,
    /// Those in the main part that somebody works on, counted one by one.
    in_flight: u64,
    /// Those that are dead, whatever they are doing, counted one by one.
    dead: u64,
    /// Those that were dropped at the end of their time to live.
    expired: u64,
    /// Those that were purged, or removed by their id.
    purged: u64,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// Counts every message of a topic, and compares the sum with what was pushed.
#[utoipa::path(
    get, path = "/v1/queues/{topic}/conservation", operation_id = "check_conservation",
    tag = "queues", params(schemas::TopicInPath, ConsistencyParam),
    responses((status = 200, description = "The sum.", body = ConservationAnswer), QueueReadProblems),
)]
pub async fn conservation(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    uri: Uri,
) -> Response {
    try_conservation(&site, path, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_conservation(site: &Site, path: TopicPath, uri: &Uri) -> Result<Response, Fault> {
    let topic = topic_of(site, path)?;
    let params = Params::read(uri, &["consistency"])?;
    let snapshot = Snapshot::take(site, &params).await?;
    let (index, now) = locks_view::position(&snapshot.state);
    let (machine, name) = (snapshot.state.machine.clone(), topic.clone());
    let counting = tokio::task::spawn_blocking(move || machine.queues().recount(&name)).await;
    let counted = counting.map_err(|_| Fault::internal())?.ok_or_else(|| no_topic(&topic))?;
    let holds = counted.holds();
    let Recount { totals, main, dead } = counted;
    Ok(snapshot.mark(typed_answer(&ConservationAnswer {
        topic,
        holds,
        pushed: totals.pushed,
        acked: totals.acked,
        ready: main.ready,
        delayed: main.delayed,
        in_flight: main.in_flight,
        dead: dead.sum(),
        expired: totals.expired,
        purged: totals.purged,
        index: index.0,
        time_ms: now.0,
    })))
}
