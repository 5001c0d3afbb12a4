//! Caches: values by key, the same on every node.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//!
//! use dsync_client::Client;
//! use dsync_client::cache::CacheValue;
//!
//! let client = Client::new(["http://127.0.0.1:5001", "http://127.0.0.1:5002"])?;
//! let cache = client.cache();
//! let value = CacheValue::json(&["ann", "bob"])?;
//! let version = cache.put("team", value).ttl(Duration::from_secs(60)).send().await?;
//! if let Some(cached) = cache.get("team").await? {
//!     let team: Vec<String> = cached.json()?;
//!     println!("{team:?}");
//! }
//! // Compare and set: only if nobody has written since.
//! cache.put("team", CacheValue::json(&["ann"])?).if_version(&version).send().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - When a put or a delete has been answered, no get on any node returns an older value. A get may find
//!   nothing at any time: a cache forgets.
//! - A put and a delete are sent once. If no node answers, [`Error::OutcomeUnknown`] says that they may have
//!   been done: a repeat could undo what somebody else has written since.
//!
//! What the routes behind this take and answer stands in `docs/protocol.md`, section "Caches".

mod cached;
mod put;
mod stats;

use std::sync::Arc;

pub use cached::{CacheConsistency, CacheValue, Cached};
pub use put::{CacheError, CacheVersion, Delete, Put};
pub use stats::CacheStats;

use crate::client::Client;
use crate::error::Error;
use crate::nodes::{Call, Nodes};

#[cfg(test)]
mod cache_test;

/// The cache of a cluster, from [`Client::cache`].
#[derive(Clone, Debug)]
pub struct Cache {
    nodes: Arc<Nodes>,
}

impl Client {
    /// The cluster's cache.
    #[must_use]
    pub fn cache(&self) -> Cache {
        Cache { nodes: Arc::clone(&self.nodes) }
    }
}

impl Cache {
    /// The newest value of a key; `None`: nothing is cached.
    ///
    /// # Errors
    /// If no node can serve it in time.
    pub async fn get(&self, key: &str) -> Result<Option<Cached>, Error> {
        self.get_with(key, CacheConsistency::Linearizable).await
    }

    /// The value of a key, as new as is asked for; `None`: nothing is cached.
    ///
    /// # Errors
    /// If no node can serve it in time.
    pub async fn get_with(
        &self,
        key: &str,
        consistency: CacheConsistency,
    ) -> Result<Option<Cached>, Error> {
        let call = Call::get(&path(key)).query("consistency", consistency.word());
        match self.nodes.call(&call).await {
            Ok(answer) => Cached::read(answer).map(Some),
            Err(error) if error.code() == Some("no_such_key") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Begins a put.
    pub fn put(&self, key: &str, value: CacheValue) -> Put {
        Put::new(Arc::clone(&self.nodes), key, value)
    }

    /// Begins a delete. To delete what is not there is no error.
    pub fn delete(&self, key: &str) -> Delete {
        Delete::new(Arc::clone(&self.nodes), key)
    }

    /// What the first node that answers has cached.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn stats(&self) -> Result<CacheStats, Error> {
        self.nodes.call(&Call::get(&["v1", "cache"])).await?.decode()
    }
}

fn path(key: &str) -> [&str; 3] {
    ["v1", "cache", key]
}
