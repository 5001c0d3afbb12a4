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

/// The topic is made or deleted just now, or this node's log lags.
pub const TOPIC_MOVED: &str = "topic_moved";
/// The topic is in Redis, and this node was started without one.
pub const REDIS_MISSING: &str = "redis_missing";
/// Redis has used all the memory that it may use.
pub const REDIS_OUT_OF_MEMORY: &str = "redis_out_of_memory";

/// All of them, with their titles. Those that begin with `redis_` and are not above come from
/// [`RedisProblem::code`](dsync_redis_store::RedisProblem::code).
pub const CODES: [(&str, &str); 21] = [
    (NO_SUCH_TOPIC, "There is no such topic"),
    (NO_SUCH_MESSAGE, "There is no such message"),
    (STALE_RECEIPT, "The delivery has ended"),
    (NOT_EMPTY, "The topic is not empty"),
    (NOT_DEAD, "There is no such dead message"),
    (DEDUPE_KEY_REUSED, "The deduplication key was used for another message"),
    (QUEUES_OVERLOADED, "The cluster does not keep up with queues"),
    (TOPIC_MOVED, "The topic is made or deleted just now"),
    (REDIS_MISSING, "This node has no Redis"),
    (REDIS_OUT_OF_MEMORY, "Redis has no memory left"),
    ("redis_unreachable", "Redis cannot be reached"),
    ("redis_denied", "Redis does not let this node in"),
    ("redis_loading", "Redis is loading its data"),
    ("redis_read_only", "Redis is a replica"),
    ("redis_disk_failed", "Redis cannot write to its disk"),
    ("redis_busy", "Redis is busy with a script"),
    ("redis_eviction_policy", "Redis would evict messages"),
    ("redis_version", "Redis is too old"),
    ("redis_replaced", "This Redis is not the cluster's"),
    ("redis_error", "Redis has failed"),
    ("redis_id_differs", "The cluster's Redis is another one"),
];
