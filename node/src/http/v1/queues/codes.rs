//! The codes of problems that only queues have, and what all problems of each have in common.

/// Nobody has made the topic.
pub const NO_SUCH_TOPIC: &str = "no_such_topic";
/// The message is not in the topic (any more).
pub const NO_SUCH_MESSAGE: &str = "no_such_message";
/// The receipt is not that of its message's live delivery.
pub const STALE_RECEIPT: &str = "stale_receipt";
/// The topic holds messages.
pub const NOT_EMPTY: &str = "not_empty";
/// The message is not dead, or somebody works on it.
pub const NOT_DEAD: &str = "not_dead";
/// The key was used for another message.
pub const DEDUPE_KEY_REUSED: &str = "dedupe_key_reused";
/// The cluster does not keep up with queues.
pub const QUEUES_OVERLOADED: &str = "queues_overloaded";

/// All of them, with their titles.
pub const CODES: [(&str, &str); 7] = [
    (NO_SUCH_TOPIC, "There is no such topic"),
    (NO_SUCH_MESSAGE, "There is no such message"),
    (STALE_RECEIPT, "The delivery has ended"),
    (NOT_EMPTY, "The topic is not empty"),
    (NOT_DEAD, "There is no such dead message"),
    (DEDUPE_KEY_REUSED, "The deduplication key was used for another message"),
    (QUEUES_OVERLOADED, "The cluster does not keep up with queues"),
];
