//! The rules of the queues, as plainly as they can be written.
//!
//! Plain lists, looked through from end to end at every question; nothing is indexed. What can be
//! delivered stands in a list per priority, in its order; a group stands in it as one thing. Written from
//! the specification alone.

mod topic;

use std::collections::BTreeMap;

use topic::Comes;
pub(super) use topic::{Message, State, Topic};

use crate::queue::*;
use crate::types::Index;

#[derive(Clone, Debug)]
pub(super) struct Oracle {
    pub rules: Rules,
    pub now: u64,
    index: u64,
    made: [u32; 3],
    pub topics: BTreeMap<String, Topic>,
    pub keys: Vec<Key>,
    /// How many topics were made.
    serial: u64,
    /// How many that have expired may still be cleared by this entry's receive.
    looks: u32,
    /// What this entry delivered.
    pub delivered: Vec<(ReceiverId, Receipt)>,
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    topic: u64,
    name: String,
    item: PushItem,
    message: MessageId,
    pub forget_at: u64,
}

type Answer = Result<QueueOutcome, QueueRefusal>;

impl Oracle {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: 0,
            index: 0,
            made: [0; 3],
            topics: BTreeMap::new(),
            keys: Vec::new(),
            serial: 0,
            looks: 0,
            delivered: Vec::new(),
        }
    }

    /// A new entry: time moves, and what has ended by then is over, the earliest first.
    pub(super) fn advance(&mut self, index: u64, now: u64) {
        (self.index, self.now, self.made) = (index, now, [0; 3]);
        self.looks = self.rules.ends_per_entry_max;
        self.delivered.clear();
        for _ in 0..self.rules.ends_per_entry_max {
            let ends = self.topics.iter().flat_map(|(name, topic)| {
                topic.messages.iter().flat_map(Message::ends).map(|end| (end, name.clone()))
            });
            let Some(((at, id, what), name)) = ends.min() else { break };
            if at > now {
                break;
            }
            self.end(&name, id, what);
        }
        for _ in 0..self.rules.ends_per_entry_max {
            let order = |key: &&Key| (key.forget_at, key.topic, key.name.clone());
            let first = self.keys.iter().filter(|key| key.forget_at <= now).min_by_key(order);
            let Some(first) = first.map(|key| (key.topic, key.name.clone())) else { break };
            self.keys.retain(|key| (key.topic, key.name.clone()) != first);
        }
    }

    /// 0: a delivery, 1: a delay, 2: a time to live.
    fn end(&mut self, name: &str, id: MessageId, what: u8) {
        let now = self.now;
        let room = self.text_room(name, id);
        let Some(topic) = self.topics.get_mut(name) else { return };
        match what {
            0 => {
                topic.totals.timed_out += 1;
                topic.fail(id, Cause::TimedOut, "", None, (now, room));
            }
            1 => {
                let retry = matches!(topic.at(id).state, State::Delayed { retry: true, .. });
                topic.come(id, if retry { Comes::Again } else { Comes::New });
            }
            _ => drop(topic.expire(id, now)),
        }
    }

    pub(super) fn apply(&mut self, operation: &QueueOperation) -> QueueOutcome {
        let answer = match operation {
            QueueOperation::Push(push) => self.push(push),
            QueueOperation::Receive(receive) => self.receive(receive),
            QueueOperation::Settle(settle) => self.settle(settle),
            QueueOperation::GiveBack(give_back) => self.give_back(give_back),
            QueueOperation::Remove(remove) => self.remove(remove),
            QueueOperation::Configure(configure) => self.configure(configure),
            QueueOperation::DeleteTopic(delete) => self.delete(delete),
            QueueOperation::Purge(purge) => self.purge(purge),
            QueueOperation::Redrive(redrive) => self.redrive(redrive),
        };
        answer.unwrap_or_else(QueueOutcome::Refused)
    }

    fn push(&mut self, push: &Push) -> Answer {
        let one = |item| self.push_one(push, item).unwrap_or_else(PushOutcome::Refused);
        Ok(QueueOutcome::Pushed(push.items.iter().map(one).collect()))
    }

    fn push_one(&mut self, push: &Push, item: &PushItem) -> Result<PushOutcome, QueueRefusal> {
        if item.priority > 9 {
            let (field, min, max) = ("priority".to_owned(), 0, 9);
            return Err(QueueRefusal::OutOfRange { field, min, max });
        }
        let serial = self.topics.get(&push.topic).map(|topic| topic.serial);
        let key = self.keys.iter().find(|key| {
            Some(key.topic) == serial
                && Some(&key.name) == item.dedupe_key.as_ref()
                && key.forget_at > self.now
        });
        if let Some(key) = key {
            let said =
                |it: &PushItem| (it.body.clone(), it.kind, it.headers.clone(), it.group.clone());
            if said(&key.item) != said(item) {
                return Err(QueueRefusal::OtherContent);
            }
            let id = key.message;
            self.topic(&push.topic)?.totals.duplicates += 1;
            return Ok(PushOutcome::Duplicate(id));
        }
        let mut settings = self.rules.new_topic;
        if push.unlimited_deliveries {
            settings.deliveries_max = 0;
        }
        settings = self.topics.get(&push.topic).map_or(settings, |topic| topic.settings);
        let message = self.message(item, settings);
        self.check_room(push, item, message.bytes())?;
        if serial.is_none() {
            self.make_topic(&push.topic, settings)?;
        }
        let id = MessageId { index: Index(self.index), position: self.next(1) };
        let (now, delay) = (self.now, item.delay_ms);
        let topic = self.topic(&push.topic)?;
        topic.totals.pushed += 1;
        topic.messages.push(Message { id, ..message });
        if delay > 0 {
            topic.at(id).state = State::Delayed { until: now + delay, retry: false };
        } else {
            topic.come(id, Comes::New);
        }
        let (serial, forget_at) = (topic.serial, now + topic.settings.dedupe_window_ms);
        if let Some(name) = item.dedupe_key.clone() {
            self.keys.retain(|key| (key.topic, &key.name) != (serial, &name));
            let item = item.clone();
            self.keys.push(Key { topic: serial, name, item, message: id, forget_at });
        }
        Ok(PushOutcome::Pushed(id))
    }

    fn message(&self, item: &PushItem, settings: TopicSettings) -> Message {
        let ttl = item.ttl_ms.unwrap_or(settings.ttl_ms);
        Message {
            id: MessageId { index: Index(0), position: 0 },
            item: item.clone(),
            ttl,
            pushed_at: self.now,
            expires_at: (ttl > 0).then(|| self.now + ttl),
            deliveries: 0,
            state: State::Ready,
            failures: Vec::new(),
            death: None,
        }
    }

    fn check_room(&self, push: &Push, item: &PushItem, bytes: u64) -> Result<(), QueueRefusal> {
        let full =
            |setting: &str, limit| Err(QueueRefusal::Full { setting: setting.to_owned(), limit });
        if let Some(topic) = self.topics.get(&push.topic) {
            topic.check_room()?;
        }
        let (messages, all_bytes) = self.usage();
        if messages + 1 > self.rules.messages_max {
            return full("queue_messages_max", self.rules.messages_max);
        }
        if all_bytes + bytes > self.rules.bytes_max {
            return full("queue_bytes_max", self.rules.bytes_max);
        }
        if item.dedupe_key.is_some() && self.keys.len() as u64 + 1 > self.rules.dedupe_keys_max {
            return full("dedupe_keys_max", self.rules.dedupe_keys_max);
        }
        Ok(())
    }

    pub(super) fn usage(&self) -> (u64, u64) {
        let messages = || self.topics.values().flat_map(|topic| &topic.messages);
        (messages().count() as u64, messages().map(Message::bytes).sum())
    }

    fn make_topic(&mut self, name: &str, settings: TopicSettings) -> Result<(), QueueRefusal> {
        if self.topics.len() as u64 + 1 > self.rules.topics_max.into() {
            let (setting, limit) = ("topics_max".to_owned(), self.rules.topics_max.into());
            return Err(QueueRefusal::Full { setting, limit });
        }
        self.serial += 1;
        let topic = Topic {
            serial: self.serial,
            id: TopicId { index: Index(self.index), position: self.next(0) },
            settings,
            lines: vec![Vec::new(); 10],
            groups: BTreeMap::new(),
            dead: Vec::new(),
            dead_numbers: (0, 0),
            messages: Vec::new(),
            totals: Totals::default(),
        };
        self.topics.insert(name.to_owned(), topic);
        Ok(())
    }

    fn receive(&mut self, asked: &Receive) -> Answer {
        let (name, dead) = (&asked.topic, asked.sub_queue == SubQueue::Dead);
        let paused = self.topic(name)?.settings.paused && !dead;
        let mut left = if paused { 0 } else { self.rules.step_max };
        let mut received = Vec::new();
        for to in &asked.receivers {
            let (mut bytes, mut receipts) = (0, Vec::new());
            while left > 0 && (receipts.len() as u64) < to.max.into() {
                let Some(id) = self.first_wanted(name, dead) else { break };
                let size = self.topic(name)?.at(id).bytes();
                if !receipts.is_empty() && bytes + size > to.max_bytes {
                    break;
                }
                bytes += size;
                left -= 1;
                receipts.push(self.deliver(name, id, to));
            }
            if !receipts.is_empty() {
                received.push(Received { receiver: to.id, receipts, refusal: None });
            }
        }
        Ok(QueueOutcome::Received(received))
    }

    fn first_wanted(&mut self, name: &str, dead: bool) -> Option<MessageId> {
        let now = self.now;
        loop {
            let topic = self.topics.get_mut(name)?;
            let id = topic.order(dead).first().copied()?;
            if dead || topic.at(id).expires_at.is_none_or(|at| at > now) {
                return Some(id);
            }
            self.looks = self.looks.checked_sub(1)?;
            topic.expire(id, now);
        }
    }

    fn deliver(&mut self, name: &str, id: MessageId, to: &Receiver) -> Receipt {
        let (since, index, boot) = (self.now, Index(self.index), to.id.boot);
        let receipt = Receipt { message: id, index, position: self.next(2), boot };
        self.delivered.push((to.id, receipt));
        if let Some(topic) = self.topics.get_mut(name) {
            topic.totals.delivered += 1;
            topic.take_from_lines(id);
            let end = since + to.visibility_ms.unwrap_or(topic.settings.visibility_ms);
            let consumer = to.consumer.clone();
            let message = topic.at(id);
            message.deliveries += 1;
            message.state = State::InFlight { to: to.id, receipt, consumer, since, end };
            topic.tidy(id, false);
        }
        receipt
    }

    fn settle(&mut self, asked: &Settle) -> Answer {
        self.topic(&asked.topic)?;
        let mut said = Vec::new();
        for item in &asked.items {
            said.push(self.settle_one(&asked.topic, item)?);
        }
        Ok(QueueOutcome::Settled(said))
    }

    fn settle_one(&mut self, name: &str, item: &SettleItem) -> Result<SettleOutcome, QueueRefusal> {
        let now = self.now;
        let (id, live) = match &item.delivery {
            DeliveryRef::Receipt(receipt) => {
                (receipt.message, self.is_live(name, receipt.message, |it, _| it == receipt))
            }
            DeliveryRef::Latest { message, consumer } => {
                (*message, self.is_live(name, *message, |_, who| who == Some(consumer)))
            }
        };
        if !live {
            return Ok(SettleOutcome::Stale);
        }
        let room = self.text_room(name, id);
        let topic = self.topic(name)?;
        Ok(match &item.verdict {
            Verdict::Ack => {
                topic.gone(id);
                topic.totals.acked += 1;
                SettleOutcome::Acked
            }
            Verdict::Extend { visibility_ms } => {
                let asked = now + visibility_ms.unwrap_or(topic.settings.visibility_ms);
                let State::InFlight { end, .. } = &mut topic.at(id).state else {
                    return Ok(SettleOutcome::Stale);
                };
                *end = asked.max(*end);
                SettleOutcome::Extended { remaining_ms: *end - now }
            }
            Verdict::Nack { delay_ms, reason } => {
                topic.totals.nacked += 1;
                topic.fail(id, Cause::Nacked, reason, *delay_ms, (now, room))
            }
            Verdict::Reject { reason } => {
                topic.fail(id, Cause::Rejected, reason, None, (now, room))
            }
        })
    }

    fn is_live(
        &self,
        name: &str,
        id: MessageId,
        meant: impl Fn(&Receipt, Option<&Consumer>) -> bool,
    ) -> bool {
        let messages = self.topics.get(name).into_iter().flat_map(|topic| &topic.messages);
        messages.filter(|it| it.id == id).any(|it| match &it.state {
            State::InFlight { receipt, consumer, end, .. } => {
                *end > self.now && meant(receipt, consumer.as_ref())
            }
            _ => false,
        })
    }

    fn give_back(&mut self, asked: &GiveBack) -> Answer {
        self.topic(&asked.topic)?;
        let mut count = 0;
        for receipt in asked.receipts.iter().rev() {
            if self.is_live(&asked.topic, receipt.message, |it, _| it == receipt) {
                count += 1;
                let topic = self.topic(&asked.topic)?;
                topic.totals.given_back += 1;
                topic.at(receipt.message).deliveries -= 1;
                topic.come(receipt.message, Comes::Back);
            }
        }
        Ok(QueueOutcome::GivenBack(count))
    }

    fn remove(&mut self, asked: &Remove) -> Answer {
        let topic = self.topic(&asked.topic)?;
        if topic.messages.iter().all(|it| it.id != asked.message) {
            return Err(QueueRefusal::NoMessage);
        }
        topic.gone(asked.message);
        topic.totals.purged += 1;
        Ok(QueueOutcome::Removed)
    }

    fn configure(&mut self, asked: &Configure) -> Answer {
        let created = !self.topics.contains_key(&asked.topic);
        if created {
            self.make_topic(&asked.topic, self.rules.new_topic)?;
        }
        let (topic, change) = (self.topic(&asked.topic)?, &asked.change);
        let settings = &mut topic.settings;
        settings.visibility_ms = change.visibility_ms.unwrap_or(settings.visibility_ms);
        settings.deliveries_max = change.deliveries_max.unwrap_or(settings.deliveries_max);
        settings.paused = change.paused.unwrap_or(settings.paused);
        settings.messages_max = change.messages_max.unwrap_or(settings.messages_max);
        settings.ttl_ms = change.ttl_ms.unwrap_or(settings.ttl_ms);
        settings.expired = change.expired.unwrap_or(settings.expired);
        settings.nack_backoff = change.nack_backoff.unwrap_or(settings.nack_backoff);
        Ok(QueueOutcome::Configured { created, settings: *settings })
    }

    fn delete(&mut self, asked: &DeleteTopic) -> Answer {
        let messages = self.topic(&asked.topic)?.messages.len() as u64;
        if messages > 0 {
            return Err(QueueRefusal::NotEmpty { messages });
        }
        self.topics.remove(&asked.topic);
        Ok(QueueOutcome::Deleted)
    }

    fn purge(&mut self, asked: &Purge) -> Answer {
        let newest = MessageId { index: Index(self.index), position: 0 };
        let before = asked.before.unwrap_or(newest).min(newest);
        let (step, dead) = (self.rules.step_max, asked.sub_queue == SubQueue::Dead);
        let topic = self.topic(&asked.topic)?;
        let meant = topic.messages.iter().filter(|it| it.death.is_some() == dead);
        let mut ids: Vec<MessageId> = meant.map(|it| it.id).filter(|id| *id < before).collect();
        ids.sort_unstable();
        let left = ids.len() > step as usize;
        ids.truncate(step as usize);
        for id in &ids {
            topic.gone(*id);
            topic.totals.purged += 1;
        }
        let messages = ids.len() as u64;
        Ok(QueueOutcome::Purged { messages, next: left.then_some(before) })
    }

    fn redrive(&mut self, asked: &Redrive) -> Answer {
        let (now, step) = (self.now, u64::from(self.rules.step_max));
        let topic = self.topic(&asked.topic)?;
        match &asked.which {
            Redriven::These(ids) => {
                let one = |id: &MessageId| {
                    let dead = topic.messages.iter().find(|it| it.id == *id).is_some_and(|it| {
                        it.death.is_some() && !matches!(it.state, State::InFlight { .. })
                    });
                    match (dead, topic.check_room()) {
                        (false, _) => RedriveOutcome::NotDead,
                        (true, Err(refusal)) => RedriveOutcome::Refused(refusal),
                        (true, Ok(())) => {
                            topic.move_back(*id, now);
                            RedriveOutcome::Moved
                        }
                    }
                };
                Ok(QueueOutcome::RedrivenThese(ids.iter().map(one).collect()))
            }
            Redriven::All { before } => {
                let before = before.unwrap_or(topic.dead_numbers.1);
                let (mut messages, mut full) = (0, None);
                while let Some((number, id)) = topic.dead.first().copied() {
                    if number >= before || messages == step {
                        break;
                    }
                    if let Err(refusal) = topic.check_room() {
                        full = Some(refusal);
                        break;
                    }
                    topic.move_back(id, now);
                    messages += 1;
                }
                let left = topic.dead.first().is_some_and(|(number, _)| *number < before);
                Ok(QueueOutcome::Redriven { messages, next: left.then_some(before), full })
            }
        }
    }

    fn topic(&mut self, name: &str) -> Result<&mut Topic, QueueRefusal> {
        self.topics.get_mut(name).ok_or(QueueRefusal::NoTopic)
    }

    /// Bytes that the texts of this message may take.
    fn text_room(&self, name: &str, id: MessageId) -> u64 {
        let messages = self.topics.get(name).into_iter().flat_map(|topic| &topic.messages);
        let texts: u64 = messages.filter(|it| it.id == id).map(Message::text_bytes).sum();
        self.rules.bytes_max.saturating_sub(self.usage().1 - texts)
    }

    fn next(&mut self, kind: usize) -> u32 {
        self.made[kind] += 1;
        self.made[kind] - 1
    }
}
