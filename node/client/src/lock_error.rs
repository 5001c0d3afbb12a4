//! Why a lock is not had.

use serde::Deserialize;
use serde_json::Value;

use crate::error::Error;

/// Why a lock is not had, or not had any more.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody has it, and the request does not wait.
    #[error("held by {}", named(owners))]
    Held {
        /// Who holds it, as far as the answer names them.
        owners: Vec<String>,
    },
    /// It was not granted within the time to wait.
    #[error("not granted within the time to wait; held by {}", named(owners))]
    WaitTimeout {
        /// Who holds it, as far as the answer names them.
        owners: Vec<String>,
    },
    /// Waiting for it would have closed a circle of owners that wait for each other.
    #[error("deadlock: {}", circle(cycle))]
    Deadlock {
        /// The owners in order, each waiting for the next, the last for the first.
        cycle: Vec<CycleEdge>,
    },
    /// This agent holds one of the names, or asks for it, by another request.
    #[error("this agent already holds, or asks for, {name}")]
    AlreadyHeld {
        /// Which, if the answer says so.
        name: String,
    },
    /// What was held is not held any more.
    #[error("the lock is lost: {0}")]
    Lost(#[from] Loss),
    /// The request was refused for another reason, or could not be served.
    #[error(transparent)]
    Call(Error),
}

/// How a hold was lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Loss {
    /// Its lease ended, as counted here, before a renewal was answered.
    #[error("its lease ended before a renewal was answered")]
    Expired,
    /// The cluster knows no such hold (any more).
    #[error("the cluster does not know the hold any more")]
    Ended,
    /// Somebody released it by force.
    #[error("it was released by force: {reason}")]
    Revoked {
        /// The reason that was given.
        reason: String,
    },
    /// It was given back.
    #[error("it was released")]
    Released,
}

/// One owner of a circle of waits; it waits for the next one, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct CycleEdge {
    /// Who.
    #[serde(alias = "client_id")]
    pub owner: String,
    /// The lock that it waits for.
    #[serde(alias = "lock")]
    pub waits_for: String,
}

impl From<Error> for LockError {
    fn from(error: Error) -> Self {
        match error.code() {
            Some("held") => Self::Held { owners: owners(&error) },
            Some("wait_timeout") => Self::WaitTimeout { owners: owners(&error) },
            Some("deadlock") => Self::Deadlock { cycle: cycle(&error) },
            Some("already_held" | "waits_in_other_mode") => {
                Self::AlreadyHeld { name: text(&error, "name") }
            }
            Some("revoked") => Self::Lost(Loss::Revoked { reason: text(&error, "reason") }),
            Some("hold_ended" | "not_held") => Self::Lost(Loss::Ended),
            _ => Self::Call(error),
        }
    }
}

fn text(error: &Error, member: &str) -> String {
    error.member(member).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn cycle(error: &Error) -> Vec<CycleEdge> {
    error.member("cycle").and_then(|cycle| Vec::deserialize(cycle).ok()).unwrap_or_default()
}

fn owners(error: &Error) -> Vec<String> {
    let holders = error.member("holders").or_else(|| error.member("owners"));
    let named = holders.and_then(Value::as_array).into_iter().flatten();
    named.filter_map(|it| it.as_str().or_else(|| it["owner"].as_str())).map(str::to_owned).collect()
}

fn named(owners: &[String]) -> String {
    if owners.is_empty() { "others".to_owned() } else { owners.join(", ") }
}

fn circle(cycle: &[CycleEdge]) -> String {
    let edges = cycle.iter().map(|edge| format!("{} waits for {}", edge.owner, edge.waits_for));
    edges.collect::<Vec<_>>().join(", ")
}
