//! `GET /v1/locks/{name}`: who holds a lock and who waits for it, linearizably.
//!
//! The read barrier comes first and the state is taken after it, so the answer contains every
//! command that was answered anywhere before the request came. Without a leader there is no answer
//! rather than an old one; `/status` is the place to look at one node's own state.

use std::time::Instant;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Response;
use dsync_core::locks::{HolderView, LockView, WaiterView};
use dsync_core::machine::Machine;
use serde_json::{Map, Value, json};

use super::envelope::RequestContext;
use super::original::hold_id;
use super::problem::{Fault, json_answer};
use super::{Site, body, locks_view};

/// `GET /v1/locks/{name}`; a "/" in the name is written `%2F`.
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    name: Result<Path<String>, PathRejection>,
) -> Response {
    match try_get(&site, name).await {
        Ok(body) => json_answer(body),
        Err(fault) => fault.into_problem(&context),
    }
}

async fn try_get(
    site: &Site,
    name: Result<Path<String>, PathRejection>,
) -> Result<Map<String, Value>, Fault> {
    let Path(name) =
        name.map_err(|_| Fault::field("name", "the lock's name in the path is not UTF-8"))?;
    let bytes_max = locks_view::name_bytes_max(&site.node.machine());
    body::check_name(&name, bytes_max)
        .map_err(|reason| Fault::field("name", format!("the lock's name {reason}")))?;
    let machine = site.node.read(Instant::now() + site.limits.deadline).await?;
    let (index, time) = locks_view::position(&machine);
    let LockView { name, holders, waiters, .. } = locks_view::lock(&machine, &name);
    let mut body = Map::new();
    body.insert("name".to_owned(), json!(name));
    body.insert("holders".to_owned(), holders.iter().map(|h| holder(&machine, h)).collect());
    body.insert("waiters".to_owned(), waiters.iter().map(waiter).collect());
    body.insert("index".to_owned(), json!(index.0));
    body.insert("time_ms".to_owned(), json!(time.0));
    Ok(body)
}

fn holder(machine: &Machine, holder: &HolderView) -> Value {
    json!({
        "owner": holder.owner.name,
        "mode": holder.mode,
        "hold": hold_id(holder.hold),
        "token": holder.token,
        "claim": holder.claim,
        "remaining_ms": locks_view::remaining_ms(machine, holder),
    })
}

fn waiter(waiter: &WaiterView) -> Value {
    json!({ "owner": waiter.owner.name, "mode": waiter.mode })
}
