//! Pushing: is the message well-formed, was it pushed before, is there room.
//!
//! Each item of a push is judged for itself, in its order, and one that is refused changes nothing: it
//! does not even make its topic.

use std::sync::Arc;

use super::bug::Bug;
use super::checks;
use super::dedupe::{Key, KeyId};
use super::lifecycle::{Comes, Stand};
use super::message::{Content, Message};
use super::outcome::{PushOutcome, QueueOutcome, QueueRefusal};
use super::request::{MessageId, Push, PushItem, SubQueue};
use super::settings::TopicSettings;
use super::table::QueueTable;
use super::topic::Topic;
use super::turn::Turn;

impl QueueTable {
    pub(super) fn push(
        &mut self,
        turn: &mut Turn,
        push: &Push,
    ) -> Result<QueueOutcome, QueueRefusal> {
        checks::name("topic", &push.topic, &turn.rules)?;
        checks::name("principal", &push.principal, &turn.rules)?;
        checks::batch("items", push.items.len(), &turn.rules)?;
        let one = |item| {
            let pushed = self.push_one(turn, push, item);
            pushed.unwrap_or_else(PushOutcome::Refused)
        };
        Ok(QueueOutcome::Pushed(push.items.iter().map(one).collect()))
    }

    fn push_one(
        &mut self,
        turn: &mut Turn,
        push: &Push,
        item: &PushItem,
    ) -> Result<PushOutcome, QueueRefusal> {
        item.check(&turn.rules)?;
        if let Some(before) = self.pushed_before(turn, push, item)? {
            if let Some(open) = self.open(&push.topic) {
                open.topic.totals.duplicates += 1;
            }
            return Ok(PushOutcome::Duplicate(before));
        }
        let settings = self.settings_for(turn, push);
        let message = message(turn, item, &settings);
        self.check_room(turn, push, item, &message)?;
        if !self.topics.contains_key(push.topic.as_str()) {
            self.create_topic(turn, &push.principal, &push.topic, settings)?;
        }
        let id = turn.next_message();
        self.put(turn, push, item, id, message);
        Ok(PushOutcome::Pushed(id))
    }

    /// The message that this key made, if it is remembered.
    fn pushed_before(
        &self,
        turn: &Turn,
        push: &Push,
        item: &PushItem,
    ) -> Result<Option<MessageId>, QueueRefusal> {
        let key = self.key_id(push, item).and_then(|id| self.live_key(&id, turn.now));
        match key {
            None => Ok(None),
            Some(key) if key.digest == item.digest() => Ok(Some(key.message)),
            Some(key) if self.mistake.is(Bug::KeyIgnoresContent) => Ok(Some(key.message)),
            Some(_) => Err(QueueRefusal::OtherContent),
        }
    }

    /// `None`: it has no key, or its topic does not exist yet.
    fn key_id(&self, push: &Push, item: &PushItem) -> Option<KeyId> {
        let topic = self.topics.get(push.topic.as_str())?.id;
        Some((topic, Arc::from(item.dedupe_key.as_deref()?)))
    }

    fn settings_for(&self, turn: &Turn, push: &Push) -> TopicSettings {
        let new = || {
            let default = turn.rules.new_topic;
            match push.unlimited_deliveries {
                true => TopicSettings { deliveries_max: 0, ..default },
                false => default,
            }
        };
        self.topics.get(push.topic.as_str()).map_or_else(new, |topic| topic.settings)
    }

    /// Counts what is there, whatever it is doing: a message in flight comes back without being asked
    /// again.
    fn check_room(
        &self,
        turn: &Turn,
        push: &Push,
        item: &PushItem,
        message: &Message,
    ) -> Result<(), QueueRefusal> {
        let (rules, bytes) = (&turn.rules, message.bytes());
        if bytes > rules.message_bytes_max {
            let (field, bytes_max) = ("message".to_owned(), rules.message_bytes_max);
            return Err(QueueRefusal::TooLong { field, bytes_max });
        }
        if let Some(topic) = self.topics.get(push.topic.as_str()) {
            self.check_topic_room(topic)?;
        }
        room("queue_messages_max", rules.messages_max, self.usage.messages, 1)?;
        room("queue_bytes_max", rules.bytes_max, self.usage.bytes, bytes)?;
        if item.dedupe_key.is_some() {
            room("dedupe_keys_max", rules.dedupe_keys_max, self.keys.size() as u64, 1)?;
        }
        Ok(())
    }

    /// Room for one more in the main part.
    pub(super) fn check_topic_room(&self, topic: &Topic) -> Result<(), QueueRefusal> {
        topic_room(topic, self.mistake.is(Bug::LimitIgnoresInFlight))
    }

    fn put(
        &mut self,
        turn: &mut Turn,
        push: &Push,
        item: &PushItem,
        id: MessageId,
        message: Message,
    ) {
        let key = self.key_id(push, item);
        let Some(mut open) = self.open(&push.topic) else { return };
        open.topic.totals.pushed += 1;
        let stand = match item.delay_ms {
            0 => Stand::Ready(Comes::New),
            delay_ms => Stand::Delayed { until: turn.now.plus(delay_ms), retry: false },
        };
        open.enter(turn, SubQueue::Main, id, message, stand);
        let forget_at = turn.now.plus(open.topic.settings.dedupe_window_ms);
        if let Some(key) = key {
            self.remember_key(key, Key { message: id, digest: item.digest(), forget_at });
        }
    }
}

fn message(turn: &Turn, item: &PushItem, settings: &TopicSettings) -> Message {
    let ttl_ms = item.ttl_ms.unwrap_or(settings.ttl_ms);
    let content = Content {
        body: item.body.clone(),
        kind: item.kind,
        headers: item.headers.clone(),
        priority: item.priority,
        group: item.group.clone(),
        ttl_ms,
        pushed_at: turn.now,
    };
    Message::new(content, (ttl_ms > 0).then(|| turn.now.plus(ttl_ms)))
}

/// Never overshoots: it is looked at where the message is put in, one at a time.
pub(super) fn topic_room(topic: &Topic, ignores_in_flight: bool) -> Result<(), QueueRefusal> {
    let (max, counts) = (topic.settings.messages_max, topic.main.counts);
    let size = if ignores_in_flight { counts.sum() - counts.in_flight } else { counts.sum() };
    if max == 0 { Ok(()) } else { room("messages_max", max, size, 1) }
}

pub(super) fn room(setting: &str, max: u64, size: u64, more: u64) -> Result<(), QueueRefusal> {
    if size.saturating_add(more) <= max {
        return Ok(());
    }
    Err(QueueRefusal::Full { setting: setting.to_owned(), limit: max })
}
