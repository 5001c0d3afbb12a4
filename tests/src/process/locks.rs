//! The lock routes as calls: what is asked, and what the answer means.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Failure, HttpClient, Response};

/// How a lock is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// With other readers.
    Shared,
}

impl Mode {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Exclusive => "exclusive",
            Self::Shared => "shared",
        }
    }
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It holds the lock.
    Granted {
        /// The fencing token.
        token: u64,
    },
    /// It is in the wait list.
    Waiting,
    /// Its hold has ended.
    Released,
    /// Its wait has ended.
    LeftQueue,
    /// It neither held nor waited.
    NotHolder,
    /// What `GET /v1/locks/{name}` says.
    Seen(View),
}

/// What `GET /v1/locks/{name}` says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct View {
    /// Who holds it, and who may pick up a grant.
    pub holders: Vec<Holder>,
    /// Who waits, first come first.
    pub waiters: Vec<Waiter>,
}

/// A hold, or a grant that waits to be picked up.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Holder {
    /// Whose.
    pub owner: String,
    /// How.
    pub mode: Mode,
    /// Its fencing token.
    pub token: u64,
    /// It was not picked up yet.
    pub claim: bool,
}

/// Someone in the wait list.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Waiter {
    /// Who.
    pub owner: String,
    /// How it asks.
    pub mode: Mode,
}

/// Why a call has no answer about the lock.
#[derive(Debug)]
pub enum Trouble {
    /// Certainly nothing was applied.
    Nothing,
    /// It may be applied, or be applied later.
    Unknown,
}

/// A client of the lock routes of one node.
#[derive(Debug)]
pub struct LockClient(HttpClient);

fn is_other_mode(answer: &Value) -> bool {
    matches!(answer["code"].as_str(), Some("waits_in_other_mode"))
}

impl LockClient {
    /// A client that waits for an answer for `timeout`.
    #[must_use]
    pub fn new(node: SocketAddr, timeout: Duration) -> Self {
        Self(HttpClient::new(node, timeout))
    }

    /// Asks for a lock.
    ///
    /// # Errors
    /// If there is no answer.
    ///
    /// # Panics
    /// If the answer is none that this request can have.
    pub fn acquire(&mut self, lock: &str, owner: &str, mode: Mode) -> Result<Answer, Trouble> {
        let body = json!({ "resource_id": lock, "client_id": owner, "lock_type": mode.word() });
        let answer = judge(self.0.post("/lock/acquire", &body))?.json();
        match (&answer["success"], answer["token"].as_u64()) {
            (Value::Bool(true), Some(token)) => Ok(Answer::Granted { token }),
            (Value::Bool(false), None) if said(&answer, "wait list") => Ok(Answer::Waiting),
            // An earlier request of this owner, given up by its client, took effect after all, in the
            // other mode. This one changed nothing.
            (Value::Bool(false), None) if is_other_mode(&answer) => Err(Trouble::Nothing),
            _ => panic!("not an answer to an acquire of {lock} by {owner}: {answer}"),
        }
    }

    /// Gives it back, or leaves the wait list.
    ///
    /// # Errors
    /// If there is no answer.
    ///
    /// # Panics
    /// If the answer is none that this request can have.
    pub fn release(&mut self, lock: &str, owner: &str) -> Result<Answer, Trouble> {
        let body = json!({ "resource_id": lock, "client_id": owner });
        let answer = judge(self.0.post("/lock/release", &body))?.json();
        match &answer["success"] {
            Value::Bool(true) if said(&answer, "wait list") => Ok(Answer::LeftQueue),
            Value::Bool(true) => Ok(Answer::Released),
            Value::Bool(false) => Ok(Answer::NotHolder),
            _ => panic!("not an answer to a release of {lock} by {owner}: {answer}"),
        }
    }

    /// Looks at a lock, linearizably.
    ///
    /// # Errors
    /// If there is no answer.
    ///
    /// # Panics
    /// If the answer does not describe a lock.
    pub fn look(&mut self, lock: &str) -> Result<View, Trouble> {
        let response = judge(self.0.get(&format!("/v1/locks/{lock}")))?;
        Ok(serde_json::from_slice(&response.body)
            .unwrap_or_else(|error| panic!("{error}: {}", response.text())))
    }
}

/// 503 promises that nothing was applied, 504 promises nothing.
fn judge(result: Result<Response, Failure>) -> Result<Response, Trouble> {
    match result {
        Ok(response) => match response.status {
            200 => Ok(response),
            503 => Err(Trouble::Nothing),
            504 => Err(Trouble::Unknown),
            _ => panic!("status {}: {}", response.status, response.text()),
        },
        Err(Failure::NotSent(_)) => Err(Trouble::Nothing),
        Err(Failure::Unknown(_)) => Err(Trouble::Unknown),
    }
}

fn said(answer: &Value, words: &str) -> bool {
    answer["message"].as_str().is_some_and(|message| message.contains(words))
}
