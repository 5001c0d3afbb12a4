//! Why a call has no answer.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is not an HTTP address.
    #[error("not an address of a node: {0:?} (they look like http://127.0.0.1:5001)")]
    Address(String),
    /// A name that cannot be part of an address: it would name another lock, or another route.
    #[error("the name {name:?} {reason}")]
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No address was given.
    #[error("no node is named")]
    NoNodes,
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client")]
    Setup(#[source] reqwest::Error),
    /// The server understood the request and refuses it; asking again changes nothing.
    #[error("{node} answers {status} {code}: {message}{}", field_suffix(field.as_ref()))]
    Refused {
        /// Which node said so.
        node: Box<str>,
        /// The HTTP status.
        status: u16,
        /// The stable word of the refusal.
        code: String,
        /// For people.
        message: String,
        /// The field that is wrong, if one is.
        field: Option<String>,
        /// Names the request in the node's log.
        request_id: Option<Box<str>>,
        /// Everything that the answer says, as it stands there.
        members: Box<Map<String, Value>>,
    },
    /// A message cannot be written as JSON.
    #[error("a message cannot be written as JSON")]
    Body(#[source] serde_json::Error),
    /// The request may or may not have been applied: no node said so in time.
    #[error("the outcome is unknown: {0}")]
    OutcomeUnknown(NodeError),
    /// No node served the request in time; nothing was applied.
    #[error("no node served the request within {deadline:?}; the last one: {last}")]
    Unavailable {
        /// How long it was tried.
        deadline: Duration,
        /// What the last node asked said.
        last: NodeError,
    },
    /// The answer is not what this client knows.
    #[error("{node} answers something unknown: {reason}")]
    Answer {
        /// Which node.
        node: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Error {
    /// The stable word of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            _ => None,
        }
    }

    /// Nobody can be reached, or nobody could serve: asking later may work.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::OutcomeUnknown(_))
    }

    /// What the node asked last did, where none served.
    #[must_use]
    pub fn last(&self) -> Option<&NodeError> {
        match self {
            Self::Unavailable { last, .. } | Self::OutcomeUnknown(last) => Some(last),
            _ => None,
        }
    }

    /// A member of a refusal's body.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Refused { members, .. } => members.get(name),
            _ => None,
        }
    }
}

/// What one node did instead of serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    /// Its address.
    pub node: String,
    /// For people: a status and its message, or what became of the connection.
    pub reason: String,
    /// It answered, if only to refuse. Else nothing was heard of it.
    pub answered: bool,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.reason)
    }
}

fn field_suffix(field: Option<&String>) -> String {
    field.map(|field| format!(" (field {field})")).unwrap_or_default()
}
