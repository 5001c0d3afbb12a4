//! What stands in a topic: messages, each in one state.
//!
//! ```text
//!                push                         redrive
//!                 |                              |
//!       delay     v                              |
//!    Delayed --> Ready --receive--> InFlight ----+----------------> gone (ack)
//!       ^          ^                   |
//!       |          +-- given back -----+    nack, time-out: Delayed or Ready again,
//!       +------------- back-off -------+    or, delivered too often or rejected, dead:
//!                                           Ready in the dead sub-queue
//! ```
//!
//! A clone shares all that is large, since a persistent map clones what it copies on the way to a change.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::request::{BodyKind, Consumer, MessageId, Receipt, ReceiverId};
use crate::encoding;
use crate::types::{ClusterTime, Index};

/// What a message says. Never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Its body.
    pub body: Bytes,
    /// What the body is.
    pub kind: BodyKind,
    /// Words beside it, as they were pushed.
    pub headers: Vec<(String, String)>,
    /// A higher one is delivered first.
    pub priority: u8,
    /// The group that it is delivered in order with.
    pub group: Option<String>,
    /// Milliseconds for which it is wanted; 0: for ever.
    pub ttl_ms: u64,
    /// The stamp of its push.
    pub pushed_at: ClusterTime,
}

/// How the work on a message went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its worker said so.
    Nacked,
    /// Its worker said nothing in time.
    TimedOut,
    /// Its worker said that it will never go right.
    Rejected,
}

/// One delivery that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// How.
    pub cause: Cause,
    /// What the worker said; empty if it said nothing, or if there was no room for it.
    pub reason: String,
    /// Which delivery, from 1.
    pub delivery: u32,
    /// The stamp at which it was known.
    pub at: ClusterTime,
}

/// The first and the last delivery that went wrong; the last may be the first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// The first.
    pub first: Failure,
    /// The last.
    pub last: Failure,
}

/// Why a message is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeathCause {
    /// It was delivered as often as its topic allows.
    TooManyDeliveries,
    /// Its worker rejected it.
    Rejected,
    /// Nobody wants it any more.
    Expired,
}

/// That a message is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Why.
    pub cause: DeathCause,
    /// How often it had been delivered.
    pub deliveries: u32,
    /// Since when.
    pub at: ClusterTime,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) content: Arc<Content>,
    /// Of `content`, as it is encoded.
    pub(super) content_bytes: u64,
    pub(super) state: State,
    /// How often it was delivered, since it came to where it is; a delivery that was given back is not
    /// counted.
    pub(super) deliveries: u32,
    /// When nobody wants it any more. Has no effect while it is in flight, or dead.
    pub(super) expires_at: Option<ClusterTime>,
    pub(super) failures: Option<Arc<Failures>>,
    /// Set if, and only if, it is in the dead sub-queue.
    pub(super) death: Option<Death>,
}

/// What a message is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It can be delivered, or waits behind others of its group. `place`: among the ready ones of its
    /// priority, or of its group.
    Ready { place: i64 },
    /// It will be ready. `retry`: it was delivered before, so its group waits for it.
    Delayed { until: ClusterTime, retry: bool },
    /// Somebody works on it.
    InFlight(Arc<Delivery>),
}

/// One delivery. Ends at `ends_at` for everybody, also if it is still to be cleared away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    /// See [`Receipt`].
    pub(super) index: Index,
    pub(super) position: u32,
    pub(super) receiver: ReceiverId,
    pub(super) consumer: Option<Consumer>,
    pub(super) since: ClusterTime,
    pub(super) ends_at: ClusterTime,
}

impl Content {
    /// How much room it takes: as much as a snapshot needs for it.
    pub(super) fn bytes(&self) -> u64 {
        encoding::encoded_bytes(self)
    }
}

impl Failures {
    fn bytes(&self) -> u64 {
        (self.first.reason.len() + self.last.reason.len()) as u64
    }
}

impl Message {
    pub(super) fn new(content: Content, expires_at: Option<ClusterTime>) -> Self {
        Self {
            content_bytes: content.bytes(),
            content: Arc::new(content),
            state: State::Ready { place: 0 },
            deliveries: 0,
            expires_at,
            failures: None,
            death: None,
        }
    }

    /// What counts for the limits: the content, and what workers have said of it.
    pub(super) fn bytes(&self) -> u64 {
        self.content_bytes + self.failures.as_ref().map_or(0, |failures| failures.bytes())
    }

    /// The delivery that is or was the latest, if nothing else has happened since.
    pub(super) fn delivery(&self) -> Option<&Arc<Delivery>> {
        match &self.state {
            State::InFlight(delivery) => Some(delivery),
            State::Ready { .. } | State::Delayed { .. } => None,
        }
    }

    /// From the very stamp on that is the end.
    pub(super) fn has_expired(&self, now: ClusterTime) -> bool {
        self.death.is_none() && self.expires_at.is_some_and(|end| end <= now)
    }

    /// Keeps what went wrong. `room`: bytes that its texts may take; what has none is kept without.
    pub(super) fn note_failure(&mut self, mut failure: Failure, room: u64) {
        let first = self.failures.as_ref().map(|failures| failures.first.clone());
        let texts = match &first {
            Some(first) => first.reason.len() + failure.reason.len(),
            None => 2 * failure.reason.len(),
        };
        if texts as u64 > room {
            failure.reason.clear();
        }
        let first = first.unwrap_or_else(|| failure.clone());
        self.failures = Some(Arc::new(Failures { first, last: failure }));
    }
}

impl Delivery {
    pub(super) fn receipt(&self, message: MessageId) -> Receipt {
        let (index, position, boot) = (self.index, self.position, self.receiver.boot);
        Receipt { message, index, position, boot }
    }
}
