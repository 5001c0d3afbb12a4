//! `POST /v1/locks/{name}/acquire` and `POST /v1/locks/acquire`: one lock, or several at once.
//!
//! `wait` makes it a long-poll. A client that hangs up drops this handler, and the node leaves the
//! queue for it. A grant is delivered in the very step in which the answer is handed to the
//! connection: nothing between may wait, or a client that hangs up there would leave a hold behind of
//! which it never heard.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::locks::{Acquire, LockItem, Mode, Owner};
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{self, Asked};
use super::lock::{NamePath, name_of};
use super::problems::WriteProblems;
use super::schemas;
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::fields::{Fields, hold_id};
use crate::http::problem::{Fault, typed_answer};
use crate::waits::{Answer, WaitOutcome};

const MODES: [(&str, Mode); 3] =
    [("exclusive", Mode::Exclusive), ("shared", Mode::Shared), ("permits", Mode::Permits)];

/// One lock.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct AcquireRequest {
    /// Who wants it: one sequential agent. Asking again is the same request, and renews.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    owner: String,
    /// How; exclusive if absent.
    mode: Option<schemas::ModeWord>,
    /// With the mode `permits`: how many; 1 if absent.
    #[schema(minimum = 1, maximum = 1_000_000)]
    permits: Option<u32>,
    /// With the mode `permits`: how many the lock has. Everybody has to say the same.
    #[schema(minimum = 1, maximum = 1_000_000)]
    permits_max: Option<u32>,
    /// The lease: 0 for none; the cluster's default if absent; at most the setting `lease_ms_max`.
    ttl: Option<schemas::Duration>,
    /// How long to wait, at most 10 minutes. 0 or absent: try, and do not queue.
    wait: Option<schemas::Duration>,
}

/// Several locks, all or none.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct AcquireManyRequest {
    /// Who wants them: one sequential agent.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    owner: String,
    /// Which, each once; at most the setting `request_names_max`.
    #[schema(min_items = 1, max_items = 128)]
    locks: Vec<WantedLock>,
    /// The lease: 0 for none; the cluster's default if absent; at most the setting `lease_ms_max`.
    ttl: Option<schemas::Duration>,
    /// How long to wait, at most 10 minutes. 0 or absent: try, and do not queue.
    wait: Option<schemas::Duration>,
}

/// One of several locks.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct WantedLock {
    /// Its name.
    #[schema(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    name: String,
    /// How; exclusive if absent.
    mode: Option<schemas::ModeWord>,
    /// With the mode `permits`: how many; 1 if absent.
    #[schema(minimum = 1, maximum = 1_000_000)]
    permits: Option<u32>,
    /// With the mode `permits`: how many the lock has.
    #[schema(minimum = 1, maximum = 1_000_000)]
    permits_max: Option<u32>,
}

/// A hold.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GrantAnswer {
    /// The hold's id: what releases, renews, upgrades and downgrades name.
    hold: String,
    /// The fencing token of the only, the first or the upgraded lock.
    token: u64,
    /// Every lock of the hold, by name.
    locks: Vec<GrantedLock>,
    /// The lease that the hold was granted with; 0: none.
    ttl_ms: u64,
    /// What is left of the lease; null: no lease. Count it from `waited_ms` after the sending of the
    /// request.
    remaining_ms: Option<u64>,
    /// How long after the request's arrival `remaining_ms` was true, at the latest; 0: it did not wait.
    waited_ms: u64,
    /// Log entry up to which the answer looks.
    index: u64,
}

/// One lock of a hold.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct GrantedLock {
    /// Its name.
    name: String,
    /// How it is held: at least what was asked.
    #[schema(value_type = schemas::ModeWord)]
    mode: Mode,
    /// How many permits; 1 for a plain lock.
    permits: u32,
    /// Its fencing token.
    token: u64,
}

