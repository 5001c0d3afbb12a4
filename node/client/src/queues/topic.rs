//! Topics: what stands in them, and what they have done.

use serde::{Deserialize, Serialize};

use super::{Queue, TopicSettings, Totals};
use crate::client::Client;
use crate::error::Error;
use crate::nodes::Call;

/// Topics of a page, when all are listed.
const PAGE: u32 = 1_000;

/// A topic. All counts are exact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topic {
    /// Its name.
    pub topic: String,
    /// How it treats its messages.
    pub settings: TopicSettings,
    /// What is to be worked on.
    pub main: Counts,
    /// What nobody could work on.
    pub dead: Counts,
    /// What has happened since it was made.
    pub totals: Totals,
    /// What its messages take.
    pub bytes: u64,
    /// Age of the oldest message of the main part, in milliseconds; `None`: it is empty.
    pub oldest_age_ms: Option<u64>,
}

/// How many messages of a part do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// They can be delivered, or wait for others of their group.
    pub ready: u64,
    /// They will be ready.
    pub delayed: u64,
    /// Somebody works on them.
    pub in_flight: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.ready + self.delayed + self.in_flight
    }
}

/// A part of the list of topics.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicPage {
    /// In the order of their names.
    pub topics: Vec<Topic>,
    /// Where the next part begins; `None`: this is the end.
    #[serde(default, rename = "continue")]
    pub next: Option<String>,
}

/// A topic that is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedTopic {
    /// Which.
    pub topic: String,
    /// It is gone.
    pub deleted: bool,
}

impl Queue {
    /// What stands in the topic, and what it has done.
    ///
    /// # Errors
    /// `no_such_topic`; or no node can confirm the read in time.
    pub async fn stats(&self) -> Result<Topic, Error> {
        self.nodes.call(&Call::get(&self.path(&[]))).await?.decode()
    }

    /// Deletes the topic, if it is empty.
    ///
    /// # Errors
    /// `not_empty`, `no_such_topic`; or no node serves it in time. A repeat whose first copy deleted it
    /// says `no_such_topic`, too.
    pub async fn delete(&self) -> Result<DeletedTopic, Error> {
        self.nodes.call(&Call::delete(&self.path(&[]))).await?.decode()
    }
}

impl Client {
    /// The topics whose names begin with `prefix`, at most `limit` of them, from where an earlier part
    /// ended.
    ///
    /// # Errors
    /// If no node can confirm the read in time, or `next` is not from an earlier answer.
    pub async fn topics(
        &self,
        prefix: &str,
        limit: Option<u32>,
        next: Option<&str>,
    ) -> Result<TopicPage, Error> {
        let mut call = Call::get(&["v1", "queues"]).query("prefix", prefix);
        if let Some(limit) = limit {
            call = call.query("limit", limit.to_string());
        }
        if let Some(next) = next {
            call = call.query("continue", next);
        }
        self.nodes.call(&call).await?.decode()
    }

    /// Every topic whose name begins with `prefix`, page by page.
    ///
    /// # Errors
    /// As [`topics`](Self::topics).
    pub async fn topics_all(&self, prefix: &str) -> Result<Vec<Topic>, Error> {
        let (mut topics, mut next) = (Vec::new(), None);
        loop {
            let page = self.topics(prefix, Some(PAGE), next.as_deref()).await?;
            topics.extend(page.topics);
            next = page.next;
            if next.is_none() {
                return Ok(topics);
            }
        }
    }
}
