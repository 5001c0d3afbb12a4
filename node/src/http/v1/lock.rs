//! `GET /v1/locks/{name}`: who holds a lock and who waits for it, and for how long.
//!
//! A lock may have a hundred thousand readers; the lists are cut at `limit`, the counts never.

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use dsync_core::locks::{HolderView, LockView, Mode, WaiterView};
use dsync_core::types::ClusterTime;
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::problems::ReadProblems;
use super::read::Snapshot;
use crate::handle::ReadState;
use crate::http::envelope::RequestContext;
use crate::http::fields::{check_name, hold_id};
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::{Site, locks_view};

/// Holders, and waiters, in an answer, unless asked otherwise.
const LISTED_DEFAULT: usize = 1_000;
/// Most holders, and most waiters, in an answer.
const LISTED_MAX: usize = 10_000;

/// A lock. One that nobody holds or waits for looks like one that never was.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LockAnswer {
    /// The lock's name.
    name: String,
    /// How many permits it has; null: it is a plain lock, or free.
    permits_max: Option<u32>,
    /// How many of them nobody holds.
    permits_free: Option<u32>,
    /// Who holds it, in the order of their names.
    holders: Vec<HolderAnswer>,
    /// How many hold it.
    holders_count: usize,
    /// Who waits, first come first.
    waiters: Vec<WaiterAnswer>,
    /// How many wait.
    waiters_count: usize,
    /// Not all holders or waiters are listed.
    truncated: bool,
}

/// A lock, and the moment of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LockNowAnswer {
    #[serde(flatten)]
    lock: LockAnswer,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer: milliseconds since the founding, while there was a leader.
    time_ms: u64,
}

/// One holder of a lock.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct HolderAnswer {
    /// Who.
    owner: String,
    /// How.
    #[schema(value_type = super::schemas::ModeWord)]
    mode: Mode,
    /// How many permits; 1 for a plain lock.
    permits: u32,
    /// The hold's id.
    hold: String,
    /// The fencing token; readers who overlap share one.
    token: u64,
    /// Granted while nobody listened, and not taken up yet.
    claim: bool,
    /// Cluster time of the grant.
    since_ms: u64,
    /// For how long it has been held.
    held_ms: u64,
    /// What is left of the lease, or of the claim; null: it has no end.
    remaining_ms: Option<u64>,
    /// Why it was revoked; null: it was not.
    revoked: Option<String>,
}

/// One waiter for a lock.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct WaiterAnswer {
    /// Who.
    owner: String,
    /// What for.
    #[schema(value_type = super::schemas::ModeWord)]
    mode: Mode,
    /// How many permits; 1 for a plain lock.
    permits: u32,
    /// It holds the lock shared, and waits for the other readers.
    upgrade: bool,
    /// Cluster time at which it was queued.
    since_ms: u64,
    /// For how long it has waited.
    waited_ms: u64,
    /// Somebody listens for the grant.
    attached: bool,
    /// How long its place is still kept if nobody listens and it does not ask again; null: somebody
    /// listens.
    place_remaining_ms: Option<u64>,
}

/// Who holds a lock and who waits for it.
#[utoipa::path(
    get,
    path = "/v1/locks/{name}",
    operation_id = "get_lock",
    tag = "locks",
    params(
        super::schemas::NameInPath,
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 10_000,
            description = "Most holders, and most waiters, that are listed; 1000 if absent."),
        super::schemas::ConsistencyParam,
    ),
    responses(
        (status = 200, description = "The lock; free if nobody is in it.", body = LockNowAnswer),
        ReadProblems,
    ),
)]
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
    path: NamePath,
) -> Response {
    let answer = match name_of(&site, path) {
        Ok(name) => answer(&site, &name, &uri).await,
        Err(fault) => Err(fault),
    };
    answer.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// The same for a name that is also the word of a route.
pub async fn get_named(site: Site, context: RequestContext, uri: Uri, name: &str) -> Response {
    answer(&site, name, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn answer(site: &Site, name: &str, uri: &Uri) -> Result<Response, Fault> {
    let params = Params::read(uri, &["limit", "consistency"])?;
    let limit = params.limit(LISTED_DEFAULT, LISTED_MAX)?;
    let snapshot = Snapshot::take(site, &params).await?;
    let lock = now(&snapshot.state, name, limit);
    Ok(snapshot.mark(typed_answer(&lock)))
}

/// A lock's name in a path, as axum reads it.
pub type NamePath = Result<Path<String>, PathRejection>;

/// The lock's name.
///
/// # Errors
/// If it is no name.
pub fn name_of(site: &Site, path: NamePath) -> Result<String, Fault> {
    let Path(name) =
        path.map_err(|_| Fault::field("name", "the lock's name in the path is not UTF-8"))?;
    check_name(&name, locks_view::name_bytes_max(&site.node.machine()))
        .map_err(|reason| Fault::field("name", format!("the lock's name {reason}")))?;
    Ok(name)
}

/// One lock, with the moment.
#[must_use]
pub fn now(state: &ReadState, name: &str, limit: usize) -> LockNowAnswer {
    let (index, time) = locks_view::position(state);
    let lock = draw(time, &locks_view::lock(&state.machine, name), limit);
    LockNowAnswer { lock, index: index.0, time_ms: time.0 }
}

/// One lock, as a conflict shows it.
#[must_use]
pub fn briefly(state: &ReadState, name: &str) -> LockNowAnswer {
    now(state, name, BRIEF_MAX)
}

/// Holders, and waiters, of a lock that is shown beside something else.
pub const BRIEF_MAX: usize = 16;

/// One lock, with at most `limit` holders and waiters.
#[must_use]
pub fn draw(now: ClusterTime, lock: &LockView, limit: usize) -> LockAnswer {
    let (holders_count, waiters_count) = (lock.holders.len(), lock.waiters.len());
    let held: u32 = lock.holders.iter().map(|holder| holder.permits).sum();
    LockAnswer {
        name: lock.name.clone(),
        permits_max: lock.permits_max,
        permits_free: lock.permits_max.map(|max| max.saturating_sub(held)),
        holders: lock.holders.iter().take(limit).map(|it| holder(now, it)).collect(),
        holders_count,
        waiters: lock.waiters.iter().take(limit).map(|it| waiter(now, it)).collect(),
        waiters_count,
        truncated: holders_count > limit || waiters_count > limit,
    }
}

/// One holder.
#[must_use]
pub fn holder(now: ClusterTime, holder: &HolderView) -> HolderAnswer {
    HolderAnswer {
        owner: holder.owner.name.clone(),
        mode: holder.mode,
        permits: holder.permits,
        hold: hold_id(holder.hold),
        token: holder.token,
        claim: holder.claim,
        since_ms: holder.since.0,
        held_ms: now.since(holder.since),
        remaining_ms: holder.ends_at.map(|end| end.since(now)),
        revoked: holder.revoked.clone(),
    }
}

fn waiter(now: ClusterTime, waiter: &WaiterView) -> WaiterAnswer {
    WaiterAnswer {
        owner: waiter.owner.name.clone(),
        mode: waiter.mode,
        permits: waiter.permits,
        upgrade: waiter.upgrade,
        since_ms: waiter.since.0,
        waited_ms: now.since(waiter.since),
        attached: waiter.attached,
        place_remaining_ms: waiter.place_ends_at.map(|end| end.since(now)),
    }
}
