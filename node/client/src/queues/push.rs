//! Pushing: typed messages in batches, each of them there once however often it is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, sleep};

use super::Queue;
use super::body::{Body, Written};
use super::items::{self, ItemError};
use crate::error::Error;
use crate::lock_request::millis;
use crate::nodes::{Answer, Call, PauseGrows};

/// A message to push.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    body: Body,
    headers: BTreeMap<String, String>,
    delay: Option<Duration>,
    ttl: Option<Duration>,
    priority: u8,
    group: Option<String>,
    dedupe_key: Option<String>,
}

impl Message {
    /// With a body.
    #[must_use]
    pub fn new(body: Body) -> Self {
        let (headers, priority) = (BTreeMap::new(), 0);
        Self { body, headers, delay: None, ttl: None, priority, group: None, dedupe_key: None }
    }

    /// A value as JSON. Anything but null can be a message.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        to_raw_value(value).map(|text| Self::new(Body::Json(text)))
    }

    /// JSON that was written before; it arrives as it stands, to the byte.
    ///
    /// # Errors
    /// If it is no JSON.
    pub fn json_text(text: impl Into<String>) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text.into()).map(|text| Self::new(Body::Json(text)))
    }

    /// Bytes of any kind.
    pub fn bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(Body::Bytes(bytes.into()))
    }

    /// What it says.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Adds a word beside the body.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Not delivered before.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Not wanted after, counted from the push. Zero: for ever. Without: the topic's.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// 0 to 9; a higher one is delivered first.
    #[must_use]
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// Messages of one group are worked on one after the other.
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = Some(group.into());
        self
    }

    /// A push with the same key within the topic's window makes no second message.
    #[must_use]
    pub fn dedupe_key(mut self, key: impl Into<String>) -> Self {
        self.dedupe_key = Some(key.into());
        self
    }
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Fields<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            body: Option<Box<RawValue>>,
            #[serde(skip_serializing_if = "Option::is_none")]
            base64: Option<super::body::Base64>,
            #[serde(skip_serializing_if = "BTreeMap::is_empty")]
            headers: &'a BTreeMap<String, String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            delay: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            ttl: Option<u64>,
            #[serde(skip_serializing_if = "is_default")]
            priority: u8,
            #[serde(skip_serializing_if = "Option::is_none")]
            group: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            dedupe_key: Option<&'a str>,
        }
        let Written { body, base64 } = Written::of(&self.body);
        let fields = Fields {
            body,
            base64,
            headers: &self.headers,
            delay: self.delay.map(millis),
            ttl: self.ttl.map(millis),
            priority: self.priority,
            group: self.group.as_deref(),
            dedupe_key: self.dedupe_key.as_deref(),
        };
        fields.serialize(serializer)
    }
}

fn is_default(priority: &u8) -> bool {
    *priority == 0
}

/// A message that is in its topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Names it over all its deliveries, never used again.
    pub id: String,
    /// It was there before, under its deduplication key; `id` is that one's.
    #[serde(default)]
    pub duplicate: bool,
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct PushReply {
    /// One for each message, in their order.
    pub results: Vec<Result<Pushed, ItemError>>,
    /// What the messages survive that were taken: `quorum`, `fsync`, `memory`. `None`: none was.
    pub durability: Option<String>,
}

/// Messages that are pushed together, from [`Queue::batch`].
#[derive(Clone, Debug)]
#[must_use = "nothing is pushed before `push`"]
pub struct Batch {
    queue: Queue,
    messages: Vec<Message>,
    key: Option<String>,
}

impl Queue {
    /// Pushes a message.
    ///
    /// # Errors
    /// If it is refused, or no node takes it in time. After [`Error::OutcomeUnknown`] it may be there.
    pub async fn push(&self, message: Message) -> Result<Pushed, Error> {
        let batch = self.batch([message]);
        let call = batch.call()?;
        items::only(&self.nodes.call(&call).await?)
    }

    /// Pushes messages, 1 to 1000 at once. They are not one transaction.
    pub fn batch(&self, messages: impl IntoIterator<Item = Message>) -> Batch {
        Batch { queue: self.clone(), messages: messages.into_iter().collect(), key: None }
    }
}

impl Batch {
    /// The caller's own name for this batch: whoever pushes it again under the same key within five
    /// minutes, and be it another process, pushes nothing twice.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Pushes. What finds no room now is tried again until the client's deadline.
    ///
    /// # Errors
    /// If all of it is refused for how it is written, or no node takes it in time. What is refused
    /// item by item is in the reply.
    pub async fn push(self) -> Result<PushReply, Error> {
        let (call, nodes) = (self.call()?, &self.queue.nodes);
        let deadline = Instant::now() + nodes.settings.deadline;
        let mut pause = PauseGrows::new();
        let mut reply = reply(nodes.call(&call).await)?;
        while reply.is_worth_repeating() && Instant::now() < deadline {
            sleep(pause.next()).await;
            let left = deadline.saturating_duration_since(Instant::now());
            match self::reply(nodes.call_within(&call, left).await) {
                Ok(again) => reply = again,
                // What was taken is taken.
                Err(_) => break,
            }
        }
        Ok(reply)
    }

    /// The same one however often it is sent.
    fn call(&self) -> Result<Call, Error> {
        #[derive(Serialize)]
        struct Body<'a> {
            messages: &'a [Message],
        }
        let body =
            serde_json::to_string(&Body { messages: &self.messages }).map_err(Error::Body)?;
        let call = Call::post_written(&self.queue.path(&["push"]), body);
        Ok(match &self.key {
            Some(key) => call.keyed(key.clone()),
            None => call.numbered(self.queue.nodes.ids.next()),
        })
    }
}

impl PushReply {
    /// Some were not taken that may be, and a repeat answers the others as before.
    fn is_worth_repeating(&self) -> bool {
        self.results.iter().any(|it| it.as_ref().is_err_and(|error| error.retryable))
    }
}

fn reply(answer: Result<Answer, Error>) -> Result<PushReply, Error> {
    #[derive(Deserialize)]
    struct Said {
        durability: Option<String>,
    }
    match answer {
        Ok(answer) => {
            let durability = answer.decode::<Said>()?.durability;
            Ok(PushReply { results: items::results(Ok(&answer))?, durability })
        }
        Err(error) => Ok(PushReply { results: items::results(Err(error))?, durability: None }),
    }
}
