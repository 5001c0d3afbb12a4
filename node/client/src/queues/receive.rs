//! Receiving: messages, and how long each is this receiver's alone.
//!
//! A receive that waits stays on one node. Beside it that node is asked now and then whether it lives
//! and knows a leader; when it does not, twice in turn, the request goes to another node, and the old
//! connection is closed: a node that is well after all takes back what it had not written yet. A repeat
//! carries no number, and needs none: what was delivered into a lost answer is delivered again when its
//! visibility is over.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};

use super::body::{Base64, Body, Written};
use super::{Cause, DeathCause, Queue, SubQueue};
use crate::clock::BootInstant;
use crate::error::Error;
use crate::lease::counted_end;
use crate::lock_request::millis;
use crate::long_poll::{silence, with_wait};
use crate::nodes::{Answer, Call, Failure, PauseGrows, Repeat, Unserved};

/// A message that is this receiver's alone, for its visibility.
#[derive(Clone, Debug, PartialEq)]
pub struct Delivery {
    /// Names the message over all its deliveries.
    pub id: String,
    /// Names this delivery: what settles it.
    pub receipt: String,
    /// What it says.
    pub body: Body,
    /// Words beside the body.
    pub headers: BTreeMap<String, String>,
    /// Which delivery it is since it came to this sub-queue, from 1.
    pub deliveries: u64,
    /// Milliseconds of visibility that were left when it was delivered. Count them with
    /// [`ends_at`](Self::ends_at).
    pub remaining_ms: u64,
    /// When it was pushed, in cluster time.
    pub pushed_ms: u64,
    /// How long ago that was, in milliseconds.
    pub age_ms: u64,
    /// 0 to 9.
    pub priority: u8,
    /// Messages of one group are worked on one after the other.
    pub group: Option<String>,
    /// How earlier deliveries went wrong, if they did.
    pub failures: Option<Failures>,
    /// Why it is dead, if it is.
    pub death: Option<Death>,
    /// When the request that delivered it was sent.
    sent: BootInstant,
}

/// The first and the last delivery that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// The first one.
    pub first: FailedDelivery,
    /// The last one.
    pub last: FailedDelivery,
}

/// A delivery that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedDelivery {
    /// How.
    pub cause: Cause,
    /// What its worker said of it.
    pub reason: Option<String>,
    /// Which delivery it was.
    pub delivery: u64,
    /// When, in cluster time.
    pub at_ms: u64,
}

/// Why a message is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Death {
    /// Why.
    pub cause: DeathCause,
    /// How often it had been delivered.
    pub deliveries: u64,
    /// When, in cluster time.
    pub at_ms: u64,
}

impl Delivery {
    /// The moment from which it has to count as ended: from the sending of the request, less a
    /// thousandth for the difference of clocks. After a long wait that is much too early; an extension
    /// counts anew.
    #[must_use]
    pub fn ends_at(&self) -> BootInstant {
        counted_end(self.sent, Some(self.remaining_ms)).unwrap_or(self.sent)
    }

    pub(super) fn sent(&self) -> BootInstant {
        self.sent
    }

    fn read(fields: Fields, sent: BootInstant) -> Option<Self> {
        Some(Self {
            id: fields.id,
            receipt: fields.receipt,
            body: Written { body: fields.body, base64: fields.base64 }.read()?,
            headers: fields.headers,
            deliveries: fields.deliveries,
            remaining_ms: fields.remaining_ms,
            pushed_ms: fields.pushed_ms,
            age_ms: fields.age_ms,
            priority: fields.priority,
            group: fields.group,
            failures: fields.failures,
            death: fields.death,
            sent,
        })
    }
}

impl Serialize for Delivery {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let it = self.clone();
        let Written { body, base64 } = Written::of(&it.body);
        let fields = Fields {
            id: it.id,
            receipt: it.receipt,
            body,
            base64,
            headers: it.headers,
            deliveries: it.deliveries,
            remaining_ms: it.remaining_ms,
            pushed_ms: it.pushed_ms,
            age_ms: it.age_ms,
            priority: it.priority,
            group: it.group,
            failures: it.failures,
            death: it.death,
        };
        fields.serialize(serializer)
    }
}

