//! The table as a sequence of records, for snapshots and hashes.
//!
//! Only the state, in one order: topics by name, each followed by its messages (by id, those of the main
//! part before the dead) and its groups; then deduplication keys. The indexes are made anew when the
//! records are read back, so two tables that behave alike have equal records, however they came about.
//!
//! A record is part of the snapshot's format: see the checklist in `machine/snapshot.rs`.

use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::dedupe::{Key, KeyId};
use super::message::{Content, Death, Delivery, Failures, Message, State};
use super::request::{MessageId, SubQueue, TopicId};
use super::settings::TopicSettings;
use super::table::QueueTable;
use super::topic::{Lane, Next, Topic, Totals};
use crate::types::ClusterTime;

/// One thing of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueueRecord {
    /// A topic.
    Topic(TopicRecord),
    /// A message of the topic before it.
    Message(Box<MessageRecord>),
    /// A group of the topic before it that can be delivered.
    Group {
        /// Its name.
        name: String,
        /// Its place among what can be delivered.
        place: i64,
    },
    /// A deduplication key.
    Key(KeyRecord),
}

/// See [`QueueRecord::Topic`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    name: String,
    id: TopicId,
    settings: TopicSettings,
    totals: Totals,
    /// The places given out in the main part, and in the dead one.
    places: [(i64, i64); 2],
}

/// See [`QueueRecord::Message`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageRecord {
    id: MessageId,
    content: Content,
    state: StateRecord,
    deliveries: u32,
    expires_at: Option<ClusterTime>,
    failures: Option<Failures>,
    death: Option<Death>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum StateRecord {
    Ready { place: i64 },
    Delayed { until: ClusterTime, retry: bool },
    InFlight(Delivery),
}

/// See [`QueueRecord::Key`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    topic: TopicId,
    name: String,
    key: Key,
}

/// Where in the sequence a reader is: after this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueCursor(At);

#[derive(Clone, Debug, PartialEq, Eq)]
enum At {
    Topic(Arc<str>),
    Message(Arc<str>, SubQueue, MessageId),
    Group(Arc<str>, Arc<str>),
    Key(KeyId),
}

impl QueueTable {
    /// The record after `cursor`, the first with `None`; each in logarithmic time, so a reader needs to
    /// keep nothing but the frozen table and the cursor.
    #[must_use]
    pub fn record_after(&self, cursor: Option<&QueueCursor>) -> Option<(QueueCursor, QueueRecord)> {
        let (at, record) = match cursor.map(|cursor| &cursor.0) {
            None => self.topic_after(None),
            Some(At::Topic(topic)) => self.message_after(topic, SubQueue::Main, None),
            Some(At::Message(topic, sub_queue, id)) => {
                self.message_after(topic, *sub_queue, Some(*id))
            }
            Some(At::Group(topic, group)) => self.group_after(topic, Some(group)),
            Some(At::Key(key)) => self.key_after(Some(key)),
        }?;
        Some((QueueCursor(at), record))
    }

    /// Puts a record back. They must come in the order of [`QueueTable::record_after`].
    ///
    /// # Errors
    /// If the record contradicts those before it.
    pub fn restore(&mut self, record: QueueRecord) -> Result<(), String> {
        match record {
            QueueRecord::Topic(record) => self.restore_topic(record),
            QueueRecord::Message(record) => self.restore_message(*record),
            QueueRecord::Group { name, place } => self.restore_group(&name, place),
            QueueRecord::Key(KeyRecord { topic, name, key }) => {
                self.remember_key((topic, Arc::from(name)), key);
                Ok(())
            }
        }
    }

    fn topic_after(&self, after: Option<&Arc<str>>) -> Option<(At, QueueRecord)> {
        let from = after.map_or(Unbounded, |after| Excluded(after.clone()));
        match self.topics.range((from, Unbounded)).next() {
            Some((name, topic)) => {
                Some((At::Topic(name.clone()), QueueRecord::Topic(topic.record())))
            }
            None => self.key_after(None),
        }
    }

    fn message_after(
        &self,
        name: &Arc<str>,
        sub_queue: SubQueue,
        after: Option<MessageId>,
    ) -> Option<(At, QueueRecord)> {
        let topic = self.topics.get(name)?;
        let from = after.map_or(Unbounded, Excluded);
        let next = topic.lane(sub_queue).messages.range((from, Unbounded)).next();
        match (next, sub_queue) {
            (Some((id, message)), _) => {
                let record = QueueRecord::Message(Box::new(message.record(*id)));
                Some((At::Message(name.clone(), sub_queue, *id), record))
            }
            (None, SubQueue::Main) => self.message_after(name, SubQueue::Dead, None),
            (None, SubQueue::Dead) => self.group_after(name, None),
        }
    }

