//! The original lock routes: `POST /lock/acquire` and `POST /lock/release`.
//!
//! They are what clients spoke before this server, so their shape is fixed: a flat body, owners
//! instead of hold ids, no waiting inside a request. Being held by somebody else is an ordinary
//! answer (200, `success: false`), and asking again is how a client waits: each ask keeps its place
//! for another while.
//!
//! Errors keep the shape too: `{success: false, message, field, ...}` as `application/json`, with
//! the status that says what happened. Why not a problem document: see [`super::problem`]. What is
//! refused about the body as a whole before its fields are looked at (too long, too slow) and what
//! has no route are problems, as everywhere.
//!
//! What else an answer carries (`token`, `hold_id`, `remaining_ms`, `position`, `cycle`) is in
//! addition: an old client does not look, a new one need not ask twice.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::locks::{
    Acquire, AcquireOutcome, CYCLE_NAMED_MAX, LockItem, LockOperation, LockOutcome, LockRefusal,
    Mode, Owner, Release, ReleaseOutcome,
};
use dsync_core::machine::{Operation, Outcome};
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::body;
use super::envelope::RequestContext;
use super::fields::{Fields, hold_id};
use super::problem::{Fault, json_answer};
use super::v1::settings;
use super::{Site, locks_view};
use crate::handle::Applied;

/// Who everybody is until client tokens exist.
pub const ANONYMOUS: &str = "anonymous";

const MODES: [(&str, Mode); 2] = [("exclusive", Mode::Exclusive), ("shared", Mode::Shared)];

/// `POST /lock/acquire`
pub async fn acquire(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_acquire(&site, request).await.unwrap_or_else(|fault| draw(fault, &context))
}

/// `POST /lock/release`
pub async fn release(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_release(&site, request).await.unwrap_or_else(|fault| draw(fault, &context))
}

async fn try_acquire(site: &Site, request: Request) -> Result<Response, Fault> {
    let fields = fields(site, request).await?;
    let (name, owner) = resource_and_client(site, &fields)?;
    let mode = fields.choice_or_none("lock_type", &MODES)?.unwrap_or(Mode::Exclusive);
    let rules = settings(&site.node.machine()).locks;
    let ttl_ms = fields.lease_ms("ttl", rules.lease_ms_min, rules.lease_ms_max)?.unwrap_or(0);
    let items = vec![LockItem { name: name.clone(), mode, permits: 1, permits_max: 1 }];
    let operation = Operation::lock(LockOperation::Acquire(Acquire {
        owner: owner.clone(),
        items,
        ttl_ms: Some(ttl_ms),
        queue: true,
        attachment: None,
    }));
    let applied = submit(site, operation).await?;
    match applied.outcome {
        Outcome::Lock(LockOutcome::Acquire(ref outcome)) => {
            acquired(&name, &owner, mode, outcome, &applied)
        }
        ref other => Err(unexpected(other)),
    }
}

async fn try_release(site: &Site, request: Request) -> Result<Response, Fault> {
    let fields = fields(site, request).await?;
    let (name, owner) = resource_and_client(site, &fields)?;
    let operation = Operation::lock(LockOperation::Release(Release {
        owner: owner.clone(),
        name: name.clone(),
    }));
    let applied = submit(site, operation).await?;
    match applied.outcome {
        Outcome::Lock(LockOutcome::Release(ref outcome)) => {
            Ok(released(&name, &owner, outcome, &applied))
        }
        ref other => Err(unexpected(other)),
    }
}

async fn fields(site: &Site, request: Request) -> Result<Fields, Fault> {
    body::refuse_foreign_page(request.headers())?;
    Fields::parse(&body::read(site, request).await?)
}

fn resource_and_client(site: &Site, fields: &Fields) -> Result<(String, Owner), Fault> {
    let bytes_max = locks_view::name_bytes_max(&site.node.machine());
    let resource = fields.name("resource_id", bytes_max)?;
    let name = fields.name("client_id", bytes_max)?;
    Ok((resource, Owner { principal: ANONYMOUS.to_owned(), name }))
}

async fn submit(site: &Site, operation: Operation) -> Result<Applied, Fault> {
    Ok(site.node.submit(operation, Instant::now() + site.limits.deadline).await?)
}

fn unexpected(outcome: &Outcome) -> Fault {
    if *outcome == Outcome::Void {
        return Fault::void();
    }
    tracing::error!(?outcome, "a lock operation was answered by something else");
    Fault::internal()
}

