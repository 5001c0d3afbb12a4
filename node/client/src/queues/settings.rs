//! How a topic treats its messages.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Expired, Growth, Queue};
use crate::error::Error;
use crate::lock_request::millis;
use crate::nodes::Call;

/// The settings of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// How long a delivery is its receiver's alone, if the receiver does not say.
    pub visibility_ms: u64,
    /// A message that was delivered so often without an ack is dead; 0: never.
    pub deliveries_max: u32,
    /// How long a message waits after a nack that does not say.
    pub nack_backoff: Backoff,
    /// How long it waits after a delivery that ended without a word.
    pub timeout_backoff: Backoff,
    /// Nothing is delivered from the main part.
    pub paused: bool,
    /// Most messages in the main part; 0: only the cluster's limit.
    pub messages_max: u64,
    /// How long a message is wanted, if its push does not say; 0: for ever.
    pub ttl_ms: u64,
    /// What becomes of a message that nobody wants any more.
    pub expired: Expired,
    /// How long a deduplication key is remembered.
    pub dedupe_window_ms: u64,
}

/// A pace of retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backoff {
    /// How it grows with the number of deliveries.
    pub growth: Growth,
    /// After the first delivery.
    pub base_ms: u64,
    /// At most.
    pub max_ms: u64,
    /// Up to this share is taken off.
    pub jitter_percent: u8,
}

/// The settings, after a change or a look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsReply {
    /// Of which topic.
    pub topic: String,
    /// This change made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<bool>,
    /// What holds now.
    pub settings: TopicSettings,
}

/// What is to be other than it is; see [`TopicSettings`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange(Map<String, Value>);

impl SettingsChange {
    /// Nothing. Made so, a topic has the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Nothing is to be changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// See [`TopicSettings::visibility_ms`].
    #[must_use]
    pub fn visibility(self, visibility: Duration) -> Self {
        self.with("visibility", json!(millis(visibility)))
    }

    /// See [`TopicSettings::deliveries_max`].
    #[must_use]
    pub fn deliveries_max(self, deliveries_max: u32) -> Self {
        self.with("deliveries_max", json!(deliveries_max))
    }

    /// See [`TopicSettings::nack_backoff`].
    #[must_use]
    pub fn nack_backoff(self, backoff: Backoff) -> Self {
        self.with("nack_backoff", backoff.json())
    }

    /// See [`TopicSettings::timeout_backoff`].
    #[must_use]
    pub fn timeout_backoff(self, backoff: Backoff) -> Self {
        self.with("timeout_backoff", backoff.json())
    }

    /// See [`TopicSettings::paused`].
    #[must_use]
    pub fn paused(self, paused: bool) -> Self {
        self.with("paused", json!(paused))
    }

    /// See [`TopicSettings::messages_max`].
    #[must_use]
    pub fn messages_max(self, messages_max: u64) -> Self {
        self.with("messages_max", json!(messages_max))
    }

    /// See [`TopicSettings::ttl_ms`].
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        self.with("ttl", json!(millis(ttl)))
    }

    /// See [`TopicSettings::expired`].
    #[must_use]
    pub fn expired(self, expired: Expired) -> Self {
        self.with("expired", json!(expired))
    }

    /// See [`TopicSettings::dedupe_window_ms`].
    #[must_use]
    pub fn dedupe_window(self, window: Duration) -> Self {
        self.with("dedupe_window", json!(millis(window)))
    }

    fn with(mut self, field: &str, value: Value) -> Self {
        self.0.insert(field.to_owned(), value);
        self
    }
}

impl Backoff {
    fn json(&self) -> Value {
        json!({ "growth": self.growth, "base": self.base_ms, "max": self.max_ms,
                "jitter_percent": self.jitter_percent })
    }
}

impl Queue {
    /// The topic's settings.
    ///
    /// # Errors
    /// `no_such_topic`; or no node can confirm the read in time.
    pub async fn settings(&self) -> Result<SettingsReply, Error> {
        self.nodes.call(&Call::get(&self.path(&["settings"]))).await?.decode()
    }

    /// Changes what is named, and makes the topic if it is not there.
    ///
    /// # Errors
    /// If a value is not one that a topic can have, or no node serves it in time.
    pub async fn configure(&self, change: &SettingsChange) -> Result<SettingsReply, Error> {
        let call = Call::patch(&self.path(&["settings"]), Value::Object(change.0.clone()));
        self.nodes.call(&call).await?.decode()
    }
}