/// Acquires one lock.
///
/// 409 `held`: somebody else has it, and the request does not wait. 409 `wait_timeout`: the wait is
/// over. 409 `deadlock`: waiting would close a cycle, which is named. 409 `already_held`: the owner is
/// on it by another request. 409 `permits_differ`, `waits_in_other_mode`, `not_a_plain_lock`.
/// 409 `revoked`, `hold_ended`, `superseded`: what became of the same request.
#[utoipa::path(
    post,
    path = "/v1/locks/{name}/acquire",
    operation_id = "acquire_lock",
    tag = "locks",
    params(schemas::NameInPath, schemas::RequestIdHeaders),
    request_body = AcquireRequest,
    responses((status = 200, description = "Held.", body = GrantAnswer), WriteProblems),
)]
pub async fn one(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: NamePath,
    request: Request,
) -> Response {
    try_one(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Acquires several locks together, or none of them. Conflicts as with one.
#[utoipa::path(
    post,
    path = "/v1/locks/acquire",
    operation_id = "acquire_locks",
    tag = "locks",
    params(schemas::RequestIdHeaders),
    request_body = AcquireManyRequest,
    responses((status = 200, description = "All held.", body = GrantAnswer), WriteProblems),
)]
pub async fn many(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    request: Request,
) -> Response {
    try_many(&site, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_one(site: &Site, path: NamePath, request: Request) -> Result<Response, Fault> {
    let name = name_of(site, path)?;
    let known = ["owner", "mode", "permits", "permits_max", "ttl", "wait"];
    let asked = Asked::read(site, request, &known).await?;
    let owner = asked.owner()?;
    let items = vec![item(&asked, &asked.fields, name)?];
    acquire(site, &asked, owner, items).await
}

async fn try_many(site: &Site, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, request, &["owner", "locks", "ttl", "wait"]).await?;
    let owner = asked.owner()?;
    let max = usize::try_from(asked.settings.locks.request_names_max).unwrap_or(usize::MAX);
    let known = ["name", "mode", "permits", "permits_max"];
    let mut items: Vec<LockItem> = Vec::new();
    for lock in asked.fields.objects("locks", max, &known)? {
        let name = lock.name("name", asked.name_bytes_max())?;
        if items.iter().any(|item| item.name == name) {
            return Err(lock.wrong("name", "is a lock that stands there twice"));
        }
        items.push(item(&asked, &lock, name)?);
    }
    // The order in which they are written means nothing, and the tokens come in this one.
    items.sort_unstable();
    acquire(site, &asked, owner, items).await
}

fn item(asked: &Asked, fields: &Fields, name: String) -> Result<LockItem, Fault> {
    let mode = fields.choice_or_none("mode", &MODES)?.unwrap_or(Mode::Exclusive);
    let range = 1..=u64::from(asked.settings.locks.permits_max);
    let permits_max = fields.integer("permits_max", range.clone())?;
    let permits = fields.integer("permits", range)?;
    if mode != Mode::Permits {
        let stray = ["permits", "permits_max"].into_iter().find(|field| fields.has(field));
        return match stray {
            Some(field) => Err(fields.wrong(field, "goes with the mode permits only")),
            None => Ok(LockItem { name, mode, permits: 1, permits_max: 1 }),
        };
    }
    let permits_max = permits_max
        .ok_or_else(|| fields.wrong("permits_max", "is missing: how many are there?"))?;
    let permits = permits.unwrap_or(1);
    if permits > permits_max {
        return Err(fields.wrong("permits", "must not be more than permits_max"));
    }
    let narrow = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(LockItem { name, mode, permits: narrow(permits), permits_max: narrow(permits_max) })
}

async fn acquire(
    site: &Site,
    asked: &Asked,
    owner: Owner,
    items: Vec<LockItem>,
) -> Result<Response, Fault> {
    let (ttl_ms, patience) = (asked.ttl_ms()?, asked.patience(site)?);
    let names: Vec<String> = items.iter().map(|item| item.name.clone()).collect();
    let wanted = Wanted {
        items: items.clone(),
        ttl_ms: ttl_ms.unwrap_or(asked.settings.locks.default_lease_ms),
        token_of: None,
    };
    // Both are set by the node.
    let (queue, attachment) = (false, None);
    let ask = Acquire { owner, items, ttl_ms, queue, attachment };
    let _seat = asking::seat(site, &patience)?;
    let answer = site.node.acquire(asked.request.clone(), ask, patience).await?;
    deliver(site, answer, &wanted).map_err(|fault| with_holders(site, fault, &names))
}

/// What a granted request asked for: what to say of a hold that this node's state does not show (any
/// more).
pub(super) struct Wanted {
    /// Its locks, by name.
    pub items: Vec<LockItem>,
    /// Its lease.
    pub ttl_ms: u64,
    /// Whose token the answer's `token` is; `None`: the first lock's.
    pub token_of: Option<String>,
}

/// Answers a grant, which is the client's from then on; or says what is against it.
pub(super) fn deliver(site: &Site, answer: Answer, wanted: &Wanted) -> Result<Response, Fault> {
    if let Some(fault) = asking::conflict(&answer.outcome) {
        return Err(fault);
    }
    let response = draw(site, &answer, wanted).ok_or_else(Fault::internal)?;
    let _ = answer.deliver();
    Ok(response)
}

fn draw(site: &Site, answer: &Answer, wanted: &Wanted) -> Option<Response> {
    let WaitOutcome::Granted { hold, tokens, remaining_ms } = &answer.outcome else { return None };
    let machine = site.node.machine();
    let view = machine.locks().hold(*hold);
    let locks: Vec<GrantedLock> = match &view {
        Some(view) => {
            let shown = view.items.iter().enumerate();
            let locks = shown.map(|(at, item)| GrantedLock {
                name: item.name.clone(),
                mode: item.mode,
                permits: item.permits,
                token: tokens.get(at).copied().unwrap_or(item.token),
            });
            locks.collect()
        }
        None => {
            let asked = wanted.items.iter().zip(tokens);
            let locks = asked.map(|(item, token)| GrantedLock {
                name: item.name.clone(),
                mode: item.mode,
                permits: item.permits,
                token: *token,
            });
            locks.collect()
        }
    };
    let named = |lock: &&GrantedLock| wanted.token_of.as_ref().is_none_or(|of| *of == lock.name);
    let token = locks.iter().find(named).map(|lock| lock.token);
    Some(typed_answer(&GrantAnswer {
        hold: hold_id(*hold),
        // The lock of an upgrade that has ended since has the newest token of its hold.
        token: token.or_else(|| tokens.iter().max().copied())?,
        locks,
        ttl_ms: view.map_or(wanted.ttl_ms, |view| view.ttl_ms),
        remaining_ms: *remaining_ms,
        waited_ms: answer.waited_ms,
        index: answer.index.0,
    }))
}

/// Who is in the way after a wait that ran out: as this node sees it now.
pub(super) fn with_holders(site: &Site, fault: Fault, names: &[String]) -> Fault {
    if fault.code != "wait_timeout" || fault.status != StatusCode::CONFLICT {
        return fault;
    }
    let machine = site.node.machine();
    let locks = names.iter().filter_map(|name| machine.locks().get(name));
    let owners: Vec<Owner> = locks
        .flat_map(|lock| lock.holders.into_iter().map(|holder| holder.owner))
        .take(super::lock::BRIEF_MAX)
        .collect();
    fault.with("holders", asking::owners(&owners))
}
