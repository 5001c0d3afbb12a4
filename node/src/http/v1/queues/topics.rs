//! `GET /v1/queues`: the topics, page by page, in the order of their names.

use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::queue::{Store, TopicView};
use dsync_redis_store::RedisProblem;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{name_bytes_max, rules};
use super::topic::TopicAnswer;
use crate::handle::ReadState;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::list::{read_token, token};
use crate::http::v1::problems::ReadProblems;
use crate::http::v1::read::Snapshot;
use crate::http::v1::schemas::ConsistencyParam;
use crate::http::{Site, locks_view};
use crate::queues::{NotDone, QueueError};

const PAGE_DEFAULT: usize = 100;
const PAGE_MAX: usize = 1_000;

/// A page of topics.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct TopicsAnswer {
    /// By name.
    topics: Vec<TopicAnswer>,
    /// The `continue` of the next page; null: this is the last one.
    #[serde(rename = "continue")]
    next: Option<String>,
    /// Last log entry that the page contains.
    index: u64,
    /// Cluster time of the page.
    time_ms: u64,
}

/// The topics whose names begin so, page by page.
#[utoipa::path(
    get, path = "/v1/queues", operation_id = "list_topics", tag = "queues",
    params(
        ("prefix" = Option<String>, Query, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$",
            description = "Only names that begin so."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Most topics of the page; 100 if absent."),
        ("continue" = Option<String>, Query, max_length = 544, pattern = "^([0-9a-f]{2})*$",
            description = "What the page before said. Empty: the first page."),
        ConsistencyParam,
    ),
    responses((status = 200, description = "A page.", body = TopicsAnswer), ReadProblems),
)]
pub async fn topics(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_topics(&site, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_topics(site: &Site, uri: &Uri) -> Result<Response, Fault> {
    let params = Params::read(uri, &["prefix", "limit", "continue", "consistency"])?;
    let bytes_max = name_bytes_max(&rules(site));
    let prefix = params.text("prefix", bytes_max)?.unwrap_or_default();
    let limit = params.limit(PAGE_DEFAULT, PAGE_MAX)?;
    let after = match params.text("continue", 2 * bytes_max + 32)? {
        None | Some("") => String::new(),
        Some(token) => read_token(token, prefix)?,
    };
    let snapshot = Snapshot::take(site, &params).await?;
    let page = page(site, &snapshot.state, prefix, &after, limit).await?;
    Ok(snapshot.mark(typed_answer(&page)))
}

/// The topics of both stores, in the order of their names. Those in Redis are asked for one after the other: what
/// they hold only Redis knows.
async fn page(
    site: &Site,
    state: &ReadState,
    prefix: &str,
    after: &str,
    limit: usize,
) -> Result<TopicsAnswer, Fault> {
    let (index, now) = locks_view::position(state);
    let (mut topics, mut last) = (Vec::new(), String::new());
    let mut listed = listed(state, prefix, after, limit + 1);
    let next = if listed.len() > limit { listed.pop() } else { None };
    for listed in listed {
        match listed {
            Listed::InLog(view) => {
                topics.push(TopicAnswer::new(&view, now, Store::Raft));
                last = view.name;
            }
            Listed::InRedis(name) => {
                topics.extend(topic_in_redis(site, &name).await?);
                last = name;
            }
        }
    }
    let next = next.map(|_| token(prefix, &last));
    Ok(TopicsAnswer { topics, next, index: index.0, time_ms: now.0 })
}

/// What the log knows of a topic.
enum Listed {
    InLog(Box<TopicView>),
    InRedis(String),
}

impl Listed {
    fn name(&self) -> &str {
        match self {
            Self::InLog(view) => &view.name,
            Self::InRedis(name) => name,
        }
    }
}

/// The first of both stores, by name.
fn listed(state: &ReadState, prefix: &str, after: &str, max: usize) -> Vec<Listed> {
    let queues = state.machine.queues();
    let in_log =
        queues.topics_with(prefix, after).map(|view| Listed::InLog(Box::new(view))).take(max);
    let in_redis = queues.redis_topics_with(prefix, after);
    let in_redis = in_redis.map(|(name, _)| Listed::InRedis(name.to_owned())).take(max);
    let mut all: Vec<Listed> = in_log.chain(in_redis).collect();
    all.sort_by(|a, b| a.name().cmp(b.name()));
    all.truncate(max);
    all
}

/// `None`: it was deleted meanwhile.
async fn topic_in_redis(site: &Site, name: &str) -> Result<Option<TopicAnswer>, Fault> {
    let deadline = Instant::now() + site.limits.deadline;
    let topic = site.node.queues().topic_in_redis(name, deadline).await?;
    let Some(topic) = topic else { return Ok(None) };
    match topic.view(deadline).await {
        Ok((view, now)) => Ok(Some(TopicAnswer::new(&view, now, Store::Redis))),
        Err(QueueError::NotDone(NotDone::Redis(RedisProblem::TopicClosed))) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
