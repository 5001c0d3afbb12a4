//! `POST /v1/locks/{name}/force`: takes a lock away from whoever holds it.
//!
//! A hold is *revoked*: it cannot be renewed, its owner is told when it tries, and it ends with its
//! lease. So the owner has the time that it was promised to stop what it does. `now` ends it at once,
//! under the owner's hands; only the fencing token then protects what the lock protects.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::locks::{ForceOutcome, ForceRelease, LockOperation, LockOutcome};
use dsync_core::machine::{Operation, Outcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{self, Asked};
use super::lock::{NamePath, name_of};
use super::problems::WriteProblems;
use super::schemas;
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::fields::hold_id;
use crate::http::original::ANONYMOUS;
use crate::http::problem::{Fault, typed_answer};

/// Most bytes of a reason.
const REASON_BYTES_MAX: usize = 1_024;

/// What is taken away, and why.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct ForceRequest {
    /// Why: for the owner and the audit trail.
    #[schema(min_length = 1, max_length = 1_024, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    reason: String,
    /// Only this hold; every hold of the lock if absent.
    hold: Option<schemas::HoldText>,
    /// Ends it now. Otherwise it cannot be renewed any more, and ends with its lease.
    now: Option<bool>,
}

/// What was taken away.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ForceAnswer {
    /// How many holds.
    count: u32,
    /// Which, at most 16 of them.
    holds: Vec<String>,
    /// Log entry of the release.
    index: u64,
}

/// Takes a lock away from its holders.
///
/// 409 `not_held`: nobody holds it. 409 `hold_ended`: there is no such hold of it (any more).
#[utoipa::path(
    post, path = "/v1/locks/{name}/force", operation_id = "force_lock", tag = "locks",
    params(schemas::NameInPath, schemas::RequestIdHeaders),
    request_body = ForceRequest,
    responses((status = 200, description = "Taken away.", body = ForceAnswer), WriteProblems),
)]
pub async fn force(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    try_force(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_force(site: &Site, path: NamePath, request: Request) -> Result<Response, Fault> {
    let name = name_of(site, path)?;
    let asked = Asked::read(site, request, &["reason", "hold", "now"]).await?;
    let reason = asked.fields.name("reason", REASON_BYTES_MAX)?;
    let hold = asked.fields.hold_or_none("hold")?;
    let now = asked.fields.truth("now")?.unwrap_or(false);
    let principal = ANONYMOUS.to_owned();
    let force = ForceRelease { principal, name: name.clone(), hold, reason, now };
    let applied = asked.submit(site, Operation::lock(LockOperation::Force(force))).await?;
    match applied.outcome {
        Outcome::Lock(LockOutcome::Force(ForceOutcome::Forced { count, holds })) => {
            let holds = holds.into_iter().map(hold_id).collect();
            Ok(typed_answer(&ForceAnswer { count, holds, index: applied.index.0 }))
        }
        Outcome::Lock(LockOutcome::Force(ForceOutcome::NotHeld)) => Err(match hold {
            Some(hold) => asking::hold_ended(site, hold, Some(&name), applied.index).await,
            None => Fault::conflict("not_held", format!("nobody holds the lock {name}")),
        }),
        Outcome::Lock(LockOutcome::Force(ForceOutcome::Refused(refusal))) => Err(refusal.into()),
        other => Err(asking::unexpected(&other)),
    }
}
