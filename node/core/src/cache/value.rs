//! What is cached, under which version, and what a write asks for.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Name of a cached value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub String);

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A cached value: bytes, and the media type with which they were given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Value {
    /// The bytes.
    pub body: Bytes,
    /// Media type, as the writer stated it.
    pub content_type: String,
}

/// Orders the values of one key, over all its homes: an epoch's versions are above those of every
/// epoch before it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Version {
    /// The ring's epoch in which the home minted it.
    pub epoch: u64,
    /// Rises over everything that this home does.
    pub number: u64,
}

/// What a write asks for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Write {
    /// The new value; `None` deletes.
    pub value: Option<Value>,
    /// The value goes by itself after so many milliseconds.
    pub ttl_ms: Option<u64>,
    /// What must be there for the write to act.
    pub condition: Condition,
}

/// What must be there for a write to act (HTTP's If-Match and If-None-Match).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Condition {
    /// Whatever is there.
    #[default]
    Any,
    /// No value.
    Absent,
    /// Some value.
    Present,
    /// The value of this version.
    Version(Version),
}

impl Condition {
    /// True if a key whose visible value has this version (`None`: no value) satisfies it.
    #[must_use]
    pub fn holds(self, current: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Version(wanted) => current == Some(wanted),
        }
    }
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum WriteOutcome {
    /// Done: from now on every get on every node sees this version, a later one, or a miss.
    Done(Version),
    /// The condition did not hold; nothing changed. What is there.
    ConditionFailed(Option<Version>),
    /// It may have been done, or not.
    Unknown,
    /// It was not done and never will be: no home served in time.
    Unavailable,
}
