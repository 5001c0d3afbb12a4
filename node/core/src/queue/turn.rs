//! One applied entry, as the queues see it: where, when, by which rules, and what happened.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::event::QueueEvent;
use super::request::{MessageId, SubQueue, TopicId};
use super::settings::TopicSettings;
use super::view::DeliveryView;
use crate::types::{ClusterTime, Index};

/// The numbers that all queues obey. Part of the replicated settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Most bytes of the name of a topic, a group, a consumer, a principal, or of a deduplication key.
    pub name_bytes_max: u32,
    /// Most topics.
    pub topics_max: u32,
    /// Most messages in all topics together.
    pub messages_max: u64,
    /// Most bytes of all messages together, each counted as it is encoded.
    pub bytes_max: u64,
    /// Most bytes of one message.
    pub message_bytes_max: u64,
    /// Most items of one push or settle, and most messages of one receive.
    pub batch_max: u32,
    /// Longest delay, time to live, or pause between deliveries.
    pub delay_ms_max: u64,
    /// Longest time that a delivery can be asked for, or extended by.
    pub visibility_ms_max: u64,
    /// Most bytes of the reason of a nack or reject.
    pub reason_bytes_max: u32,
    /// Most deduplication keys that are remembered at a time, in all topics together.
    pub dedupe_keys_max: u64,
    /// Longest window of deduplication.
    pub dedupe_window_ms_max: u64,
    /// Most items of requests with ids that are remembered at a time: of pushes and settles that can be
    /// sent again.
    pub request_items_max: u32,
    /// Most of what has ended (deliveries, delays, times to live, keys) that one entry clears away.
    pub ends_per_entry_max: u32,
    /// Most messages that one entry purges, redrives, or delivers.
    pub step_max: u32,
    /// The settings of a new topic.
    pub new_topic: TopicSettings,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            name_bytes_max: 256,
            topics_max: 10_000,
            messages_max: 1_000_000,
            bytes_max: 256 * 1024 * 1024,
            message_bytes_max: 256 * 1024,
            batch_max: 1_000,
            delay_ms_max: 366 * 24 * 3_600_000,
            visibility_ms_max: 12 * 3_600_000,
            reason_bytes_max: 1_024,
            dedupe_keys_max: 1_000_000,
            dedupe_window_ms_max: 24 * 3_600_000,
            request_items_max: 200_000,
            ends_per_entry_max: 256,
            step_max: 1_000,
            new_topic: TopicSettings::default(),
        }
    }
}

/// One entry being applied.
#[derive(Debug)]
pub struct Turn {
    /// The entry.
    pub index: Index,
    /// Its stamp: "now" for everything that it does.
    pub now: ClusterTime,
    /// The rules in force.
    pub rules: Rules,
    /// What this entry has made so far: the position of the next one of its kind.
    made: Made,
    /// How many more that have expired it may clear away while it looks for what to deliver.
    pub(super) ends_left: u32,
    events: Vec<QueueEvent>,
    deliveries: Vec<DeliveryView>,
    ready: BTreeSet<(Arc<str>, SubQueue)>,
}

/// How much an entry has made, by kind: a topic, a message and a delivery never meet in one field.
#[derive(Clone, Copy, Debug, Default)]
struct Made {
    topics: u32,
    messages: u32,
    deliveries: u32,
}

impl Turn {
    /// The start of an entry's application.
    #[must_use]
    pub fn new(index: Index, now: ClusterTime, rules: Rules) -> Self {
        Self {
            index,
            now,
            rules,
            made: Made::default(),
            ends_left: rules.ends_per_entry_max,
            events: Vec::new(),
            deliveries: Vec::new(),
            ready: BTreeSet::new(),
        }
    }

    /// What has happened since the last call, in order.
    pub fn take_events(&mut self) -> Vec<QueueEvent> {
        std::mem::take(&mut self.events)
    }

    /// What was delivered since the last call, with bodies: for the nodes that answer the receivers.
    pub fn take_deliveries(&mut self) -> Vec<DeliveryView> {
        std::mem::take(&mut self.deliveries)
    }

    /// Where something has become ready since the last call: for the leader, who knows who waits.
    pub fn take_ready(&mut self) -> BTreeSet<(Arc<str>, SubQueue)> {
        std::mem::take(&mut self.ready)
    }

    pub(super) fn note(&mut self, event: QueueEvent) {
        self.events.push(event);
    }

    pub(super) fn deliver(&mut self, delivery: DeliveryView) {
        self.deliveries.push(delivery);
    }

    pub(super) fn wake(&mut self, topic: &Arc<str>, sub_queue: SubQueue) {
        self.ready.insert((topic.clone(), sub_queue));
    }

    /// The id of the next topic. Never used again, since an index is applied once.
    pub(super) fn next_topic(&mut self) -> TopicId {
        self.made.topics += 1;
        TopicId { index: self.index, position: self.made.topics - 1 }
    }

    /// The id of the next message, as unique.
    pub(super) fn next_message(&mut self) -> MessageId {
        self.made.messages += 1;
        MessageId { index: self.index, position: self.made.messages - 1 }
    }

    /// The position of the next delivery, as unique.
    pub(super) fn next_delivery(&mut self) -> u32 {
        self.made.deliveries += 1;
        self.made.deliveries - 1
    }
}
