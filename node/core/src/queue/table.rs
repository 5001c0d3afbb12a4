//! The table of all topics: what is asked, and who answers it.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::bug::Mistake;
use super::deadlines::Due;
use super::dedupe::{Key, KeyId};
use super::event::{QueueEvent, QueueWhat};
use super::lifecycle::{Open, Usage};
use super::outcome::{QueueOutcome, QueueRefusal};
use super::request::{Configure, DeleteTopic, QueueOperation};
use super::settings::TopicSettings;
use super::topic::Topic;
use super::turn::Turn;
use super::{checks, push};
use crate::types::ClusterTime;

/// Every topic and its messages. A clone costs nothing and shares all it can.
#[derive(Clone, Debug, Default)]
pub struct QueueTable {
    /// The state: topics with their messages, and the deduplication keys that are remembered.
    pub(super) topics: RedBlackTreeMapSync<Arc<str>, Topic>,
    pub(super) keys: RedBlackTreeMapSync<KeyId, Key>,
    /// The same from other sides: what ends when, what all messages take.
    pub(super) dues: RedBlackTreeSetSync<Due>,
    pub(super) forget: RedBlackTreeSetSync<(ClusterTime, KeyId)>,
    pub(super) usage: Usage,
    /// A mistake that is put back, for tests that show that it is noticed.
    pub(super) mistake: Mistake,
}

impl QueueTable {
    /// Does what is asked. Time has moved already ([`QueueTable::advance`]).
    pub fn apply(&mut self, turn: &mut Turn, operation: &QueueOperation) -> QueueOutcome {
        let outcome = match operation {
            QueueOperation::Push(push) => self.push(turn, push),
            QueueOperation::Receive(receive) => self.receive(turn, receive),
            QueueOperation::Settle(settle) => self.settle(turn, settle),
            QueueOperation::GiveBack(give_back) => self.give_back(turn, give_back),
            QueueOperation::Remove(remove) => self.remove(turn, remove),
            QueueOperation::Configure(configure) => self.configure(turn, configure),
            QueueOperation::DeleteTopic(delete) => self.delete_topic(turn, delete),
            QueueOperation::Purge(purge) => self.purge(turn, purge),
            QueueOperation::Redrive(redrive) => self.redrive(turn, redrive),
        };
        outcome.unwrap_or_else(QueueOutcome::Refused)
    }

    fn configure(
        &mut self,
        turn: &mut Turn,
        asked: &Configure,
    ) -> Result<QueueOutcome, QueueRefusal> {
        checks::name("topic", &asked.topic, &turn.rules)?;
        checks::name("principal", &asked.principal, &turn.rules)?;
        asked.change.check(&turn.rules)?;
        let created = !self.topics.contains_key(asked.topic.as_str());
        if created {
            let settings = turn.rules.new_topic.with(&asked.change);
            self.create_topic(turn, &asked.principal, &asked.topic, settings)?;
            return Ok(QueueOutcome::Configured { created, settings });
        }
        let open = self.open(&asked.topic).ok_or(QueueRefusal::NoTopic)?;
        let before = open.topic.settings;
        let settings = before.with(&asked.change);
        open.topic.settings = settings;
        // Whoever waits is told: what was ready all the time may be delivered now.
        if before.paused && !settings.paused && !open.topic.main.ready.is_empty() {
            turn.wake(&open.topic.name, super::SubQueue::Main);
        }
        if settings != before {
            note(turn, QueueWhat::TopicChanged, &asked.principal, &asked.topic, 0);
        }
        Ok(QueueOutcome::Configured { created, settings })
    }

    fn delete_topic(
        &mut self,
        turn: &mut Turn,
        asked: &DeleteTopic,
    ) -> Result<QueueOutcome, QueueRefusal> {
        let topic = self.topics.get(asked.topic.as_str()).ok_or(QueueRefusal::NoTopic)?;
        let messages = topic.messages();
        if messages > 0 {
            return Err(QueueRefusal::NotEmpty { messages });
        }
        self.topics.remove_mut(asked.topic.as_str());
        note(turn, QueueWhat::TopicDeleted, &asked.principal, &asked.topic, 0);
        Ok(QueueOutcome::Deleted)
    }

    /// A topic by its first push or by its settings, never by a receive: a worker that starts with a
    /// name mistyped would wait at a topic of its own for ever.
    pub(super) fn create_topic(
        &mut self,
        turn: &mut Turn,
        principal: &str,
        name: &str,
        settings: TopicSettings,
    ) -> Result<(), QueueRefusal> {
        push::room("topics_max", turn.rules.topics_max.into(), self.topics.size() as u64, 1)?;
        let id = turn.next_topic();
        let name: Arc<str> = Arc::from(name);
        note(turn, QueueWhat::TopicCreated, principal, &name, 0);
        self.topics.insert_mut(name.clone(), Topic::new(name, id, settings));
        Ok(())
    }

    /// A topic, to change it.
    pub(super) fn open(&mut self, name: &str) -> Option<Open<'_>> {
        let topic = self.topics.get_mut(name)?;
        let (dues, usage, mistake) = (&mut self.dues, &mut self.usage, self.mistake);
        Some(Open { topic, dues, usage, mistake })
    }
}

pub(super) fn note(turn: &mut Turn, what: QueueWhat, principal: &str, topic: &str, messages: u64) {
    let (principal, topic) = (principal.to_owned(), topic.to_owned());
    turn.note(QueueEvent { what, principal, topic, messages });
}
