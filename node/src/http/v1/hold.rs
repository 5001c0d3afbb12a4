//! What is done with a hold, by its id: `release`, `renew`, `upgrade` and `downgrade`.
//!
//! The id names one grant for ever, so a message that comes late never touches the grant after it. A
//! route with a lock's name asks for more: the lock has to be one of the hold's.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::locks::{
    HoldOutcome, HoldRef, LockItem, LockOperation, LockOutcome, Mode, Renew, Upgrade,
};
use dsync_core::machine::{Operation, Outcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::acquire::{GrantAnswer, Wanted, deliver, with_holders};
use super::asking::{self, Asked};
use super::lock::{NamePath, name_of};
use super::problems::WriteProblems;
use super::schemas;
use crate::handle::Applied;
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::fields::hold_id;
use crate::http::problem::{Fault, typed_answer};
use crate::waits::WaitOutcome;

/// A hold.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct HoldRequest {
    /// Which.
    hold: schemas::HoldText,
}

/// A hold and its new lease.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct RenewRequest {
    /// Which.
    hold: schemas::HoldText,
    /// The lease from now on: 0 for none; what it was granted with if absent. The end never moves to
    /// an earlier time.
    ttl: Option<schemas::Duration>,
}

/// A shared hold that is to become exclusive.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct UpgradeRequest {
    /// Which.
    hold: schemas::HoldText,
    /// The lease from the grant on, as in a renewal.
    ttl: Option<schemas::Duration>,
    /// How long to wait for the other readers, at most 10 minutes. 0 or absent: try.
    wait: Option<schemas::Duration>,
}

/// A hold that has ended.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReleaseAnswer {
    /// The hold.
    hold: String,
    /// True.
    released: bool,
    /// Log entry of the release.
    index: u64,
}

/// A hold that goes on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RenewAnswer {
    /// The hold.
    hold: String,
    /// What is left of the lease; null: no lease. Count it from the sending of the request.
    remaining_ms: Option<u64>,
    /// Log entry of the renewal.
    index: u64,
}

/// A hold whose lock is shared now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DowngradeAnswer {
    /// The hold.
    hold: String,
    /// The lock's fencing token, unchanged.
    token: u64,
    /// What is left of the lease; null: no lease.
    remaining_ms: Option<u64>,
    /// Log entry of the change.
    index: u64,
}

/// Gives a hold of this lock back, with everything that it holds.
///
/// 409 `hold_ended`: there is no such hold (any more); nothing changed, and `lock` shows the lock.
#[utoipa::path(
    post, path = "/v1/locks/{name}/release", operation_id = "release_lock", tag = "locks",
    params(schemas::NameInPath, schemas::RequestIdHeaders),
    request_body = HoldRequest,
    responses((status = 200, description = "It has ended.", body = ReleaseAnswer), WriteProblems),
)]
pub async fn release(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    let done = async { try_release(&site, Some(name_of(&site, path)?), request).await };
    done.await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Gives a hold back, with everything that it holds.
///
/// 409 `hold_ended`: there is no such hold (any more); nothing changed.
#[utoipa::path(
    post, path = "/v1/locks/release", operation_id = "release_hold", tag = "locks",
    params(schemas::RequestIdHeaders),
    request_body = HoldRequest,
    responses((status = 200, description = "It has ended.", body = ReleaseAnswer), WriteProblems),
)]
pub async fn release_any(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    let done = try_release(&site, None, request).await;
    done.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Renews a hold of this lock.
///
/// 409 `hold_ended`: there is no such hold (any more). 409 `revoked`: it was taken away by force, and
/// has ended now; `reason` says why.
#[utoipa::path(
    post, path = "/v1/locks/{name}/renew", operation_id = "renew_lock", tag = "locks",
    params(schemas::NameInPath, schemas::RequestIdHeaders),
    request_body = RenewRequest,
    responses((status = 200, description = "It goes on.", body = RenewAnswer), WriteProblems),
)]
pub async fn renew(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    let done = async { try_renew(&site, Some(name_of(&site, path)?), request).await };
    done.await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Renews a hold. Conflicts as with the lock's name.
#[utoipa::path(
    post, path = "/v1/locks/renew", operation_id = "renew_hold", tag = "locks",
    params(schemas::RequestIdHeaders),
    request_body = RenewRequest,
    responses((status = 200, description = "It goes on.", body = RenewAnswer), WriteProblems),
)]
pub async fn renew_any(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_renew(&site, None, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Makes the shared lock of a hold exclusive, ahead of all who wait.
///
/// It waits for the other readers as long as the hold's lease lives; if the wait ends, the shared hold
/// stays. 409 `deadlock`: another reader waits for the same.
#[utoipa::path(
    post, path = "/v1/locks/{name}/upgrade", operation_id = "upgrade_lock", tag = "locks",
    params(schemas::NameInPath, schemas::RequestIdHeaders),
    request_body = UpgradeRequest,
    responses(
        (status = 200, description = "Exclusive now, with a new token.", body = GrantAnswer),
        WriteProblems,
    ),
)]
pub async fn upgrade(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    try_upgrade(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Makes the exclusive lock of a hold shared, at once.
#[utoipa::path(
    post, path = "/v1/locks/{name}/downgrade", operation_id = "downgrade_lock", tag = "locks",
    params(schemas::NameInPath, schemas::RequestIdHeaders),
    request_body = HoldRequest,
    responses((status = 200, description = "Shared now.", body = DowngradeAnswer), WriteProblems),
)]
pub async fn downgrade(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    try_downgrade(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_release(
    site: &Site,
    name: Option<String>,
    request: Request,
) -> Result<Response, Fault> {
    let asked = Asked::read(site, request, &["hold"]).await?;
    let hold = asked.hold(name)?;
    let applied =
        asked.submit(site, Operation::lock(LockOperation::ReleaseHold(hold.clone()))).await?;
    match &applied.outcome {
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::Released)) => {
            Ok(typed_answer(&ReleaseAnswer {
                hold: hold_id(hold.hold),
                released: true,
                index: applied.index.0,
            }))
        }
        _ => Err(refused(site, &hold, &applied).await),
    }
}

