//! Where topics are, and which Redis is the cluster's.

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::client::Client;
use crate::error::Error;
use crate::nodes::{Call, Repeat};

/// Where a topic's messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In the Raft log, and in the memory of every node.
    Raft,
    /// In Redis.
    Redis,
}

/// What the cluster says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueStore {
    /// Where new topics are made; `None`: nobody has said so.
    pub default_store: Option<Store>,
    /// The name that the cluster has given to its Redis; `None`: it has none yet.
    pub redis_id: Option<String>,
    /// The node that has answered was started with a Redis.
    pub has_redis: bool,
}

impl Client {
    /// Where topics are made, and which Redis is the cluster's.
    ///
    /// # Errors
    /// If no node can confirm the read in time.
    pub async fn queue_store(&self) -> Result<QueueStore, Error> {
        self.nodes.call(&Call::get(&["v1", "queue-store"])).await?.decode()
    }

    /// Says where new topics are made from now on.
    ///
    /// # Errors
    /// If no node serves it in time.
    pub async fn set_default_store(&self, store: Store) -> Result<QueueStore, Error> {
        let call = Call::patch(&["v1", "queue-store"], json!({ "default_store": store }));
        self.nodes.call(&call).await?.decode()
    }

    /// Takes the Redis that the nodes are connected to now for the cluster's. What the one before (`redis_id`) held
    /// and this one does not is lost.
    ///
    /// # Errors
    /// `redis_id_differs`; or no node serves it in time.
    pub async fn adopt_redis(&self, redis_id: &str) -> Result<QueueStore, Error> {
        let body = json!({ "redis_id": redis_id });
        // A repeat of one that was done names a Redis that is the cluster's no more.
        let call = Call::post(&["v1", "queue-store", "adopt"], body, Repeat::IfUnsent);
        self.nodes.call(&call).await?.decode()
    }
}
