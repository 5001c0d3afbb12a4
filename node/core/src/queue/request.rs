//! What is asked of the queues.
//!
//! Three kinds of names say *what* a request means, and none can be mistaken for another:
//!
//! - a [`MessageId`] names the message, over all its deliveries;
//! - a [`Receipt`] names one delivery of it. Everything that settles names the delivery, so that a
//!   worker whose time was up never settles what another has by now (SQS calls it the receipt handle;
//!   Pub/Sub, under exactly-once delivery, the ack id);
//! - a [`ReceiverId`] says which open request gets the deliveries.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::settings::TopicChange;
use crate::types::{BootId, Index};

/// Names one message for ever: the log index of its push and its position among what that entry made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// Entry that pushed it.
    pub index: Index,
    /// Which of the things that this entry made, from 0.
    pub position: u32,
}

/// Names one topic for ever, by its creation: a name may be deleted and made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicId {
    /// Entry that created it.
    pub index: Index,
    /// Which of the things that this entry made, from 0.
    pub position: u32,
}

/// Names one delivery of one message. Never used again: not by a later entry, and, because of the random
/// boot id, not by an entry that takes the place of one that was lost with its quorum either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Receipt {
    /// The message.
    pub message: MessageId,
    /// Entry that delivered it.
    pub index: Index,
    /// Which of the things that this entry made, from 0.
    pub position: u32,
    /// The process that it was delivered through.
    pub boot: BootId,
}

/// An open request for messages, at the node that has the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReceiverId {
    /// The node's process.
    pub boot: BootId,
    /// Which of this process's requests; never used twice.
    pub number: u64,
}

/// Who takes messages over the original routes, scoped by who it authenticated as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Consumer {
    /// Who it authenticated as; `anonymous` until client tokens exist.
    pub principal: String,
    /// The name that the client gave.
    pub name: String,
}

/// Which part of a topic. What is dead stays in its topic, so that every move is one step of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubQueue {
    /// What is to be worked on.
    Main,
    /// What nobody could work on.
    Dead,
}

/// What the bytes of a body are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BodyKind {
    /// A JSON text, as it was pushed.
    Json,
    /// Any bytes.
    Bytes,
}

/// One message to be pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushItem {
    /// Its body.
    pub body: Bytes,
    /// What the body is.
    pub kind: BodyKind,
    /// Words beside it, kept as they are.
    pub headers: Vec<(String, String)>,
    /// Milliseconds of cluster time before it is ready; 0: at once.
    pub delay_ms: u64,
    /// Milliseconds after which nobody wants it any more, from the push; 0: never; `None`: as its topic
    /// says.
    pub ttl_ms: Option<u64>,
    /// 0 to [`PRIORITY_MAX`](super::PRIORITY_MAX); a higher one is delivered first, always.
    pub priority: u8,
    /// Messages of one group are delivered one after the other, in the order of their pushes.
    pub group: Option<String>,
    /// A push with the same key within the topic's window makes no second message.
    pub dedupe_key: Option<String>,
}

/// Pushes messages to one topic, each with a result of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// Who asks.
    pub principal: String,
    /// The topic; made if it is not there.
    pub topic: String,
    /// If this makes the topic: a message may be delivered any number of times (the original routes,
    /// which have no dead messages).
    pub unlimited_deliveries: bool,
    /// The messages.
    pub items: Vec<PushItem>,
}

/// One open request that can be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receiver {
    /// Which.
    pub id: ReceiverId,
    /// Who it is, on the original routes.
    pub consumer: Option<Consumer>,
    /// Most messages.
    pub max: u32,
    /// Most bytes of messages, as they are counted. The first message may be larger, or it would never
    /// be delivered.
    pub max_bytes: u64,
    /// How long each is this receiver's alone, in milliseconds; `None`: as the topic says.
    pub visibility_ms: Option<u64>,
}

/// Delivers what is ready to those who ask for it, in this order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receive {
    /// From which topic.
    pub topic: String,
    /// From which part of it.
    pub sub_queue: SubQueue,
    /// To whom.
    pub receivers: Vec<Receiver>,
}

/// Which delivery is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryRef {
    /// This one.
    Receipt(Receipt),
    /// The latest of this message, if it was to this consumer (the original routes).
    Latest {
        /// The message.
        message: MessageId,
        /// To whom.
        consumer: Consumer,
    },
}

/// What became of the work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Done. The message is gone.
    Ack,
    /// Not done: once more, unless it was delivered as often as the topic allows.
    Nack {
        /// Milliseconds until then; `None`: the topic's back-off.
        delay_ms: Option<u64>,
        /// Why; kept with the message. May be empty.
        reason: String,
    },
    /// Still being done.
    Extend {
        /// Milliseconds from now; `None`: as the topic says. Never moves the end earlier.
        visibility_ms: Option<u64>,
    },
    /// Will never be done: dead at once.
    Reject {
        /// Why; kept with the message. May be empty.
        reason: String,
    },
}

/// One delivery to be settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettleItem {
    /// Which.
    pub delivery: DeliveryRef,
    /// How.
    pub verdict: Verdict,
}

/// Settles deliveries of one topic, each with a result of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    /// The topic.
    pub topic: String,
    /// The deliveries.
    pub items: Vec<SettleItem>,
}

/// Gives back deliveries of which no byte was written: as if they had not been. Proposed by the node
/// that should have written them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GiveBack {
    /// The topic.
    pub topic: String,
    /// The deliveries, in the order in which they were made.
    pub receipts: Vec<Receipt>,
}