async fn try_renew(site: &Site, name: Option<String>, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, request, &["hold", "ttl"]).await?;
    let (hold, ttl_ms) = (asked.hold(name)?, asked.ttl_ms()?);
    let renew = Renew { hold: hold.clone(), ttl_ms };
    let applied = asked.submit(site, Operation::lock(LockOperation::Renew(renew))).await?;
    match &applied.outcome {
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::Renewed { remaining_ms })) => {
            Ok(typed_answer(&RenewAnswer {
                hold: hold_id(hold.hold),
                remaining_ms: *remaining_ms,
                index: applied.index.0,
            }))
        }
        _ => Err(refused(site, &hold, &applied).await),
    }
}

async fn try_upgrade(site: &Site, path: NamePath, request: Request) -> Result<Response, Fault> {
    let name = name_of(site, path)?;
    let asked = Asked::read(site, request, &["hold", "ttl", "wait"]).await?;
    let (hold, ttl_ms) = (asked.hold(Some(name.clone()))?, asked.ttl_ms()?);
    let patience = asked.patience(site)?;
    let item = LockItem { name: name.clone(), mode: Mode::Exclusive, permits: 1, permits_max: 1 };
    let wanted = Wanted {
        items: vec![item],
        ttl_ms: ttl_ms.unwrap_or(asked.settings.locks.default_lease_ms),
        token_of: Some(name.clone()),
    };
    // Both are set by the node.
    let (queue, attachment) = (false, None);
    let ask = Upgrade { hold: hold.clone(), ttl_ms, queue, attachment };
    let _seat = asking::seat(site, &patience)?;
    let answer = site.node.upgrade(asked.request.clone(), ask, patience).await?;
    if answer.outcome == WaitOutcome::Ended {
        return Err(asking::hold_ended(site, hold.hold, Some(&name), answer.index).await);
    }
    deliver(site, answer, &wanted).map_err(|fault| with_holders(site, fault, &[name]))
}

async fn try_downgrade(site: &Site, path: NamePath, request: Request) -> Result<Response, Fault> {
    let name = name_of(site, path)?;
    let asked = Asked::read(site, request, &["hold"]).await?;
    let hold = asked.hold(Some(name))?;
    let applied =
        asked.submit(site, Operation::lock(LockOperation::Downgrade(hold.clone()))).await?;
    match &applied.outcome {
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::Downgraded { token, remaining_ms })) => {
            Ok(typed_answer(&DowngradeAnswer {
                hold: hold_id(hold.hold),
                token: *token,
                remaining_ms: *remaining_ms,
                index: applied.index.0,
            }))
        }
        _ => Err(refused(site, &hold, &applied).await),
    }
}

async fn refused(site: &Site, hold: &HoldRef, applied: &Applied) -> Fault {
    match &applied.outcome {
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::NotHeld)) => {
            asking::hold_ended(site, hold.hold, hold.name.as_deref(), applied.index).await
        }
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::Revoked { reason })) => {
            asking::revoked(reason)
        }
        Outcome::Lock(LockOutcome::Hold(HoldOutcome::Refused(refusal))) => refusal.clone().into(),
        other => asking::unexpected(other),
    }
}
