//! Queues: push messages to a topic, receive them, settle them; or let a [`Worker`] do all of that.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use dsync_client::Client;
//! use dsync_client::queues::{HandlerError, Job, Message, Worker};
//!
//! let client = Client::new(["http://127.0.0.1:5001", "http://127.0.0.1:5002"])?;
//! client.queue("mails").push(Message::json(&"ann@example.org")?).await?;
//!
//! Worker::new(&client, "mails")
//!     .jobs(8)
//!     .run(|job: Job| async move {
//!         let address: String = job.body.json()?;
//!         println!("a mail to {address}, delivery {}", job.deliveries);
//!         Ok::<(), HandlerError>(())
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - Push and settle carry a number, so one that is sent again has one effect: a message is there once,
//!   though its answer was lost. Across the end of a process, use a key ([`Batch::key`]), or a
//!   [deduplication key](Message::dedupe_key).
//! - A delivery is counted as ended never later than the cluster counts it: from the *sending* of the
//!   request that was answered last, less a thousandth for the difference of clocks.
//! - At least once, not exactly once: a worker that has done its work and cannot say so in time is not
//!   the last one to do it.
//!
//! What the routes behind this take and answer stands in `docs/protocol.md`, section "Queues".

mod body;
mod bulk;
mod items;
mod push;
mod receive;
mod settings;
mod settle;
mod stored;
mod topic;
mod worker;

pub use body::Body;
pub use bulk::{Purged, Redriven, RedrivenMessage};
pub use dsync_core::queue::{Cause, DeathCause, Expired, Growth, StateKind, SubQueue, Totals};
pub use items::ItemError;
pub use push::{Batch, Message, PushReply, Pushed};
pub use receive::{Death, Delivery, FailedDelivery, Failures, Receive};
pub use settings::{Backoff, SettingsChange, SettingsReply, TopicSettings};
pub use settle::{Settle, Settled, Settlement};
pub use stored::{ListMessages, MessagePage, RemovedMessage, StoredMessage};
pub use topic::{Counts, DeletedTopic, Topic, TopicPage};
pub use worker::{DeliveryLoss, HandlerError, Job, Worker, WorkerEvent};

use std::sync::Arc;

use crate::client::Client;
use crate::nodes::Nodes;

#[cfg(test)]
mod queues_test;
#[cfg(test)]
mod worker_test;

/// One topic, from [`Client::queue`].
#[derive(Clone, Debug)]
pub struct Queue {
    nodes: Arc<Nodes>,
    topic: String,
}

impl Client {
    /// A topic. Nothing is asked: it is made by its first push, or by its settings.
    pub fn queue(&self, topic: impl Into<String>) -> Queue {
        Queue { nodes: Arc::clone(&self.nodes), topic: topic.into() }
    }
}

impl Queue {
    /// The topic's name.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        [&["v1", "queues", self.topic.as_str()], rest].concat()
    }
}
