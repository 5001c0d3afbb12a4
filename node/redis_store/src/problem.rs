//! What is wrong with a Redis, each with a name of its own: for the answer, for the log, for a metric.

use dsync_core::queue::QueueRefusal;
use redis::{ErrorKind, RedisError};

use crate::answer::Unreadable;

/// Why Redis did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedisProblem {
    /// No connection: nothing was sent.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// It was sent, and no answer came: it may have been done. Sent again under the same batch it is done once.
    #[error("Redis did not answer: {0}")]
    Unanswered(String),
    /// The password is wrong, or the user may not do this.
    #[error("Redis does not let this node in: {0}")]
    Denied(String),
    /// It reads its data from disk after a start.
    #[error("Redis is loading its data")]
    Loading,
    /// It has used all memory that it may use: it takes nothing in until messages are settled or purged.
    #[error("Redis has no memory left")]
    OutOfMemory,
    /// It is a replica.
    #[error("Redis is a replica, which cannot be written to")]
    ReadOnly,
    /// It cannot write its files.
    #[error("Redis cannot write to its disk: {0}")]
    DiskFailed(String),
    /// A script of somebody else runs for ever.
    #[error("Redis is busy with a script")]
    Busy,
    /// It would throw messages away when its memory is used up.
    #[error("Redis must have maxmemory-policy noeviction, not {0}")]
    EvictionPolicy(String),
    /// It is too old.
    #[error("Redis must be version 7.0 or later, not {0}")]
    Version(String),
    /// The topic is not where the cluster has put it: this Redis was emptied, set back or exchanged.
    #[error("this Redis is not the one that the cluster's queues were put in")]
    Replaced,
    /// The topic was deleted and made again: this node's log lags.
    #[error("the topic has moved")]
    TopicMoved,
    /// The topic was found empty and closed, and whoever did that has not told the log: that is all that is left to
    /// be done.
    #[error("the topic was closed")]
    TopicClosed,
    /// A later batch of the same stream was done: nobody waits for this one any more.
    #[error("a later batch was done")]
    OldBatch,
    /// It answered what no script of ours answers.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// Another error of Redis.
    #[error("Redis says: {0}")]
    Other(String),
}

/// Why an operation has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It was not asked: what is wrong can be seen without looking at the topic.
    #[error(transparent)]
    Refused(#[from] QueueRefusal),
    /// Redis did not do it.
    #[error(transparent)]
    Redis(#[from] RedisProblem),
}

impl RedisProblem {
    /// The stable word for programs: HTTP's `code`, and a metric's label.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "redis_unreachable",
            Self::Unanswered(_) => "outcome_unknown",
            Self::Denied(_) => "redis_denied",
            Self::Loading => "redis_loading",
            Self::OutOfMemory => "redis_out_of_memory",
            Self::ReadOnly => "redis_read_only",
            Self::DiskFailed(_) => "redis_disk_failed",
            Self::Busy => "redis_busy",
            Self::EvictionPolicy(_) => "redis_eviction_policy",
            Self::Version(_) => "redis_version",
            Self::Replaced => "redis_replaced",
            Self::TopicMoved => "topic_moved",
            Self::TopicClosed => "topic_closed",
            Self::OldBatch => "old_batch",
            Self::Unreadable(_) => "redis_unreadable",
            Self::Other(_) => "redis_error",
        }
    }

    /// It will pass without anybody doing anything: the same may be sent again.
    #[must_use]
    pub fn passes(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Unanswered(_)
                | Self::Loading
                | Self::ReadOnly
                | Self::Busy
        )
    }

    /// What an error of the connection means, if what was asked has been sent.
    pub(crate) fn of(error: &RedisError) -> Self {
        let text = || error.to_string();
        let Some(code) = error.code() else {
            return match error.kind() {
                ErrorKind::AuthenticationFailed => Self::Denied(text()),
                _ => Self::Unanswered(text()),
            };
        };
        match code {
            "LOADING" => Self::Loading,
            "OOM" => Self::OutOfMemory,
            "READONLY" | "MASTERDOWN" => Self::ReadOnly,
            "MISCONF" => Self::DiskFailed(text()),
            "BUSY" => Self::Busy,
            "NOAUTH" | "WRONGPASS" | "NOPERM" => Self::Denied(text()),
            "REDISREPLACED" => Self::Replaced,
            "TOPICMOVED" => Self::TopicMoved,
            "TOPICCLOSED" => Self::TopicClosed,
            "OLDBATCH" => Self::OldBatch,
            _ => Self::Other(text()),
        }
    }
}
