//! `GET /v1/graph/locks`: who waits for whom.
//!
//! It does not stand under `/v1/locks/`, where every word is the name of some lock: a route
//! `/v1/locks/graph` would hide the lock called "graph".

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::locks::WaitEdge;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::problems::ReadProblems;
use super::read::Snapshot;
use crate::http::envelope::RequestContext;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::{Site, locks_view};

const EDGES_DEFAULT: usize = 1_000;
const EDGES_MAX: usize = 10_000;

/// The wait-for graph.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GraphAnswer {
    /// Who waits for whom, in the order of waiters.
    edges: Vec<EdgeAnswer>,
    /// There are more edges.
    truncated: bool,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// One reason why one request waits.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EdgeAnswer {
    /// Who waits.
    owner: String,
    /// For which lock.
    waits_for: String,
    /// Who is in the way.
    blocker: String,
    /// The blocker holds the lock; false: it waits for it, too, and came earlier.
    holds: bool,
}

/// Who waits for whom.
#[utoipa::path(
    get,
    path = "/v1/graph/locks",
    operation_id = "get_lock_graph",
    tag = "locks",
    params(
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10_000,
            description = "Most edges; 1000 if absent."),
        super::schemas::ConsistencyParam,
    ),
    responses((status = 200, description = "The graph.", body = GraphAnswer), ReadProblems),
)]
pub async fn graph(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_graph(&site, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_graph(site: &Site, uri: &Uri) -> Result<Response, Fault> {
    let params = Params::read(uri, &["limit", "consistency"])?;
    let limit = params.limit(EDGES_DEFAULT, EDGES_MAX)?;
    let snapshot = Snapshot::take(site, &params).await?;
    let (index, time) = locks_view::position(&snapshot.state);
    let mut all = snapshot.state.machine.locks().graph();
    let edges: Vec<_> = all.by_ref().take(limit).map(edge).collect();
    let truncated = all.next().is_some();
    let graph = GraphAnswer { edges, truncated, index: index.0, time_ms: time.0 };
    Ok(snapshot.mark(typed_answer(&graph)))
}

fn edge(edge: WaitEdge) -> EdgeAnswer {
    EdgeAnswer {
        owner: edge.waiter.name,
        waits_for: edge.name,
        blocker: edge.blocker.name,
        holds: edge.holds,
    }
}
