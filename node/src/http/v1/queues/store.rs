//! `/v1/queue-store`: where topics are, and which Redis is the cluster's.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::queue::{RegistryFacts, Store};
use dsync_core::types::{Index, RedisId};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::problems::{QueueReadProblems, QueueWriteProblems};
use super::topic::StoreWord;
use crate::http::envelope::RequestContext;
use crate::http::fields::Fields;
use crate::http::original::ANONYMOUS;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::read::Snapshot;
use crate::http::v1::schemas::ConsistencyParam;
use crate::http::{Site, body, request_id};

const STORES: [(&str, Store); 2] = [("raft", Store::Raft), ("redis", Store::Redis)];
const ID_FORM: &str =
    "must be the id of a Redis: 32 hexadecimal digits, as GET /v1/queue-store shows it";

/// What is to be other than it is.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct QueueStoreRequest {
    /// Where new topics are made. Those that are there stay where they are.
    default_store: StoreWord,
}

/// Which Redis is replaced.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct AdoptRequest {
    /// The `redis_id` of before.
    #[schema(pattern = "^[0-9a-f]{32}$")]
    redis_id: String,
}

/// Where topics are.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct QueueStoreAnswer {
    /// Where new topics are made; null: in Redis if the node that makes the first one has one, else in the log.
    #[schema(value_type = Option<StoreWord>)]
    default_store: Option<Store>,
    /// The name that the cluster has given to its Redis; null: it has none yet.
    redis_id: Option<String>,
    /// This node was started with `--redis-url`.
    has_redis: bool,
    /// Last log entry that the answer contains.
    index: u64,
}

/// Where topics are made, and which Redis is the cluster's.
#[utoipa::path(
    get, path = "/v1/queue-store", operation_id = "get_queue_store", tag = "queues",
    params(ConsistencyParam),
    responses((status = 200, description = "The store.", body = QueueStoreAnswer), QueueReadProblems),
)]
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_get(&site, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Says where new topics are made from now on.
#[utoipa::path(
    patch, path = "/v1/queue-store", operation_id = "change_queue_store", tag = "queues",
    request_body = QueueStoreRequest,
    responses((status = 200, description = "Changed.", body = QueueStoreAnswer), QueueWriteProblems),
)]
pub async fn change(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_change(&site, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Takes the Redis that the nodes are connected to now for the cluster's.
///
/// What the one before held and this one does not is lost, and each topic goes on with what is there: nothing, or what
/// a backup has brought back. 409 `redis_id_differs`: the cluster's Redis is not the one that is named.
#[utoipa::path(
    post, path = "/v1/queue-store/adopt", operation_id = "adopt_redis", tag = "queues",
    request_body = AdoptRequest,
    responses((status = 200, description = "Adopted.", body = QueueStoreAnswer), QueueWriteProblems),
)]
pub async fn adopt(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_adopt(&site, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_get(site: &Site, uri: &Uri) -> Result<Response, Fault> {
    let params = Params::read(uri, &["consistency"])?;
    let snapshot = Snapshot::take(site, &params).await?;
    let machine = &snapshot.state.machine;
    let answer = answer(site, machine.queues().registry(), machine.applied());
    Ok(snapshot.mark(typed_answer(&answer)))
}

async fn try_change(site: &Site, request: Request) -> Result<Response, Fault> {
    let fields = read(site, request, &["default_store"]).await?;
    let store = fields.choice("default_store", &STORES)?;
    let deadline = Instant::now() + site.limits.deadline;
    let changed = site.node.queues().set_default_store(ANONYMOUS, store, deadline).await?;
    Ok(typed_answer(&answer(site, changed.1, changed.0)))
}

async fn try_adopt(site: &Site, request: Request) -> Result<Response, Fault> {
    let fields = read(site, request, &["redis_id"]).await?;
    let text = fields.text_up_to("redis_id", 64)?;
    let text = text.ok_or_else(|| fields.wrong("redis_id", "is missing"))?;
    let before = parse_id(text).ok_or_else(|| fields.wrong("redis_id", ID_FORM))?;
    let deadline = Instant::now() + site.limits.deadline;
    let adopted = site.node.queues().adopt_redis(ANONYMOUS, before, deadline).await?;
    Ok(typed_answer(&answer(site, adopted.1, adopted.0)))
}

async fn read(
    site: &Site,
    request: Request,
    known: &'static [&'static str],
) -> Result<Fields, Fault> {
    Params::refuse_all(request.uri())?;
    body::require_json(request.headers())?;
    request_id::refuse(request.headers())?;
    Fields::strict(&body::read(site, request).await?, known)
}

/// One id has one writing.
fn parse_id(text: &str) -> Option<RedisId> {
    let id = u128::from_str_radix(text, 16).ok().map(RedisId)?;
    (id.to_string() == text).then_some(id)
}

fn answer(site: &Site, facts: RegistryFacts, index: Index) -> QueueStoreAnswer {
    QueueStoreAnswer {
        default_store: facts.default_store,
        redis_id: facts.redis.map(|id| id.to_string()),
        has_redis: site.node.queues().has_redis(),
        index: index.0,
    }
}