fn acquired(
    name: &str,
    owner: &Owner,
    mode: Mode,
    outcome: &AcquireOutcome,
    applied: &Applied,
) -> Result<Response, Fault> {
    let mut body = answer(name, owner, applied);
    body.insert("lock_type".to_owned(), json!(mode));
    match outcome {
        AcquireOutcome::Granted { hold, tokens, remaining_ms } => {
            say(&mut body, true, format!("Lock {name} acquired by {}", owner.name));
            body.insert("token".to_owned(), json!(tokens.first()));
            body.insert("hold_id".to_owned(), json!(hold_id(*hold)));
            body.insert("remaining_ms".to_owned(), json!(remaining_ms));
        }
        AcquireOutcome::Waiting { ahead, holders } => {
            let position = u64::from(*ahead) + 1;
            say(&mut body, false, waiting(name, owner, holders, position));
            body.insert("position".to_owned(), json!(position));
            body.insert("owners".to_owned(), owner_names(holders));
        }
        AcquireOutcome::Deadlock { cycle } => {
            say(&mut body, false, format!("Deadlock detected: {}", cycle_sentence(cycle)));
            body.insert("code".to_owned(), json!("deadlock"));
            body.insert("cycle".to_owned(), cycle.iter().map(edge).collect());
        }
        AcquireOutcome::Revoked { reason } => {
            say(&mut body, false, format!("Lock {name} was taken from {}: {reason}", owner.name));
            body.insert("code".to_owned(), json!("revoked"));
        }
        AcquireOutcome::Refused(refusal) => {
            refused(&mut body, refusal)?;
        }
        // These routes always queue, and name no request.
        AcquireOutcome::Held { .. } | AcquireOutcome::Ended | AcquireOutcome::Left => {
            return Err(Fault::internal());
        }
    }
    Ok(json_answer(body))
}

/// What the owner can mend by itself is an ordinary answer; a limit is the cluster's no.
fn refused(body: &mut Map<String, Value>, refusal: &LockRefusal) -> Result<(), Fault> {
    let fault = Fault::from(refusal.clone());
    if fault.status != StatusCode::CONFLICT {
        return Err(fault);
    }
    say(body, false, fault.detail);
    body.insert("code".to_owned(), json!(fault.code));
    Ok(())
}

fn released(name: &str, owner: &Owner, outcome: &ReleaseOutcome, applied: &Applied) -> Response {
    let mut body = answer(name, owner, applied);
    let client = &owner.name;
    let (success, message) = match outcome {
        ReleaseOutcome::Released => (true, format!("Lock {name} released by {client}")),
        ReleaseOutcome::LeftQueue => (true, format!("{client} left the wait list of lock {name}")),
        ReleaseOutcome::NotHolder => {
            (false, format!("{client} neither holds nor waits for lock {name}"))
        }
        ReleaseOutcome::HeldWithOthers { .. } => {
            let how = "by one request with other locks, and has to give them back by its hold id";
            (false, format!("{client} has lock {name} {how}"))
        }
    };
    say(&mut body, success, message);
    json_answer(body)
}

fn answer(name: &str, owner: &Owner, applied: &Applied) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("resource_id".to_owned(), json!(name));
    body.insert("client_id".to_owned(), json!(owner.name));
    body.insert("index".to_owned(), json!(applied.index.0));
    body
}

fn say(body: &mut Map<String, Value>, success: bool, message: String) {
    body.insert("success".to_owned(), Value::Bool(success));
    body.insert("message".to_owned(), Value::String(message));
}

fn waiting(name: &str, owner: &Owner, holders: &[Owner], position: u64) -> String {
    let client = &owner.name;
    let holders: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
    let held = match holders.as_slice() {
        [] => format!("Lock {name} is not free"),
        holders => format!("Lock {name} is held by {}", holders.join(", ")),
    };
    format!("{held}; {client} is number {position} in the wait list")
}

fn owner_names(owners: &[Owner]) -> Value {
    owners.iter().map(|owner| owner.name.clone()).collect()
}

/// "a waits for y behind b, b waits for x behind a"
fn cycle_sentence(cycle: &[(Owner, String)]) -> String {
    let edges = cycle.iter().enumerate().map(|(at, (owner, lock))| {
        let behind = match cycle.get(at + 1) {
            Some((next, _)) => next.name.as_str(),
            None if cycle.len() < CYCLE_NAMED_MAX => cycle[0].0.name.as_str(),
            None => "others, not named here",
        };
        format!("{} waits for {lock} behind {behind}", owner.name)
    });
    edges.collect::<Vec<_>>().join(", ")
}

fn edge((owner, lock): &(Owner, String)) -> Value {
    json!({ "client_id": owner.name, "waits_for": lock })
}

pub(super) fn draw(fault: Fault, context: &RequestContext) -> Response {
    match fault.status {
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => fault.into_problem(context),
        _ => fault.into_original(context),
    }
}