/// As it stands in an answer.
#[derive(Serialize, Deserialize)]
struct Fields {
    id: String,
    receipt: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    body: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<Base64>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    deliveries: u64,
    remaining_ms: u64,
    #[serde(default)]
    pushed_ms: u64,
    #[serde(default)]
    age_ms: u64,
    #[serde(default)]
    priority: u8,
    group: Option<String>,
    failures: Option<Failures>,
    death: Option<Death>,
}

/// Whatever stands there is a body.
pub(super) fn some<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// A request for messages, from [`Queue::receive`].
#[derive(Clone, Debug)]
#[must_use = "nothing is asked before `messages`"]
pub struct Receive {
    queue: Queue,
    max: u32,
    max_bytes: Option<u64>,
    wait: Duration,
    visibility: Option<Duration>,
    sub_queue: SubQueue,
}

impl Queue {
    /// Asks for messages: for one, without waiting, if nothing else is said.
    pub fn receive(&self) -> Receive {
        let (wait, sub_queue) = (Duration::ZERO, SubQueue::Main);
        Receive { queue: self.clone(), max: 1, max_bytes: None, wait, visibility: None, sub_queue }
    }
}

impl Receive {
    /// Most messages, 1 to 1000.
    pub fn max(mut self, max: u32) -> Self {
        self.max = max;
        self
    }

    /// Most bytes of messages; the first may be larger.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = Some(bytes);
        self
    }

    /// How long to wait for the first message, at most a minute.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long each is this receiver's alone. Without: the topic's.
    pub fn visibility(mut self, visibility: Duration) -> Self {
        self.visibility = Some(visibility);
        self
    }

    /// From which part of the topic.
    pub fn sub_queue(mut self, sub_queue: SubQueue) -> Self {
        self.sub_queue = sub_queue;
        self
    }

    /// The messages; none, if there is none by the end of the wait. To drop the future is to hang up:
    /// what the node had not written yet is ready again at once.
    ///
    /// # Errors
    /// `no_such_topic`, at the end of the wait, if there is none; or no node serves it in time.
    pub async fn messages(&self) -> Result<Vec<Delivery>, Error> {
        let answer = self.ask().await?;
        #[derive(Deserialize)]
        struct Said {
            messages: Vec<Fields>,
        }
        let said: Said = answer.decode()?;
        let read = said.messages.into_iter().map(|fields| Delivery::read(fields, answer.sent));
        read.collect::<Option<_>>().ok_or_else(|| Error::Answer {
            node: answer.node.clone(),
            reason: "a message has no body".to_owned(),
        })
    }

    fn call(&self) -> Call {
        let mut body = json!({ "max": self.max, "sub_queue": self.sub_queue });
        if let Some(max_bytes) = self.max_bytes {
            body["max_bytes"] = json!(max_bytes);
        }
        if let Some(visibility) = self.visibility {
            body["visibility"] = json!(millis(visibility));
        }
        Call::post(&self.queue.path(&["receive"]), body, Repeat::Always)
    }

    async fn ask(&self) -> Result<Answer, Error> {
        let (call, nodes) = (self.call(), &self.queue.nodes);
        if self.wait.is_zero() {
            return nodes.call(&call).await;
        }
        let wait_ends = Instant::now() + self.wait;
        let patience = nodes.settings.deadline;
        let (mut unserved, mut pause) = (Unserved::default(), PauseGrows::new());
        let mut position = nodes.preferred();
        loop {
            let left = wait_ends.saturating_duration_since(Instant::now());
            let waiting = with_wait(&call, left, nodes);
            let asked = tokio::select! {
                asked = nodes.ask(position, &waiting) => asked,
                () = silence(nodes, position) => Err(Failure::Unknown(nodes.silent(position))),
            };
            let wanted = match asked {
                Ok(answer) => {
                    nodes.prefer(position);
                    return Ok(answer);
                }
                Err(Failure::Final(error)) => return Err(*error),
                Err(failure) => unserved.note(failure),
            };
            if Instant::now() >= wait_ends + patience {
                return Err(unserved.into_error(nodes, &call, patience));
            }
            position += 1;
            sleep(pause.next_at_least(wanted)).await;
        }
    }
}
