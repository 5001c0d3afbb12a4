//! Why a call has no answer.

use std::fmt;
use std::time::Duration;

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address is not an HTTP address.
    #[error("not an address of a node: {0}")]
    Address(String),
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
        node: String,
        /// The HTTP status.
        status: u16,
        /// The stable word of the refusal.
        code: String,
        /// For people.
        message: String,
        /// The field that is wrong, if one is.
        field: Option<String>,
        /// Names the request in the node's log.
        request_id: Option<String>,
    },
    /// The request may or may not have been applied. It was not repeated: a repeat could answer
    /// something else than the first one did.
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

/// What one node did instead of serving.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeError {
    /// Its address.
    pub node: String,
    /// For people: a status and its message, or what became of the connection.
    pub reason: String,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.node, self.reason)
    }
}

fn field_suffix(field: Option<&String>) -> String {
    field.map(|field| format!(" (field {field})")).unwrap_or_default()
}
