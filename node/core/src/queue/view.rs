//! What can be read of the queues. Reading changes nothing, and counts are what stands in the table.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::lifecycle::Usage;
use super::message::{Content, Death, Failures, Message, State};
use super::request::{Consumer, MessageId, Receipt, ReceiverId, SubQueue, TopicId};
use super::settings::TopicSettings;
use super::table::QueueTable;
use super::topic::{Counts, Topic, Totals};
use crate::types::ClusterTime;

/// Most messages that one page of a list looks at to find those of a state.
pub const SCANNED_PER_PAGE_MAX: usize = 10_000;

/// The queues.
#[derive(Clone, Copy, Debug)]
pub struct QueuesView<'a> {
    table: &'a QueueTable,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicView {
    /// Its name.
    pub name: String,
    /// Its creation.
    pub id: TopicId,
    /// Its settings.
    pub settings: TopicSettings,
    /// What it has counted since it was made.
    pub totals: Totals,
    /// What its messages do.
    pub main: Counts,
    /// What its dead messages do.
    pub dead: Counts,
    /// Bytes of all of them.
    pub bytes: u64,
    /// When the oldest message of the main part was pushed.
    pub oldest_pushed_at: Option<ClusterTime>,
}

/// What was counted one by one; see [`QueuesView::recount`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recount {
    /// What the topic has counted since it was made.
    pub totals: Totals,
    /// What the messages of its main part do.
    pub main: Counts,
    /// What its dead messages do.
    pub dead: Counts,
}

/// What a message is doing, without details.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateKind {
    /// It can be delivered, or waits behind others of its group.
    Ready,
    /// It will be ready.
    Delayed,
    /// Somebody works on it.
    InFlight,
}

/// What a message is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateView {
    /// See [`StateKind::Ready`].
    Ready,
    /// See [`StateKind::Delayed`].
    Delayed {
        /// Until when.
        until: ClusterTime,
    },
    /// See [`StateKind::InFlight`].
    InFlight {
        /// Who, on the original routes.
        consumer: Option<Consumer>,
        /// Since when.
        since: ClusterTime,
        /// Until when. If that has passed, it is still to be cleared away, and cannot be settled.
        ends_at: ClusterTime,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageView {
    /// Its id.
    pub id: MessageId,
    /// In which part of its topic.
    pub sub_queue: SubQueue,
    /// What it is doing.
    pub state: StateView,
    /// How often it was delivered since it came to this part.
    pub deliveries: u32,
    /// When nobody wants it any more.
    pub expires_at: Option<ClusterTime>,
    /// Its bytes, as they are counted.
    pub bytes: u64,
    /// What it says.
    pub content: Arc<Content>,
    /// What went wrong.
    pub failures: Option<Arc<Failures>>,
    /// Why it is dead.
    pub death: Option<Death>,
}

/// One delivery, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryView {
    /// To whom.
    pub receiver: ReceiverId,
    /// What settles it.
    pub receipt: Receipt,
    /// Which delivery it is since the message came to this part, from 1.
    pub deliveries: u32,
    /// Until when it is the receiver's alone.
    pub ends_at: ClusterTime,
    /// What the message says.
    pub content: Arc<Content>,
    /// What went wrong before.
    pub failures: Option<Arc<Failures>>,
    /// Why the message is dead.
    pub death: Option<Death>,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The messages, oldest first.
    pub messages: Vec<MessageView>,
    /// Where the next page begins, if there may be one. A page may be empty and have a next one: it looks
    /// at [`SCANNED_PER_PAGE_MAX`] messages at most.
    pub next: Option<MessageId>,
}

impl QueueTable {
    /// To read it.
    #[must_use]
    pub fn view(&self) -> QueuesView<'_> {
        QueuesView { table: self }
    }
}

