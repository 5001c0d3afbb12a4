//! Settling: what became of a delivery.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Queue;
use super::items::{self, ItemError};
use crate::error::Error;
use crate::lock_request::millis;
use crate::nodes::{Answer, Call, Repeat};

/// What is to become of one delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    receipt: String,
    action: &'static str,
    delay: Option<Duration>,
    visibility: Option<Duration>,
    reason: Option<String>,
}

impl Settle {
    /// Done: the message is gone.
    pub fn ack(receipt: impl Into<String>) -> Self {
        Self::new(receipt, "ack")
    }

    /// Not done: again after the topic's back-off, or after [`delay`](Self::delay).
    pub fn nack(receipt: impl Into<String>) -> Self {
        Self::new(receipt, "nack")
    }

    /// Not done yet: the delivery lives so long from now. Its end never moves to an earlier time.
    pub fn extend(receipt: impl Into<String>, visibility: Duration) -> Self {
        Self { visibility: Some(visibility), ..Self::new(receipt, "extend") }
    }

    /// It will never go right: dead at once.
    pub fn reject(receipt: impl Into<String>) -> Self {
        Self::new(receipt, "reject")
    }

    /// Of a nack: not delivered before.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    /// Of a nack or a reject: why. Kept with the message; what exceeds 1024 bytes is cut off.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(shortened(reason.into()));
        self
    }

    fn new(receipt: impl Into<String>, action: &'static str) -> Self {
        Self { receipt: receipt.into(), action, delay: None, visibility: None, reason: None }
    }

    fn json(&self) -> Value {
        let mut item = json!({ "receipt": self.receipt, "action": self.action });
        for (field, length) in [("delay", self.delay), ("visibility", self.visibility)] {
            if let Some(length) = length {
                item[field] = json!(millis(length));
            }
        }
        if let Some(reason) = &self.reason {
            item["reason"] = json!(reason);
        }
        item
    }
}

/// Longest reason, in bytes.
const REASON_BYTES_MAX: usize = 1024;

fn shortened(mut reason: String) -> String {
    let fits = (0..=REASON_BYTES_MAX).rev().find(|end| reason.is_char_boundary(*end));
    if reason.len() > REASON_BYTES_MAX {
        reason.truncate(fits.unwrap_or(0));
    }
    reason
}

/// What became of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Which delivery.
    pub receipt: String,
    /// What became of it.
    pub outcome: Settlement,
    /// Of a nack: after how many milliseconds it is ready again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Of an extension: how many milliseconds are left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_ms: Option<u64>,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Settlement {
    /// The message is gone.
    Acked,
    /// It will be delivered again.
    Nacked,
    /// It is dead.
    Dead,
    /// Its time to live was over, and it was dropped.
    Expired,
    /// The delivery lives on.
    Extended,
}

impl Queue {
    /// Done: the message is gone.
    ///
    /// # Errors
    /// `stale_receipt` if this delivery is not, or no longer, the live one: nothing changed, and
    /// another has the message or nobody needs to.
    pub async fn ack(&self, receipt: impl Into<String>) -> Result<(), Error> {
        self.settle_one(Settle::ack(receipt)).await.map(drop)
    }

    /// Settles one delivery.
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub async fn settle_one(&self, item: Settle) -> Result<Settled, Error> {
        items::only(&self.nodes.call(&self.settle_call(&[item])).await?)
    }

    /// As [`settle_one`](Self::settle_one), until then; says when the request was sent that was
    /// answered.
    pub(super) async fn settle_within(
        &self,
        item: Settle,
        patience: Duration,
        node_timeout: Duration,
    ) -> Result<(Settled, Answer), Error> {
        let call = self.settle_call(&[item]).timeout(node_timeout);
        let answer = self.nodes.call_within(&call, patience).await?;
        Ok((items::only(&answer)?, answer))
    }

    /// Settles 1 to 1000 deliveries. They are not one transaction.
    ///
    /// # Errors
    /// If all of it is refused for how it is written, or no node serves it in time. What is refused
    /// item by item is in the results.
    pub async fn settle(
        &self,
        items: impl IntoIterator<Item = Settle>,
    ) -> Result<Vec<Result<Settled, ItemError>>, Error> {
        let items: Vec<_> = items.into_iter().collect();
        match self.nodes.call(&self.settle_call(&items)).await {
            Ok(answer) => items::results(Ok(&answer)),
            Err(error) => items::results(Err(error)),
        }
    }

    fn settle_call(&self, items: &[Settle]) -> Call {
        let body = json!({ "items": items.iter().map(Settle::json).collect::<Vec<_>>() });
        Call::post(&self.path(&["settle"]), body, Repeat::Always).numbered(self.nodes.ids.next())
    }
}