/// Takes one message out, whatever it is doing; how a delayed one is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    /// Who asks.
    pub principal: String,
    /// The topic.
    pub topic: String,
    /// The message.
    pub message: MessageId,
}

/// Creates a topic, or changes its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configure {
    /// Who asks.
    pub principal: String,
    /// The topic.
    pub topic: String,
    /// What is to be other than it is, or, in a new topic, than the default.
    pub change: TopicChange,
}

/// Deletes a topic that holds no message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTopic {
    /// Who asks.
    pub principal: String,
    /// The topic.
    pub topic: String,
}

/// Takes messages out of a part of a topic, oldest first, a bounded number per entry. Repeated with what
/// the answer says until nothing is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purge {
    /// Who asks.
    pub principal: String,
    /// The topic.
    pub topic: String,
    /// Which part of it.
    pub sub_queue: SubQueue,
    /// Only what was pushed before this; `None` in the first step: before this entry.
    pub before: Option<MessageId>,
}

/// Moves dead messages back to be worked on, as if they had just been pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redrive {
    /// Who asks.
    pub principal: String,
    /// The topic.
    pub topic: String,
    /// Which of its dead messages.
    pub which: Redriven,
}

/// See [`Redrive`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Redriven {
    /// All that are ready in the dead sub-queue, in their order, a bounded number per entry. Repeated
    /// with what the answer says until nothing is left.
    All {
        /// Only those that stand before this place; `None` in the first step: all that are there now.
        before: Option<i64>,
    },
    /// These, each with a result of its own.
    These(Vec<MessageId>),
}

/// What to do with queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueOperation {
    /// See [`Push`].
    Push(Push),
    /// See [`Receive`].
    Receive(Receive),
    /// See [`Settle`].
    Settle(Settle),
    /// See [`GiveBack`].
    GiveBack(GiveBack),
    /// See [`Remove`].
    Remove(Remove),
    /// See [`Configure`].
    Configure(Configure),
    /// See [`DeleteTopic`].
    DeleteTopic(DeleteTopic),
    /// See [`Purge`].
    Purge(Purge),
    /// See [`Redrive`].
    Redrive(Redrive),
}

impl Push {
    /// The same push of nothing.
    pub(crate) fn without_items(&self) -> Self {
        let (principal, topic) = (self.principal.clone(), self.topic.clone());
        Self {
            principal,
            topic,
            unlimited_deliveries: self.unlimited_deliveries,
            items: Vec::new(),
        }
    }
}

/// What one entry delivers at most, unless the setting `step_max` says more.
const DELIVERIES_PER_ENTRY: u64 = 1_000;

impl QueueOperation {
    /// How many things its outcome tells of, at most.
    #[must_use]
    pub fn items(&self) -> u64 {
        let items = match self {
            Self::Push(push) => push.items.len(),
            Self::Receive(receive) => {
                let asked: u64 = receive.receivers.iter().map(|it| u64::from(it.max)).sum();
                return asked.min(DELIVERIES_PER_ENTRY);
            }
            Self::Settle(settle) => settle.items.len(),
            Self::Redrive(Redrive { which: Redriven::These(ids), .. }) => ids.len(),
            _ => 1,
        };
        items as u64
    }
}

/// A text is not the name of a message or a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {0}")]
pub struct ParseNameError(&'static str);

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.position)
    }
}

impl FromStr for MessageId {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let (index, position) = pair(text).ok_or(ParseNameError("message id"))?;
        Ok(Self { index, position })
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}.{}-{}", self.message, self.index, self.position, self.boot)
    }
}

impl FromStr for Receipt {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let parts: Vec<&str> = text.split('-').collect();
        let receipt = match parts.as_slice() {
            [message, delivery, boot] => receipt(message, delivery, boot),
            _ => None,
        };
        receipt.ok_or(ParseNameError("receipt"))
    }
}

fn receipt(message: &str, delivery: &str, boot: &str) -> Option<Receipt> {
    let message = message.parse().ok()?;
    let (index, position) = pair(delivery)?;
    let hexadecimal = boot.len() == 16 && boot.bytes().all(|it| it.is_ascii_hexdigit());
    let boot = u64::from_str_radix(boot, 16).ok().filter(|_| hexadecimal)?;
    Some(Receipt { message, index, position, boot: BootId(boot) })
}

/// Two numbers without signs.
fn pair(text: &str) -> Option<(Index, u32)> {
    let (index, position) = text.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !digits(index) || !digits(position) {
        return None;
    }
    Some((Index(index.parse().ok()?), position.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_from_their_texts() {
        let message = MessageId { index: Index(12), position: 3 };
        let receipt = Receipt { message, index: Index(40), position: 0, boot: BootId(0xab) };
        assert_eq!(message.to_string(), "12.3");
        assert_eq!(receipt.to_string(), "12.3-40.0-00000000000000ab");
        assert_eq!("12.3".parse(), Ok(message));
        assert_eq!(receipt.to_string().parse(), Ok(receipt));
    }

    #[test]
    fn other_texts_are_no_names() {
        for text in ["", "12", "12.", ".3", "+1.2", "1.-2", "1.2.3", "99999999999999999999.0"] {
            assert!(text.parse::<MessageId>().is_err(), "{text}");
        }
        for text in ["1.2", "1.2-3.4", "1.2-3.4-ab", "1.2-3.4-+0000000000000ab", "1.2-3.4-0-0"] {
            assert!(text.parse::<Receipt>().is_err(), "{text}");
        }
    }
}
