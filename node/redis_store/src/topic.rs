//! The keys of a topic, and the marker by which every script knows that it speaks of the same topic.

use std::fmt::Write as _;

use dsync_core::queue::TopicId;
use dsync_core::types::{BootId, ClusterId, RedisId};

/// What a topic's keys end in, in the order of the scripts' KEYS; see `scripts/topic.lua`.
const PARTS: [&str; 13] = [
    "meta", "list", "bodies", "states", "failures", "ready", "dead", "due", "lines", "groups",
    "dedupe", "forget", "ids",
];

/// Whose topic it is, in which Redis, and which life of its name. A script that finds another marker, or
/// none, changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The cluster.
    pub cluster: ClusterId,
    /// The Redis that the cluster took for its queues.
    pub redis: RedisId,
    /// The topic's creation in the log.
    pub topic: TopicId,
}

/// One topic, as Redis knows it.
#[derive(Clone, Debug)]
pub struct RedisTopic {
    pub(crate) marker: String,
    prefix: String,
    keys: Vec<String>,
}

/// Which of a process's streams of batches. Each has its own numbers, so that a push and a receive can be
/// under way together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Pushes.
    Push,
    /// Receives.
    Receive,
    /// Receives from the dead.
    ReceiveDead,
    /// Settles.
    Settle,
    /// Everything else.
    Admin,
}

/// Names one batch, so that it takes effect once, however often it is sent. Numbers rise; a process has one
/// batch of a stream and a topic under way at a time. Redis remembers the last one for an hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The process.
    pub boot: BootId,
    /// Which of its streams.
    pub stream: Stream,
    /// Its number there.
    pub number: u64,
}

impl Marker {
    pub(crate) fn text(&self) -> String {
        let TopicId { index, position } = self.topic;
        format!("{} {} {index}.{position}", self.cluster, self.redis)
    }
}

impl RedisTopic {
    /// The topic of this name. All of its keys are in one slot of a Redis cluster.
    #[must_use]
    pub fn new(marker: &Marker, name: &str) -> Self {
        let prefix = format!("dsync:{}:{{{}}}:", marker.cluster, escaped(name));
        let keys = PARTS.iter().map(|part| format!("{prefix}{part}")).collect();
        Self { marker: marker.text(), prefix, keys }
    }

    /// KEYS of every script.
    pub(crate) fn keys(&self, batch: Option<&Batch>) -> Vec<String> {
        let mut keys = self.keys.clone();
        keys.push(match batch {
            Some(batch) => format!("{}last:{}:{}", self.prefix, batch.boot, batch.stream.word()),
            None => format!("{}last", self.prefix),
        });
        keys
    }
}

impl Stream {
    fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Receive => "receive",
            Self::ReceiveDead => "receive_dead",
            Self::Settle => "settle",
            Self::Admin => "admin",
        }
    }
}

/// Without braces: the first pair in a key names its slot, and an empty one names none.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '{' | '}' | '%' => drop(write!(out, "%{:02X}", u32::from(letter))),
            letter => out.push(letter),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dsync_core::types::Index;

    fn marker() -> Marker {
        let topic = TopicId { index: Index(12), position: 0 };
        Marker { cluster: ClusterId(0xc), redis: RedisId(0xd), topic }
    }

    #[test]
    fn all_keys_of_a_topic_are_in_one_slot_whatever_its_name() {
        for name in ["orders", "{", "}", "{}", "a}b{c", "%7D", "ü"] {
            let batch = Batch { boot: BootId(1), stream: Stream::Push, number: 1 };
            let keys = RedisTopic::new(&marker(), name).keys(Some(&batch));
            let tag = |key: &str| {
                let (_, rest) = key.split_once('{').unwrap();
                rest.split_once('}').unwrap().0.to_owned()
            };
            assert!(!tag(&keys[0]).is_empty(), "{name}");
            assert!(keys.iter().all(|key| tag(key) == tag(&keys[0])), "{keys:?}");
        }
        let different = ["{", "%7B", "7B"].map(|name| RedisTopic::new(&marker(), name).keys(None));
        assert!(different[0] != different[1] && different[1] != different[2]);
    }

    #[test]
    fn a_marker_names_the_cluster_the_redis_and_the_creation() {
        let text = marker().text();
        assert_eq!(text, "0000000000000000000000000000000c 0000000000000000000000000000000d 12.0");
    }
}
