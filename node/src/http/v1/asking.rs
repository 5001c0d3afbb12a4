//! What all changing requests have in common: a JSON body with known fields, a request id, a command
//! that is applied once, and the conflicts that may come of it.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use axum::extract::Request;
use dsync_core::locks::{HoldId, HoldRef, Owner};
use dsync_core::machine::{Machine, Operation, Outcome, RequestId, Settings};
use dsync_core::types::Index;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::lock;
use crate::handle::Applied;
use crate::http::fields::{Fields, hold_id};
use crate::http::original::ANONYMOUS;
use crate::http::params::Params;
use crate::http::problem::Fault;
use crate::http::{Site, body, request_id};
use crate::waits::{Patience, WaitOutcome};

/// Longest wait of one request; who wants to wait longer asks again.
pub const WAIT_MS_MAX: u64 = 600_000;
/// Owners of a cycle that the sentence names; the member `cycle` has them all.
const CYCLE_SAID_MAX: usize = 8;

/// A changing request that was read.
#[derive(Debug)]
pub struct Asked {
    /// The id that the client gave it.
    pub request: Option<RequestId>,
    /// Its body.
    pub fields: Fields,
    /// The limits of the cluster, as this node knows them.
    pub settings: Settings,
}

impl Asked {
    /// Reads a request whose body may have the `known` fields.
    ///
    /// # Errors
    /// If anything about it is wrong.
    pub async fn read(site: &Site, request: Request, known: &[&str]) -> Result<Self, Fault> {
        Params::refuse_all(request.uri())?;
        let headers = request.headers();
        body::require_json(headers)?;
        let id = request_id::read(headers)?;
        let fields = Fields::strict(&body::read(site, request).await?, known)?;
        Ok(Self { request: id, fields, settings: settings(&site.node.machine()) })
    }

    /// Most bytes of a name.
    #[must_use]
    pub fn name_bytes_max(&self) -> usize {
        usize::try_from(self.settings.locks.name_bytes_max).unwrap_or(usize::MAX)
    }

    /// The field `owner`.
    ///
    /// # Errors
    /// If it is missing or no name.
    pub fn owner(&self) -> Result<Owner, Fault> {
        let name = self.fields.name("owner", self.name_bytes_max())?;
        Ok(Owner { principal: ANONYMOUS.to_owned(), name })
    }

    /// The field `hold`, of the lock `name` if the route names one.
    ///
    /// # Errors
    /// If it is missing or no hold's id.
    pub fn hold(&self, name: Option<String>) -> Result<HoldRef, Fault> {
        Ok(HoldRef { principal: ANONYMOUS.to_owned(), hold: self.fields.hold("hold")?, name })
    }

    /// The field `ttl`.
    ///
    /// # Errors
    /// If it is no length of time, or longer or shorter than the settings allow.
    pub fn ttl_ms(&self) -> Result<Option<u64>, Fault> {
        let rules = &self.settings.locks;
        self.fields.lease_ms("ttl", rules.lease_ms_min, rules.lease_ms_max)
    }

    /// The field `wait`, and how long the rest may take.
    ///
    /// # Errors
    /// If it is no length of time, or too long.
    pub fn patience(&self, site: &Site) -> Result<Patience, Fault> {
        let wait_ms = self.fields.duration_up_to("wait", WAIT_MS_MAX)?.unwrap_or(0);
        let deadline = Instant::now() + site.limits.deadline;
        Ok(Patience { wait: Duration::from_millis(wait_ms), deadline })
    }

    /// Applies an operation once.
    ///
    /// # Errors
    /// If there is no answer, or the id or the age of the request is against it.
    pub async fn submit(&self, site: &Site, operation: Operation) -> Result<Applied, Fault> {
        let deadline = Instant::now() + site.limits.deadline;
        let operation = operation.with_request(self.request.clone());
        let applied = site.node.submit(operation, deadline).await?;
        match applied.outcome {
            Outcome::Void => Err(Fault::void()),
            Outcome::RequestRefused(refusal) => Err(refusal.into()),
            _ => Ok(applied),
        }
    }
}

