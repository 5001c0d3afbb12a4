//! Writes: put and delete, with or without a condition.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CacheValue, path};
use crate::error::Error;
use crate::nodes::{Call, Nodes};

/// The version of a value. Later writes of a key have others, and none comes back.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheVersion(pub String);

/// Why a write was not done.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// What is cached is not what the condition wants. Nothing changed.
    #[error("{}", there(version.as_ref()))]
    ConditionFailed {
        /// The version of what is cached; `None`: nothing is.
        version: Option<CacheVersion>,
    },
    /// The request was refused for another reason, or could not be served.
    #[error(transparent)]
    Call(#[from] Error),
}

/// A put, until it is sent.
#[must_use = "nothing is put before it is sent"]
#[derive(Clone, Debug)]
pub struct Put {
    nodes: Arc<Nodes>,
    key: String,
    value: CacheValue,
    ttl: Option<Duration>,
    condition: Condition,
}

/// A delete, until it is sent.
#[must_use = "nothing is deleted before it is sent"]
#[derive(Clone, Debug)]
pub struct Delete {
    nodes: Arc<Nodes>,
    key: String,
    condition: Condition,
}

/// What has to be there.
#[derive(Clone, Debug)]
enum Condition {
    Any,
    Absent,
    Present,
    Version(CacheVersion),
}

/// What a write answers.
#[derive(Deserialize)]
struct Written {
    version: CacheVersion,
}

impl CacheVersion {
    pub(super) fn of_tag(tag: &str) -> Option<Self> {
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        Some(Self(tag.strip_prefix('"')?.strip_suffix('"')?.to_owned()))
    }
}

impl fmt::Display for CacheVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Put {
    pub(super) fn new(nodes: Arc<Nodes>, key: &str, value: CacheValue) -> Self {
        Self { nodes, key: key.to_owned(), value, ttl: None, condition: Condition::Any }
    }

    /// The value goes by itself after this.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Only if this version is there.
    pub fn if_version(mut self, version: &CacheVersion) -> Self {
        self.condition = Condition::Version(version.clone());
        self
    }

    /// Only if nothing is there.
    pub fn if_absent(mut self) -> Self {
        self.condition = Condition::Absent;
        self
    }

    /// Only if something is there.
    pub fn if_present(mut self) -> Self {
        self.condition = Condition::Present;
        self
    }

    /// Puts it. When this returns, no get on any node returns an older value.
    ///
    /// # Errors
    /// If the condition does not hold, or no node serves it in time; [`Error::OutcomeUnknown`]: it may
    /// have been done.
    pub async fn send(self) -> Result<CacheVersion, CacheError> {
        let CacheValue { body, content_type } = self.value;
        let mut call = Call::put(&path(&self.key), body, content_type);
        if let Some(ttl) = self.ttl {
            call = call.query("ttl", ttl.as_millis().to_string());
        }
        write(&self.nodes, self.condition.onto(call)).await
    }
}

impl Delete {
    pub(super) fn new(nodes: Arc<Nodes>, key: &str) -> Self {
        Self { nodes, key: key.to_owned(), condition: Condition::Any }
    }

    /// Only if this version is there.
    pub fn if_version(mut self, version: &CacheVersion) -> Self {
        self.condition = Condition::Version(version.clone());
        self
    }

    /// Deletes it. When this returns, no get on any node returns what was there.
    ///
    /// # Errors
    /// As [`Put::send`].
    pub async fn send(self) -> Result<CacheVersion, CacheError> {
        let call = Call::delete(&path(&self.key)).once();
        write(&self.nodes, self.condition.onto(call)).await
    }
}

impl Condition {
    fn onto(self, call: Call) -> Call {
        match self {
            Self::Any => call,
            Self::Absent => call.header("if-none-match", "*"),
            Self::Present => call.header("if-match", "*"),
            Self::Version(version) => call.header("if-match", format!("\"{version}\"")),
        }
    }
}

async fn write(nodes: &Nodes, call: Call) -> Result<CacheVersion, CacheError> {
    match nodes.call(&call).await {
        Ok(answer) => Ok(answer.decode::<Written>()?.version),
        Err(error) if error.code() == Some("condition_failed") => {
            let version = error.member("version").and_then(|version| version.as_str());
            let version = version.map(|version| CacheVersion(version.to_owned()));
            Err(CacheError::ConditionFailed { version })
        }
        Err(error) => Err(error.into()),
    }
}

fn there(version: Option<&CacheVersion>) -> String {
    match version {
        Some(version) => format!("the condition does not hold: version {version} is cached"),
        None => "the condition does not hold: nothing is cached".to_owned(),
    }
}
