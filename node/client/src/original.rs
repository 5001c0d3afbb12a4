//! The original routes, `/lock/acquire` and `/lock/release`: for programs that still use them.
//!
//! They go by owner and name, and do not wait. An acquire is repeated when its outcome is unknown: the
//! same owner asking again gets the same hold. A release is not: the repeat of one that worked would
//! answer "not the holder", and the caller would believe that it lost its lock long ago.
//!
//! Dropping the future of an acquire leaves open whether the owner holds the lock, or waits: a release,
//! which goes by owner, makes sure that it does neither.

use dsync_core::locks::Mode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::Error;
use crate::nodes::{Answer, Call, Nodes, Repeat};

/// What became of an acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The caller holds the lock.
    Held(Granted),
    /// The caller is queued. The place is kept for some seconds: ask again to keep it, and to learn
    /// that the lock has been granted.
    Waiting(Wait),
    /// Waiting would have closed a cycle of waits; nothing was queued.
    Deadlock(Vec<CycleEdge>),
    /// Not taken for a reason that the caller can mend; nothing changed.
    Refused(Refusal),
}

/// A lock that is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The fencing token: rises over successive holders. Give it to whatever the lock protects.
    pub token: u64,
    /// The hold's own name, never used again.
    pub hold_id: String,
    /// Milliseconds of lease left, counted from the sending of the request; `None`: no lease.
    pub remaining_ms: Option<u64>,
    /// The log entry that answered.
    pub index: u64,
}

/// A place in a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    /// 1 for the next one.
    pub position: u64,
    /// Who holds the lock.
    pub owners: Vec<String>,
    /// For people.
    pub message: String,
}

/// One owner of a cycle of waits; it waits for the next one of the list, the last for the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CycleEdge {
    /// Who.
    pub client_id: String,
    /// The lock that it waits for.
    pub waits_for: String,
}

/// A lock request that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The stable word.
    pub code: String,
    /// For people.
    pub message: String,
}

/// What became of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// The hold, or the wait, has ended.
    Ended,
    /// The caller neither held the lock nor waited for it.
    NotHolder,
}

/// The original routes of a cluster; from [`Client::original`](crate::Client::original).
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    pub(crate) nodes: &'a Nodes,
}

impl Original<'_> {
    /// Asks for a lock once: it is held, or the caller is queued. `ttl_ms` is the lease in
    /// milliseconds; `None` holds until released.
    ///
    /// # Errors
    /// If the request is refused or nobody serves it in time. Then the caller may be queued, or even
    /// hold the lock: release it.
    pub async fn acquire(
        &self,
        lock: &str,
        owner: &str,
        mode: Mode,
        ttl_ms: Option<u64>,
    ) -> Result<Acquired, Error> {
        let body = json!({
            "resource_id": lock,
            "client_id": owner,
            "lock_type": mode,
            "ttl": ttl_ms.unwrap_or(0),
        });
        let call = Call::post(&["lock", "acquire"], body, Repeat::Always);
        acquired(&self.nodes.call(&call).await?)
    }

    /// Gives a lock back, or a place in its queue.
    ///
    /// # Errors
    /// If the request is refused, nobody serves it in time, or its outcome is unknown.
    pub async fn release(&self, lock: &str, owner: &str) -> Result<Released, Error> {
        let body = json!({ "resource_id": lock, "client_id": owner });
        let call = Call::post(&["lock", "release"], body, Repeat::IfUnsent);
        let said: Said = self.nodes.call(&call).await?.decode()?;
        Ok(if said.success { Released::Ended } else { Released::NotHolder })
    }
}

#[derive(Deserialize)]
struct Said {
    success: bool,
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: String,
    position: Option<u64>,
    #[serde(default)]
    owners: Vec<String>,
    cycle: Option<Vec<CycleEdge>>,
}

fn acquired(answer: &Answer) -> Result<Acquired, Error> {
    let value: Value = answer.decode()?;
    let unknown = |error: serde_json::Error| Error::Answer {
        node: answer.node.clone(),
        reason: error.to_string(),
    };
    let said: Said = Said::deserialize(&value).map_err(unknown)?;
    if said.success {
        return Granted::deserialize(&value).map(Acquired::Held).map_err(unknown);
    }
    Ok(match (said.cycle, said.position) {
        (Some(cycle), _) => Acquired::Deadlock(cycle),
        (None, Some(position)) => {
            Acquired::Waiting(Wait { position, owners: said.owners, message: said.message })
        }
        (None, None) => Acquired::Refused(Refusal { code: said.code, message: said.message }),
    })
}
