//! What happens to topics, as records: what an operator wants to find in the audit trail.
//!
//! Pushes, deliveries and settles are not among them: there are too many, and the counters of a topic
//! ([`Totals`](super::Totals)) say how many. Nothing in an event is only of one node.

use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueWhat {
    /// A topic was made.
    TopicCreated,
    /// A topic's settings were changed.
    TopicChanged,
    /// A topic was deleted.
    TopicDeleted,
    /// Messages were purged.
    Purged,
    /// One message was removed by its id.
    Removed,
    /// Dead messages were moved back.
    Redriven,
}

/// Something that was done to a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueEvent {
    /// What.
    pub what: QueueWhat,
    /// Who asked for it.
    pub principal: String,
    /// The topic.
    pub topic: String,
    /// How many messages it was done to.
    pub messages: u64,
}
