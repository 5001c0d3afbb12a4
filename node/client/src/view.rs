//! Locks as they are read: who holds, who waits.

use dsync_core::locks::Mode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::client::Client;
use crate::error::Error;
use crate::nodes::Call;

/// Locks of a page, when all are listed.
const PAGE: u32 = 1_000;

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// How many permits it has; `None`: it is a plain lock, or free.
    #[serde(default)]
    pub permits_max: Option<u32>,
    /// How many of them nobody holds.
    #[serde(default)]
    pub permits_free: Option<u32>,
    /// Who holds it; nobody if it is free.
    pub holders: Vec<Holder>,
    /// How many hold it, if not all are listed.
    #[serde(default)]
    pub holders_count: u64,
    /// Who waits, the next one first.
    pub waiters: Vec<Waiter>,
    /// How many wait, if not all are listed.
    #[serde(default)]
    pub waiters_count: u64,
    /// Not all holders or waiters are listed.
    #[serde(default)]
    pub truncated: bool,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Who.
    pub owner: String,
    /// How.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    #[serde(default = "one")]
    pub permits: u32,
    /// The hold's own name.
    pub hold: String,
    /// Its fencing token.
    pub token: u64,
    /// Granted while nobody listened, and not taken up yet.
    #[serde(default)]
    pub claim: bool,
    /// When it was granted, in cluster time.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// For how long, in milliseconds of cluster time.
    #[serde(default)]
    pub held_ms: Option<u64>,
    /// Milliseconds of lease left; `None`: no lease.
    pub remaining_ms: Option<u64>,
    /// It is released by force, and why: it ends with its lease and cannot be renewed.
    #[serde(default)]
    pub revoked: Option<String>,
}

/// Who waits for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// Who.
    pub owner: String,
    /// What for.
    pub mode: Mode,
    /// How many permits; 1 for a plain lock.
    #[serde(default = "one")]
    pub permits: u32,
    /// It holds the lock shared, and waits for the other readers.
    #[serde(default)]
    pub upgrade: bool,
    /// When it was queued, in cluster time.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// For how long, in milliseconds of cluster time.
    #[serde(default)]
    pub waited_ms: Option<u64>,
}

/// A part of the list of locks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockPage {
    /// In the order of their names.
    pub locks: Vec<Lock>,
    /// Where the next part begins; `None`: this is the end.
    #[serde(default, rename = "continue")]
    pub next: Option<String>,
}

fn one() -> u32 {
    1
}

/// Reading. Each answer contains everything that was answered anywhere before it was asked for.
impl Client {
    /// Who holds a lock and who waits for it.
    ///
    /// # Errors
    /// If the name is refused or no node can confirm the read in time.
    pub async fn get(&self, name: &str) -> Result<Lock, Error> {
        self.nodes.call(&Call::get(&["v1", "locks", name])).await?.decode()
    }

    /// The locks in use whose names begin with `prefix`, at most `limit` of them, from where an
    /// earlier part ended.
    ///
    /// # Errors
    /// As [`get`](Self::get); also if `next` is not from an earlier answer.
    pub async fn list(
        &self,
        prefix: &str,
        limit: Option<u32>,
        next: Option<&str>,
    ) -> Result<LockPage, Error> {
        let mut call = Call::get(&["v1", "locks"]).query("prefix", prefix);
        if let Some(limit) = limit {
            call = call.query("limit", limit.to_string());
        }
        if let Some(next) = next {
            call = call.query("continue", next);
        }
        self.nodes.call(&call).await?.decode()
    }

    /// Every lock in use whose name begins with `prefix`, page by page.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn list_all(&self, prefix: &str) -> Result<Vec<Lock>, Error> {
        let (mut locks, mut next) = (Vec::new(), None);
        loop {
            let page = self.list(prefix, Some(PAGE), next.as_deref()).await?;
            locks.extend(page.locks);
            next = page.next;
            if next.is_none() {
                return Ok(locks);
            }
        }
    }

    /// Any document that nodes serve, as it stands: `["v1", "cluster"]`, `["v1", "graph", "locks"]`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn document(&self, path: &[&str]) -> Result<Value, Error> {
        self.nodes.call(&Call::get(path)).await?.decode()
    }
}
