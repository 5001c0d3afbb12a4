//! What the queues answer. No answer holds a body: it is kept in the state until its asker needs it no
//! more, and what was delivered is in the state already.

use serde::{Deserialize, Serialize};

use super::request::{MessageId, Receipt, ReceiverId};
use super::settings::TopicSettings;
use crate::types::RequestRefusal;

/// What became of a [`QueueOperation`](super::QueueOperation).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueOutcome {
    /// Of a push: for each item.
    Pushed(Vec<PushOutcome>),
    /// Of a receive: for each receiver that got something, or was refused.
    Received(Vec<Received>),
    /// Of a settle: for each item.
    Settled(Vec<SettleOutcome>),
    /// Of a give-back: how many of the deliveries were still what they were.
    GivenBack(u32),
    /// Of a remove: the message is gone.
    Removed,
    /// Of a configure: the settings as they are now.
    Configured {
        /// The topic was made.
        created: bool,
        /// Its settings.
        settings: TopicSettings,
    },
    /// Of a delete: the topic is gone.
    Deleted,
    /// Of one step of a purge.
    Purged {
        /// How many messages are gone.
        messages: u64,
        /// What the next step has to say, if there is anything left for it.
        next: Option<MessageId>,
    },
    /// Of one step of a redrive of all.
    Redriven {
        /// How many messages were moved.
        messages: u64,
        /// What the next step has to say, if there is anything left for it.
        next: Option<i64>,
        /// Why it stopped early: the main part is full.
        full: Option<QueueRefusal>,
    },
    /// Of a redrive by id: for each id.
    RedrivenThese(Vec<RedriveOutcome>),
    /// Not taken; nothing changed.
    Refused(QueueRefusal),
}

/// What became of one message to be pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PushOutcome {
    /// It is in its topic.
    Pushed(MessageId),
    /// The same was pushed before, under the same key: this is its id, whatever has become of it.
    Duplicate(MessageId),
    /// Not taken; nothing changed.
    Refused(QueueRefusal),
}

/// What one receiver got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// Which.
    pub receiver: ReceiverId,
    /// The deliveries, in order. Each names its message.
    pub receipts: Vec<Receipt>,
    /// Why it got nothing. The others are served.
    pub refusal: Option<QueueRefusal>,
}

/// What became of one delivery to be settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettleOutcome {
    /// The message is gone.
    Acked,
    /// It will be delivered again.
    Nacked {
        /// After so many milliseconds; 0: it is ready.
        delay_ms: u64,
    },
    /// It is dead.
    Dead,
    /// Its time to live is over, and it was dropped.
    Expired,
    /// The delivery goes on.
    Extended {
        /// Milliseconds left at this entry's stamp.
        remaining_ms: u64,
    },
    /// This delivery is not, or no longer, the live one of its message; nothing changed.
    Stale,
    /// Not taken; nothing changed.
    Refused(QueueRefusal),
}

/// What became of one dead message to be moved back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RedriveOutcome {
    /// It is in the main part.
    Moved,
    /// There is no such dead message, or somebody works on it.
    NotDead,
    /// Not taken; nothing changed.
    Refused(QueueRefusal),
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum QueueRefusal {
    /// There is no such topic.
    #[error("there is no such topic")]
    NoTopic,
    /// There is no such message in this topic.
    #[error("there is no such message in this topic")]
    NoMessage,
    /// Only an empty topic can be deleted.
    #[error("the topic holds {messages} messages")]
    NotEmpty {
        /// How many, dead ones included.
        messages: u64,
    },
    /// A name is empty or holds a control character.
    #[error("{0} must have at least one byte and no control characters")]
    BadName(String),
    /// A value is too small or too large.
    #[error("{field} must be from {min} to {max}")]
    OutOfRange {
        /// The field.
        field: String,
        /// The smallest value.
        min: u64,
        /// The largest.
        max: u64,
    },
    /// A text or a message is too long.
    #[error("{field} must be at most {bytes_max} bytes long")]
    TooLong {
        /// The field.
        field: String,
        /// Most bytes.
        bytes_max: u64,
    },
    /// A list is empty or too long.
    #[error("{field} must have from 1 to {max} entries")]
    BadBatch {
        /// The field.
        field: String,
        /// Most entries.
        max: u32,
    },
    /// A limit of the settings is reached. Taken later, when there is room.
    #[error("limit reached: {setting} = {limit}")]
    Full {
        /// The setting's name.
        setting: String,
        /// Its value.
        limit: u64,
    },
    /// The deduplication key was used for a message with other content.
    #[error("this dedupe_key was used for another message")]
    OtherContent,
    /// The id of the item's request says that it must not be done. Only the machine says so.
    #[error("{0}")]
    Request(RequestRefusal),
}

impl QueueRefusal {
    /// The stable word for programs: HTTP's `code`, and a metric's label.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoTopic => "no_such_topic",
            Self::NoMessage => "no_such_message",
            Self::NotEmpty { .. } => "not_empty",
            Self::BadName(_) => "bad_name",
            Self::OutOfRange { .. } => "out_of_range",
            Self::TooLong { .. } => "too_long",
            Self::BadBatch { .. } => "bad_batch",
            Self::Full { .. } => "limit_reached",
            Self::OtherContent => "dedupe_key_reused",
            Self::Request(refusal) => refusal.code(),
        }
    }
}
