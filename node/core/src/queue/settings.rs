//! The settings of a topic: how long, how often, in what pace.
//!
//! All times are milliseconds of cluster time.

use serde::{Deserialize, Serialize};

use super::backoff::Backoff;
use super::outcome::QueueRefusal;
use super::turn::Rules;

/// How a topic treats its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicSettings {
    /// How long a delivery is its receiver's alone, if the receiver does not say.
    pub visibility_ms: u64,
    /// A message that was delivered this often and was not acknowledged is dead; 0: never.
    pub deliveries_max: u32,
    /// How long a message waits after a nack that does not say.
    pub nack_backoff: Backoff,
    /// How long a message waits after its delivery has ended without a word.
    pub timeout_backoff: Backoff,
    /// Nothing is delivered from the main part. Everything else goes on.
    pub paused: bool,
    /// Most messages in the main part, whatever they are doing; 0: only the cluster's limit.
    pub messages_max: u64,
    /// How long a message is wanted, if its push does not say; 0: for ever.
    pub ttl_ms: u64,
    /// What becomes of a message that nobody wants any more.
    pub expired: Expired,
    /// How long a deduplication key is remembered.
    pub dedupe_window_ms: u64,
}

/// What becomes of a message whose time to live is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expired {
    /// It is gone.
    Drop,
    /// It is dead.
    Dead,
}

/// What is to be other than it is; see [`TopicSettings`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicChange {
    /// See [`TopicSettings::visibility_ms`].
    pub visibility_ms: Option<u64>,
    /// See [`TopicSettings::deliveries_max`].
    pub deliveries_max: Option<u32>,
    /// See [`TopicSettings::nack_backoff`].
    pub nack_backoff: Option<Backoff>,
    /// See [`TopicSettings::timeout_backoff`].
    pub timeout_backoff: Option<Backoff>,
    /// See [`TopicSettings::paused`].
    pub paused: Option<bool>,
    /// See [`TopicSettings::messages_max`].
    pub messages_max: Option<u64>,
    /// See [`TopicSettings::ttl_ms`].
    pub ttl_ms: Option<u64>,
    /// See [`TopicSettings::expired`].
    pub expired: Option<Expired>,
    /// See [`TopicSettings::dedupe_window_ms`].
    pub dedupe_window_ms: Option<u64>,
}

impl Default for TopicSettings {
    /// 30 s, 20 deliveries, a pause after a nack that grows from 1 s to a minute, none after a time-out
    /// (whoever waited 30 s has waited), keys for 5 minutes.
    fn default() -> Self {
        Self {
            visibility_ms: 30_000,
            deliveries_max: 20,
            nack_backoff: Backoff::exponential(1_000, 60_000),
            timeout_backoff: Backoff::none(),
            paused: false,
            messages_max: 0,
            ttl_ms: 0,
            expired: Expired::Drop,
            dedupe_window_ms: 300_000,
        }
    }
}

impl TopicSettings {
    pub(super) fn with(&self, change: &TopicChange) -> Self {
        Self {
            visibility_ms: change.visibility_ms.unwrap_or(self.visibility_ms),
            deliveries_max: change.deliveries_max.unwrap_or(self.deliveries_max),
            nack_backoff: change.nack_backoff.unwrap_or(self.nack_backoff),
            timeout_backoff: change.timeout_backoff.unwrap_or(self.timeout_backoff),
            paused: change.paused.unwrap_or(self.paused),
            messages_max: change.messages_max.unwrap_or(self.messages_max),
            ttl_ms: change.ttl_ms.unwrap_or(self.ttl_ms),
            expired: change.expired.unwrap_or(self.expired),
            dedupe_window_ms: change.dedupe_window_ms.unwrap_or(self.dedupe_window_ms),
        }
    }
}

impl Rules {
    /// A new topic has settings that a topic can have.
    pub(crate) fn check(&self) -> Result<(), QueueRefusal> {
        TopicChange::of(&self.new_topic).check(self)
    }
}

impl TopicChange {
    fn of(settings: &TopicSettings) -> Self {
        Self {
            visibility_ms: Some(settings.visibility_ms),
            deliveries_max: Some(settings.deliveries_max),
            nack_backoff: Some(settings.nack_backoff),
            timeout_backoff: Some(settings.timeout_backoff),
            paused: Some(settings.paused),
            messages_max: Some(settings.messages_max),
            ttl_ms: Some(settings.ttl_ms),
            expired: Some(settings.expired),
            dedupe_window_ms: Some(settings.dedupe_window_ms),
        }
    }

    /// Every value that is named is one that a topic can have.
    pub(super) fn check(&self, rules: &Rules) -> Result<(), QueueRefusal> {
        within("visibility_ms", self.visibility_ms, 1, rules.visibility_ms_max)?;
        within("ttl_ms", self.ttl_ms, 0, rules.delay_ms_max)?;
        within("dedupe_window_ms", self.dedupe_window_ms, 1, rules.dedupe_window_ms_max)?;
        for (field, backoff) in
            [("nack_backoff", self.nack_backoff), ("timeout_backoff", self.timeout_backoff)]
        {
            within(field, backoff.map(|it| it.max_ms), 0, rules.delay_ms_max)?;
            within(field, backoff.map(|it| it.base_ms), 0, backoff.map_or(0, |it| it.max_ms))?;
            within(field, backoff.map(|it| u64::from(it.jitter_percent)), 0, 100)?;
        }
        Ok(())
    }
}

/// A value that is named lies between two others.
pub(super) fn within(
    field: &str,
    value: Option<u64>,
    min: u64,
    max: u64,
) -> Result<(), QueueRefusal> {
    if value.is_none_or(|value| (min..=max).contains(&value)) {
        return Ok(());
    }
    Err(QueueRefusal::OutOfRange { field: field.to_owned(), min, max })
}
