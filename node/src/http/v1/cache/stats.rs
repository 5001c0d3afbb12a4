//! `GET /v1/cache`: what this node has cached, and how it takes part.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::typed_answer;
use crate::http::v1::problems::ReadProblems;

/// The caches of one node. Counts are since its process started.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CacheAnswer {
    /// Which node.
    node: String,
    /// Values that it keeps: its own keys' and copies of others'.
    entries: u64,
    /// Most values that it may keep.
    entries_max: u64,
    /// What they take.
    bytes: u64,
    /// Most bytes that they may take.
    bytes_max: u64,
    /// Gets that it served alone.
    hits: u64,
    /// Gets for which a home was asked.
    misses: u64,
    /// Values that had to make room for others.
    evictions: u64,
    /// It serves as the home of a share of the keys.
    home: bool,
    /// Homes of the ring that it has installed.
    homes: u64,
    /// Epoch of that ring: the log entry that changed it last.
    epoch: u64,
    /// Other homes whose values it may serve now.
    sessions: u64,
}

/// What this node has cached, and how it takes part.
#[utoipa::path(
    get, path = "/v1/cache", operation_id = "get_cache_stats", tag = "caches",
    responses((status = 200, description = "This node's caches.", body = CacheAnswer), ReadProblems),
)]
pub async fn stats(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    match Params::refuse_all(&uri) {
        Ok(()) => typed_answer(&drawn(&site)),
        Err(fault) => fault.into_problem(&context),
    }
}

fn drawn(site: &Site) -> CacheAnswer {
    let stats = site.caches.stats();
    CacheAnswer {
        node: site.node.status().name.to_string(),
        entries: stats.usage.entries as u64,
        entries_max: stats.limits.entries_max as u64,
        bytes: stats.usage.bytes as u64,
        bytes_max: stats.limits.bytes_max as u64,
        hits: stats.hits,
        misses: stats.misses,
        evictions: stats.evictions,
        home: stats.home,
        homes: stats.homes as u64,
        epoch: stats.epoch,
        sessions: stats.sessions as u64,
    }
}
