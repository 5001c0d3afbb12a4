//! `POST /v1/locks/renew-all`: everything that an owner holds, by one entry.
//!
//! The owner says what it believes to hold, and is told what of it is lost: a hold that ended while
//! nobody looked must not go unnoticed among those that live.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::locks::{HoldId, LockOperation, LockOutcome, RenewAll, RenewAllOutcome};
use dsync_core::machine::{Operation, Outcome};
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{self, Asked};
use super::problems::WriteProblems;
use super::schemas;
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::fields::hold_id;
use crate::http::problem::{Fault, typed_answer};

/// Whose holds, and their new lease.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct RenewAllRequest {
    /// Whose.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    owner: String,
    /// The lease from now on: 0 for none; what each was granted with if absent.
    ttl: Option<schemas::Duration>,
    /// What the owner believes to hold; at most the setting `owner_holds_max`.
    #[schema(max_items = 10_000)]
    holds: Option<Vec<schemas::HoldText>>,
}

/// What became of each hold.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct RenewAllAnswer {
    /// The owner's holds, all of them.
    kept: Vec<KeptHold>,
    /// Those of the request that are not held (any more).
    lost: Vec<String>,
    /// Those that were taken away by force; they have ended now.
    revoked: Vec<String>,
    /// Log entry of the renewal.
    index: u64,
}

/// A hold that goes on.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct KeptHold {
    /// The hold.
    hold: String,
    /// What is left of the lease; null: no lease. Count it from the sending of the request.
    remaining_ms: Option<u64>,
}

/// Renews everything that an owner holds, and says what it does not hold any more.
#[utoipa::path(
    post, path = "/v1/locks/renew-all", operation_id = "renew_all", tag = "locks",
    params(schemas::RequestIdHeaders),
    request_body = RenewAllRequest,
    responses((status = 200, description = "What became of each.", body = RenewAllAnswer), WriteProblems),
)]
pub async fn renew_all(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_renew_all(&site, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_renew_all(site: &Site, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, request, &["owner", "ttl", "holds"]).await?;
    let (owner, ttl_ms) = (asked.owner()?, asked.ttl_ms()?);
    let max = usize::try_from(asked.settings.locks.owner_holds_max).unwrap_or(usize::MAX);
    let expected = asked.fields.holds("holds", max)?;
    let renew = RenewAll { owner, ttl_ms, expected };
    let applied = asked.submit(site, Operation::lock(LockOperation::RenewAll(renew))).await?;
    match applied.outcome {
        Outcome::Lock(LockOutcome::RenewAll(RenewAllOutcome {
            refusal: Some(refusal), ..
        })) => Err(refusal.into()),
        Outcome::Lock(LockOutcome::RenewAll(RenewAllOutcome { kept, lost, revoked, .. })) => {
            let ids = |holds: Vec<HoldId>| holds.into_iter().map(hold_id).collect();
            let kept = kept.into_iter();
            let kept =
                kept.map(|(hold, remaining_ms)| KeptHold { hold: hold_id(hold), remaining_ms });
            Ok(typed_answer(&RenewAllAnswer {
                kept: kept.collect(),
                lost: ids(lost),
                revoked: ids(revoked),
                index: applied.index.0,
            }))
        }
        other => Err(asking::unexpected(&other)),
    }
}