    fn group_after(&self, topic: &Arc<str>, after: Option<&Arc<str>>) -> Option<(At, QueueRecord)> {
        let from = after.map_or(Unbounded, |after| Excluded(after.clone()));
        let groups = self.topics.get(topic)?.main.groups.range((from, Unbounded));
        let ranked = |(name, rank): (&Arc<str>, Option<super::topic::Rank>)| {
            Some((name.clone(), rank?.place))
        };
        match groups.map(|(name, group)| (name, group.rank)).find_map(ranked) {
            Some((name, place)) => {
                let record = QueueRecord::Group { name: name.to_string(), place };
                Some((At::Group(topic.clone(), name), record))
            }
            None => self.topic_after(Some(topic)),
        }
    }

    fn key_after(&self, after: Option<&KeyId>) -> Option<(At, QueueRecord)> {
        let from = after.map_or(Unbounded, |after| Excluded(after.clone()));
        let (id, key) = self.keys.range((from, Unbounded)).next()?;
        let record = KeyRecord { topic: id.0, name: id.1.to_string(), key: *key };
        Some((At::Key(id.clone()), QueueRecord::Key(record)))
    }

    fn restore_topic(&mut self, record: TopicRecord) -> Result<(), String> {
        let name: Arc<str> = Arc::from(record.name);
        if self.topics.last().is_some_and(|(last, _)| *last >= name) {
            return Err(format!("the topic {name} is not in order"));
        }
        let mut topic = Topic::new(name.clone(), record.id, record.settings);
        topic.totals = record.totals;
        [topic.main.places, topic.dead.places] = record.places;
        self.topics.insert_mut(name, topic);
        Ok(())
    }

    /// The topic whose records are being read: the last, since they come in order.
    fn restored_topic(&self) -> Result<Arc<str>, String> {
        let last = self.topics.last().map(|(name, _)| name.clone());
        last.ok_or_else(|| "a message has no topic".to_owned())
    }

    fn restore_message(&mut self, record: MessageRecord) -> Result<(), String> {
        let name = self.restored_topic()?;
        let mut open = self.open(&name).ok_or("a message has no topic")?;
        let (id, message) = (record.id, record.message());
        if open.topic.find(id).is_some() {
            return Err(format!("the message {id} is twice in the topic {name}"));
        }
        let sub_queue = if message.death.is_some() { SubQueue::Dead } else { SubQueue::Main };
        open.usage.messages += 1;
        open.index(sub_queue, id, message);
        Ok(())
    }

    fn restore_group(&mut self, group: &str, place: i64) -> Result<(), String> {
        let name = self.restored_topic()?;
        let topic = self.topics.get_mut(&name).ok_or("a group has no topic")?;
        topic.main.restore_group(group, place)
    }
}

impl Lane {
    fn restore_group(&mut self, name: &str, place: i64) -> Result<(), String> {
        let none = || format!("the group {name} has nothing to deliver");
        let head = self.head(&Next::Group(Arc::from(name))).ok_or_else(none)?;
        let rank = self.messages.get(&head).map(|message| message.rank(place));
        let rank = rank.ok_or_else(none)?;
        if let Some(group) = self.groups.get_mut(name) {
            group.rank = Some(rank);
        }
        self.ready.insert_mut(rank, Next::Group(Arc::from(name)));
        Ok(())
    }
}

impl Topic {
    fn record(&self) -> TopicRecord {
        TopicRecord {
            name: self.name.to_string(),
            id: self.id,
            settings: self.settings,
            totals: self.totals,
            places: [self.main.places, self.dead.places],
        }
    }
}

impl Message {
    fn record(&self, id: MessageId) -> MessageRecord {
        MessageRecord {
            id,
            content: Content::clone(&self.content),
            state: match &self.state {
                State::Ready { place } => StateRecord::Ready { place: *place },
                State::Delayed { until, retry } => {
                    StateRecord::Delayed { until: *until, retry: *retry }
                }
                State::InFlight(delivery) => StateRecord::InFlight(Delivery::clone(delivery)),
            },
            deliveries: self.deliveries,
            expires_at: self.expires_at,
            failures: self.failures.as_deref().cloned(),
            death: self.death,
        }
    }
}

impl MessageRecord {
    fn message(self) -> Message {
        Message {
            state: match self.state {
                StateRecord::Ready { place } => State::Ready { place },
                StateRecord::Delayed { until, retry } => State::Delayed { until, retry },
                StateRecord::InFlight(delivery) => State::InFlight(Arc::new(delivery)),
            },
            deliveries: self.deliveries,
            failures: self.failures.map(Arc::new),
            death: self.death,
            ..Message::new(self.content, self.expires_at)
        }
    }
}