/// A seat for a request that waits; one that only tries needs none.
///
/// # Errors
/// If there is none.
pub fn seat(site: &Site, patience: &Patience) -> Result<Option<OwnedSemaphorePermit>, Fault> {
    if patience.wait.is_zero() { Ok(None) } else { site.seat_to_wait().map(Some) }
}

/// An answer to another operation than the one that was asked for: a bug.
pub fn unexpected(outcome: &Outcome) -> Fault {
    tracing::error!(?outcome, "a lock operation was answered by something else");
    Fault::internal()
}

/// The settings in force. Before the founding nothing can be locked; the defaults then serve to name
/// a wrong field first.
#[must_use]
pub fn settings(machine: &Machine) -> Settings {
    machine.settings().cloned().unwrap_or_default()
}

/// What a request that may wait fails with; `None`: it is granted.
#[must_use]
pub fn conflict(outcome: &WaitOutcome) -> Option<Fault> {
    Some(match outcome {
        WaitOutcome::Granted { .. } => return None,
        WaitOutcome::Held { holders } => held(holders),
        WaitOutcome::TimedOut => {
            Fault::conflict("wait_timeout", "the wait is over; the owner waits no longer")
        }
        WaitOutcome::Deadlock { cycle } => deadlock(cycle),
        WaitOutcome::Superseded => {
            let detail = "the same request was asked again, and that one gets the answer";
            Fault::conflict("superseded", detail)
        }
        WaitOutcome::Ended => Fault::conflict("hold_ended", "what this request got has ended"),
        WaitOutcome::Revoked { reason } => revoked(reason),
        WaitOutcome::Refused(refusal) => refusal.clone().into(),
        WaitOutcome::RequestRefused(refusal) => (*refusal).into(),
        WaitOutcome::Void => Fault::void(),
    })
}

fn held(holders: &[Owner]) -> Fault {
    let names: Vec<&str> = holders.iter().map(|holder| holder.name.as_str()).collect();
    let detail = match names.as_slice() {
        [] => "others wait for it".to_owned(),
        names => format!("it is held by {}", names.join(", ")),
    };
    Fault::conflict("held", detail).with("holders", owners(holders))
}

/// Owners, as the holders of a lock are shown.
#[must_use]
pub fn owners(owners: &[Owner]) -> Value {
    owners.iter().map(|owner| json!({ "owner": owner.name })).collect()
}

/// The hold was revoked.
#[must_use]
pub fn revoked(reason: &str) -> Fault {
    let detail = format!("the hold was revoked, and has ended: {reason}");
    Fault::conflict("revoked", detail).with("reason", reason)
}

fn deadlock(cycle: &[(Owner, String)]) -> Fault {
    let mut detail = "waiting would close a cycle: ".to_owned();
    for (at, (owner, lock)) in cycle.iter().take(CYCLE_SAID_MAX).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let _ = write!(detail, "{comma}{} waits for {lock}", owner.name);
    }
    if cycle.len() > CYCLE_SAID_MAX {
        detail.push_str(", and so on");
    }
    let edges: Value = cycle
        .iter()
        .map(|(owner, lock)| json!({ "owner": owner.name, "waits_for": lock }))
        .collect();
    Fault::conflict("deadlock", detail).with("cycle", edges)
}

/// There is no such hold (any more): shows the lock as it is at `index` or later, if the request names
/// one and this node gets there.
pub async fn hold_ended(site: &Site, hold: HoldId, name: Option<&str>, index: Index) -> Fault {
    let detail = format!("there is no hold {} of this lock (any more)", hold_id(hold));
    let fault = Fault::conflict("hold_ended", detail).with("hold", hold_id(hold));
    let Some(name) = name else { return fault };
    let mut state = site.node.stale_state();
    if state.machine.applied() < index {
        match site.read().await {
            Ok(newer) => state = newer,
            Err(_) => return fault,
        }
    }
    let lock = serde_json::to_value(lock::briefly(&state, name));
    fault.with("lock", lock.unwrap_or_default())
}
