//! Messages as they are read: what each is doing. Nothing here changes or counts anything, but
//! [`Queue::remove`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{Base64, Body, Written};
use super::receive::{Death, Failures, some};
use super::{Queue, StateKind, SubQueue};
use crate::error::Error;
use crate::nodes::Call;

/// A message, wherever it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredMessage {
    /// Names it over all its deliveries.
    pub id: String,
    /// In which part of the topic.
    pub sub_queue: SubQueue,
    /// What it is doing.
    pub state: StateKind,
    /// Milliseconds that are left of its delay or of its delivery; `None`: it is ready.
    pub remaining_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    body: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<Base64>,
    /// Words beside the body.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How often it was delivered since it came to this sub-queue.
    pub deliveries: u64,
    /// When it was pushed, in cluster time.
    #[serde(default)]
    pub pushed_ms: u64,
    /// How long ago that was, in milliseconds.
    #[serde(default)]
    pub age_ms: u64,
    /// 0 to 9.
    #[serde(default)]
    pub priority: u8,
    /// Messages of one group are worked on one after the other.
    pub group: Option<String>,
    /// How deliveries went wrong, if they did.
    pub failures: Option<Failures>,
    /// Why it is dead, if it is.
    pub death: Option<Death>,
    /// Milliseconds for which it is still wanted; `None`: for ever.
    pub expires_in_ms: Option<u64>,
    /// Its size.
    #[serde(default)]
    pub bytes: u64,
    /// Who works on it, over the original routes.
    pub consumer: Option<String>,
}

impl StoredMessage {
    /// What it says.
    #[must_use]
    pub fn body(&self) -> Option<Body> {
        Written { body: self.body.clone(), base64: self.base64.clone() }.read()
    }
}

/// Some messages of a topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MessagePage {
    /// In the order of the pushes; of a peek, in that in which they would be delivered.
    pub messages: Vec<StoredMessage>,
    /// Where the next part begins; `None`: this is the end.
    #[serde(default, rename = "continue")]
    pub next: Option<String>,
}

/// A message that was taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedMessage {
    /// Which.
    pub id: String,
    /// It is gone.
    pub removed: bool,
}

/// Which messages to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListMessages {
    /// In which part; `None`: in the main one.
    pub sub_queue: Option<SubQueue>,
    /// Only those that do this.
    pub state: Option<StateKind>,
    /// Most messages of one page; `None`: 100.
    pub limit: Option<u32>,
    /// From where an earlier page ended.
    pub next: Option<String>,
}

/// Each answer contains everything that was answered anywhere before it was asked for.
impl Queue {
    /// One message.
    ///
    /// # Errors
    /// `no_such_topic`, `no_such_message`; or no node can confirm the read in time.
    pub async fn get(&self, id: &str) -> Result<StoredMessage, Error> {
        #[derive(Deserialize)]
        struct Said {
            message: StoredMessage,
        }
        let answer = self.nodes.call(&Call::get(&self.path(&["messages", id]))).await?;
        answer.decode::<Said>().map(|said| said.message)
    }

    /// Takes a message out, whatever it is doing; so a delayed one is cancelled.
    ///
    /// # Errors
    /// As [`get`](Self::get). A repeat whose first copy took it out says `no_such_message`, too.
    pub async fn remove(&self, id: &str) -> Result<RemovedMessage, Error> {
        self.nodes.call(&Call::delete(&self.path(&["messages", id]))).await?.decode()
    }

    /// A page of messages, in the order of the pushes. It may be shorter than its limit, or empty, and
    /// not the last.
    ///
    /// # Errors
    /// `no_such_topic`; or no node can confirm the read in time.
    pub async fn list(&self, which: &ListMessages) -> Result<MessagePage, Error> {
        let mut call = Call::get(&self.path(&["messages"]));
        if let Some(sub_queue) = which.sub_queue {
            call = call.query("sub_queue", sub_queue_word(sub_queue));
        }
        if let Some(state) = which.state {
            call = call.query("state", state_word(state));
        }
        if let Some(limit) = which.limit {
            call = call.query("limit", limit.to_string());
        }
        if let Some(next) = &which.next {
            call = call.query("continue", next);
        }
        self.nodes.call(&call).await?.decode()
    }

    /// What a receive would deliver next, in that order; of each group its first message.
    ///
    /// # Errors
    /// As [`list`](Self::list).
    pub async fn peek(&self, sub_queue: SubQueue, limit: u32) -> Result<MessagePage, Error> {
        let call = Call::get(&self.path(&["peek"]))
            .query("sub_queue", sub_queue_word(sub_queue))
            .query("limit", limit.to_string());
        self.nodes.call(&call).await?.decode()
    }
}

fn sub_queue_word(sub_queue: SubQueue) -> &'static str {
    match sub_queue {
        SubQueue::Main => "main",
        SubQueue::Dead => "dead",
    }
}

fn state_word(state: StateKind) -> &'static str {
    match state {
        StateKind::Ready => "ready",
        StateKind::Delayed => "delayed",
        StateKind::InFlight => "in_flight",
    }
}
