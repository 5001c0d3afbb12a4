//! Numbers that decide how entries apply. They are replicated state, never a node's own flags.

use serde::{Deserialize, Serialize};

use crate::raft::COMMAND_BYTES_MAX;
use crate::{cache, locks, queue};

/// What a command has beside the message of a push: its origin, the topic, the ids.
const COMMAND_REST_BYTES: u64 = 8 * 1024;

/// The settings, set by the founding entry: each service's numbers are a group of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Of commands and requests, whatever their service.
    pub requests: RequestRules,
    /// Of locks.
    pub locks: locks::Rules,
    /// Of queues.
    pub queues: queue::Rules,
    /// Of caches.
    pub caches: cache::Rules,
}

/// How long what was asked is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRules {
    /// A command applied this long after its node took it in, or later, is void; counted while anything
    /// is timed ([`ActiveTime`](crate::types::ActiveTime)). At most `id_retention_ms`: a copy of a
    /// request must be void before the request's id is forgotten.
    pub command_retention_ms: u64,
    /// Most request ids of locks that are remembered at a time; queues have a limit of their own.
    pub ids_max: u32,
    /// How long a request id is remembered after it is settled.
    pub id_retention_ms: u64,
}

impl Default for RequestRules {
    fn default() -> Self {
        Self { command_retention_ms: 300_000, ids_max: 1_000_000, id_retention_ms: 300_000 }
    }
}

/// Settings that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A copy of a request could be applied after its id is forgotten.
    #[error(
        "requests.command_retention_ms = {command} must be at least 1 and at most requests.id_retention_ms = {id}"
    )]
    Retention {
        /// `command_retention_ms`.
        command: u64,
        /// `id_retention_ms`.
        id: u64,
    },
    /// The default lease could not be asked for.
    #[error(
        "locks.default_lease_ms = {default} must be between locks.lease_ms_min = {min} and locks.lease_ms_max = {max}"
    )]
    Lease {
        /// `default_lease_ms`.
        default: u64,
        /// `lease_ms_min`.
        min: u64,
        /// `lease_ms_max`.
        max: u64,
    },
    /// A message could be larger than the command that pushes it.
    #[error("queues.message_bytes_max = {message} must be at most {max}")]
    Message {
        /// `message_bytes_max`.
        message: u64,
        /// The largest that fits.
        max: u64,
    },
    /// A topic that is made by a push could not be set so.
    #[error("queues.new_topic: {0}")]
    NewTopic(queue::QueueRefusal),
    /// Of the caches' rules.
    #[error(transparent)]
    Caches(#[from] cache::RulesError),
}

impl Settings {
    /// Checks what must hold between them; before a founding entry with them is held.
    ///
    /// # Errors
    /// The first rule that is broken, by the settings' names.
    pub fn check(&self) -> Result<(), SettingsError> {
        let RequestRules { command_retention_ms: command, id_retention_ms: id, .. } = self.requests;
        if !(1..=id).contains(&command) {
            return Err(SettingsError::Retention { command, id });
        }
        let locks::Rules {
            default_lease_ms: default, lease_ms_min: min, lease_ms_max: max, ..
        } = self.locks;
        if !(min..=max).contains(&default) {
            return Err(SettingsError::Lease { default, min, max });
        }
        let (message, max) = (self.queues.message_bytes_max, COMMAND_BYTES_MAX as u64);
        let max = max - COMMAND_REST_BYTES;
        if message > max {
            return Err(SettingsError::Message { message, max });
        }
        self.queues.check().map_err(SettingsError::NewTopic)?;
        Ok(self.caches.check()?)
    }
}

/// The machine's first state, carried by the founding entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FirstState {
    /// First format.
    V1 {
        /// The settings.
        settings: Settings,
        /// The first fencing token: seconds since 2025-01-01 times 2^22 at the founding, so that a
        /// cluster founded again later never repeats one.
        token_base: u64,
    },
}
