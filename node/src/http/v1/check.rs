//! `POST /v1/locks/{name}/check`: is this token, or this hold, good now?
//!
//! For resources that cannot compare tokens themselves, and for permits, whose tokens say nothing
//! about each other. "Now" is the moment of a linearizable read; by the time the answer is there, it
//! is a little while ago. A resource that can keep the highest token it has seen is safer with that.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::Asked;
use super::lock::{self, HolderAnswer, NamePath, name_of};
use super::problems::WriteProblems;
use super::schemas;
use crate::http::envelope::RequestContext;
use crate::http::fields::EXACT_INTEGER_MAX;
use crate::http::problem::{Fault, typed_answer};
use crate::http::{Site, locks_view};

/// A token or a hold: one of them.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct CheckRequest {
    /// A fencing token.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    token: Option<u64>,
    /// A hold's id.
    hold: Option<schemas::HoldText>,
}

/// Whether it is good.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CheckAnswer {
    /// The lock's name.
    name: String,
    /// A live hold of the lock has it.
    valid: bool,
    /// That hold; with a token that readers share, the first of them. Null: it is not valid.
    holder: Option<HolderAnswer>,
    /// The highest token of the lock's live holds; null: nobody holds it.
    token_max: Option<u64>,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// Says whether a token, or a hold, of this lock is good now. Changes nothing.
#[utoipa::path(
    post, path = "/v1/locks/{name}/check", operation_id = "check_lock", tag = "locks",
    params(schemas::NameInPath),
    request_body = CheckRequest,
    responses((status = 200, description = "Whether it is good.", body = CheckAnswer), WriteProblems),
)]
pub async fn check(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    try_check(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_check(site: &Site, path: NamePath, request: Request) -> Result<Response, Fault> {
    let name = name_of(site, path)?;
    let asked = Asked::read(site, request, &["token", "hold"]).await?;
    let token = asked.fields.integer("token", 0..=EXACT_INTEGER_MAX)?;
    let hold = asked.fields.hold_or_none("hold")?;
    match (token, hold) {
        (None, None) => return Err(asked.fields.wrong("token", "is missing, and hold is, too")),
        (Some(_), Some(_)) => return Err(asked.fields.wrong("hold", "cannot stand beside token")),
        _ => {}
    }
    let state = site.read().await?;
    let (index, time) = locks_view::position(&state);
    let view = locks_view::lock(&state.machine, &name);
    // Nobody was ever told of a claim, so nobody can have its token.
    let mut live = view.holders.iter().filter(|holder| !holder.claim);
    let token_max = live.clone().map(|holder| holder.token).max();
    let holder = live
        .find(|holder| token == Some(holder.token) || hold == Some(holder.hold))
        .map(|holder| lock::holder(time, holder));
    let valid = holder.is_some();
    let answer = CheckAnswer { name, valid, holder, token_max, index: index.0, time_ms: time.0 };
    Ok(typed_answer(&answer))
}