impl<'a> QueuesView<'a> {
    /// One topic.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<TopicView> {
        self.table.topics.get(name).map(Topic::view)
    }

    /// The topics whose names come after `after` (empty: from the first on), made one at a time.
    pub fn topics_after(&self, after: &str) -> impl Iterator<Item = TopicView> + use<'a> {
        let from = if after.is_empty() { Unbounded } else { Excluded(Arc::<str>::from(after)) };
        self.table.topics.range((from, Unbounded)).map(|(_, topic)| topic.view())
    }

    /// The topics whose names begin with `prefix` and come after `after` (empty: from the first on), made
    /// one at a time.
    pub fn topics_with<'p>(
        &self,
        prefix: &'p str,
        after: &str,
    ) -> impl Iterator<Item = TopicView> + use<'a, 'p> {
        let from = match after {
            "" => Included(Arc::<str>::from(prefix)),
            after => Excluded(Arc::<str>::from(after)),
        };
        let topics = self.table.topics.range((from, Unbounded));
        topics.map(|(_, topic)| topic.view()).take_while(move |it| it.name.starts_with(prefix))
    }

    /// Counts the messages of a topic one by one; what the topic says of them is not believed. It takes
    /// as long as there are messages.
    #[must_use]
    pub fn recount(&self, topic: &str) -> Option<Recount> {
        let topic = self.table.topics.get(topic)?;
        let count = |sub_queue| {
            let mut counts = Counts::default();
            for message in topic.lane(sub_queue).messages.values() {
                *counts.of_mut(&message.state) += 1;
            }
            counts
        };
        let (main, dead) = (count(SubQueue::Main), count(SubQueue::Dead));
        Some(Recount { totals: topic.totals, main, dead })
    }

    /// How many topics there are.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.table.topics.size()
    }

    /// What all messages together take.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.table.usage
    }

    /// How many deduplication keys are remembered.
    #[must_use]
    pub fn dedupe_keys(&self) -> usize {
        self.table.keys.size()
    }

    /// One message.
    #[must_use]
    pub fn message(&self, topic: &str, id: MessageId) -> Option<MessageView> {
        self.table.topics.get(topic)?.find(id).map(|(_, message)| message.view(id))
    }

    /// What a receive would deliver next, in that order; of each group its first message.
    pub fn peek(
        &self,
        topic: &str,
        sub_queue: SubQueue,
    ) -> impl Iterator<Item = MessageView> + use<'a> {
        let lane = self.table.topics.get(topic).map(|topic| topic.lane(sub_queue));
        lane.into_iter().flat_map(|lane| {
            let ids = lane.ready.values().filter_map(|next| lane.head(next));
            ids.filter_map(|id| Some(lane.messages.get(&id)?.view(id)))
        })
    }

    /// Messages of a part in the order of their pushes, those in one state if it is named: at most `max`
    /// that come after `after`.
    #[must_use]
    pub fn list(
        &self,
        topic: &str,
        sub_queue: SubQueue,
        state: Option<StateKind>,
        after: Option<MessageId>,
        max: usize,
    ) -> Page {
        let Some(topic) = self.table.topics.get(topic) else { return Page::default() };
        let from = after.map_or(Unbounded, Excluded);
        let mut page = Page::default();
        let messages = topic.lane(sub_queue).messages.range((from, Unbounded));
        for (scanned, (id, message)) in messages.enumerate() {
            if page.messages.len() == max || scanned == SCANNED_PER_PAGE_MAX {
                return page;
            }
            page.next = Some(*id);
            if state.is_none_or(|state| message.state.kind() == state) {
                page.messages.push(message.view(*id));
            }
        }
        page.next = None;
        page
    }

    /// A delivery that has not been settled, with its body: what a repeated receive is answered with.
    #[must_use]
    pub fn delivery(&self, topic: &str, receipt: &Receipt) -> Option<DeliveryView> {
        let topic = self.table.topics.get(topic)?;
        let (sub_queue, _) = topic.find(receipt.message)?;
        topic.view_delivery(sub_queue, receipt.message).filter(|it| it.receipt == *receipt)
    }

    /// How many messages a receive could deliver now; a group counts as one.
    #[must_use]
    pub fn deliverable(&self, topic: &str, sub_queue: SubQueue) -> usize {
        let topic = self.table.topics.get(topic);
        let paused = |topic: &&Topic| topic.settings.paused && sub_queue == SubQueue::Main;
        let topic = topic.filter(|topic| !paused(topic));
        topic.map_or(0, |topic| topic.lane(sub_queue).ready.size())
    }
}

impl Recount {
    /// Every message that was pushed is there, or has gone in one of the known ways.
    #[must_use]
    pub fn holds(&self) -> bool {
        let Totals { pushed, acked, expired, purged, .. } = self.totals;
        pushed == acked + expired + purged + self.main.sum() + self.dead.sum()
    }
}

impl Topic {
    fn view(&self) -> TopicView {
        let oldest = self.main.messages.first();
        TopicView {
            name: self.name.to_string(),
            id: self.id,
            settings: self.settings,
            totals: self.totals,
            main: self.main.counts,
            dead: self.dead.counts,
            bytes: self.main.bytes + self.dead.bytes,
            oldest_pushed_at: oldest.map(|(_, message)| message.content.pushed_at),
        }
    }

    pub(super) fn view_delivery(&self, sub_queue: SubQueue, id: MessageId) -> Option<DeliveryView> {
        let message = self.lane(sub_queue).messages.get(&id)?;
        let delivery = message.delivery()?;
        Some(DeliveryView {
            receiver: delivery.receiver,
            receipt: delivery.receipt(id),
            deliveries: message.deliveries,
            ends_at: delivery.ends_at,
            content: message.content.clone(),
            failures: message.failures.clone(),
            death: message.death,
        })
    }
}

impl State {
    fn kind(&self) -> StateKind {
        match self {
            Self::Ready { .. } => StateKind::Ready,
            Self::Delayed { .. } => StateKind::Delayed,
            Self::InFlight(_) => StateKind::InFlight,
        }
    }

    fn view(&self) -> StateView {
        match self {
            Self::Ready { .. } => StateView::Ready,
            Self::Delayed { until, .. } => StateView::Delayed { until: *until },
            Self::InFlight(delivery) => StateView::InFlight {
                consumer: delivery.consumer.clone(),
                since: delivery.since,
                ends_at: delivery.ends_at,
            },
        }
    }
}

impl Message {
    fn view(&self, id: MessageId) -> MessageView {
        MessageView {
            id,
            sub_queue: if self.death.is_some() { SubQueue::Dead } else { SubQueue::Main },
            state: self.state.view(),
            deliveries: self.deliveries,
            expires_at: self.expires_at,
            bytes: self.bytes(),
            content: self.content.clone(),
            failures: self.failures.clone(),
            death: self.death,
        }
    }
}
