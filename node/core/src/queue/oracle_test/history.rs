//! Random histories: what is asked is chosen by dice that know what there is to ask about.

use bytes::Bytes;

use super::super::*;
use super::Seen;
use super::oracle::{Message, Oracle, State};
use super::stage::{self, Stage, Step};
use crate::dice::Dice;
use crate::types::{BootId, Index};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const GROUPS: [&str; 2] = ["g", "h"];
const CONSUMERS: [&str; 2] = ["ann", "bob"];

/// Plays the history of `seed`.
///
/// # Errors
/// The first difference, with the shortest history that shows it.
pub(super) fn play(seed: u64, bug: Option<Bug>, seen: &mut Seen) -> Result<(), String> {
    let mut history = History::new(seed);
    let mut stage = Stage::new(history.mix.rules, bug);
    let mut steps = Vec::new();
    for _ in 0..history.mix.steps {
        let step = history.step(&stage.oracle);
        steps.push(step.clone());
        match stage::guarded(|| stage.play(&step, seen)) {
            Ok(outcome) => history.hear(outcome.as_ref()),
            Err(difference) => {
                let shortest = stage::minimal(history.mix.rules, bug, steps, &difference);
                return Err(format!("history {seed}: {shortest}"));
            }
        }
    }
    Ok(())
}

/// What kind of history it is. Shares are of 100.
struct Mix {
    rules: Rules,
    steps: u64,
    topics: usize,
    grouped: u64,
    ranked: u64,
    keyed: u64,
    delayed: u64,
    mortal: u64,
}

impl Mix {
    fn new(dice: &mut Dice) -> Self {
        let growth = dice.pick(&[Growth::Fixed, Growth::Linear, Growth::Exponential]);
        let backoff = |base_ms| Backoff { growth, base_ms, max_ms: 60, jitter_percent: 30 };
        let new_topic = TopicSettings {
            visibility_ms: 20,
            deliveries_max: dice.pick(&[0, 1, 2, 3]),
            nack_backoff: backoff(dice.pick(&[0, 0, 10])),
            timeout_backoff: backoff(dice.pick(&[0, 0, 10])),
            paused: false,
            messages_max: dice.pick(&[0, 0, 0, 3]),
            ttl_ms: dice.pick(&[0, 0, 0, 50]),
            expired: dice.pick(&[Expired::Drop, Expired::Dead]),
            dedupe_window_ms: dice.pick(&[30, 100]),
        };
        let rules = Rules {
            messages_max: dice.pick(&[100, 100, 5]),
            bytes_max: dice.pick(&[10_000, 10_000, 60]),
            dedupe_keys_max: dice.pick(&[100, 2]),
            ends_per_entry_max: dice.pick(&[256, 256, 2, 1]),
            step_max: dice.pick(&[1_000, 3, 1]),
            topics_max: dice.pick(&[100, 2]),
            new_topic,
            ..Rules::default()
        };
        Self {
            rules,
            steps: 20 + dice.below(40),
            topics: 1 + dice.index(2) * dice.index(3),
            grouped: dice.pick(&[0, 0, 40, 90]),
            ranked: dice.pick(&[0, 0, 40]),
            keyed: dice.pick(&[0, 0, 40]),
            delayed: dice.pick(&[0, 20, 60]),
            mortal: dice.pick(&[0, 0, 40]),
        }
    }
}

struct History {
    dice: Dice,
    mix: Mix,
    index: u64,
    now: u64,
    receipts: Vec<Receipt>,
    messages: Vec<MessageId>,
    /// The bounds that the last steps of a purge and of a redrive named.
    purge_next: Option<MessageId>,
    redrive_next: Option<i64>,
}

impl History {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let mix = Mix::new(&mut dice);
        Self {
            dice,
            mix,
            index: 0,
            now: 0,
            receipts: Vec::new(),
            messages: Vec::new(),
            purge_next: None,
            redrive_next: None,
        }
    }

    fn hear(&mut self, outcome: Option<&QueueOutcome>) {
        match outcome {
            Some(QueueOutcome::Pushed(items)) => {
                for item in items {
                    if let PushOutcome::Pushed(id) = item {
                        self.messages.push(*id);
                    }
                }
            }
            Some(QueueOutcome::Received(received)) => {
                self.receipts.extend(received.iter().flat_map(|it| &it.receipts));
            }
            Some(QueueOutcome::Purged { next, .. }) => self.purge_next = *next,
            Some(QueueOutcome::Redriven { next, .. }) => self.redrive_next = *next,
            _ => {}
        }
    }

    fn step(&mut self, oracle: &Oracle) -> Step {
        self.index += 1;
        self.pass_time(oracle);
        Step { index: self.index, now: self.now, operation: self.operation(oracle) }
    }

    /// Often not at all, often to the very stamp at which something ends, or one short of it.
    fn pass_time(&mut self, oracle: &Oracle) {
        let messages = oracle.topics.values().flat_map(|topic| &topic.messages);
        let due = messages.flat_map(Message::ends).map(|(at, ..)| at).min();
        let due = due.unwrap_or(self.now);
        match self.dice.below(10) {
            0..=1 => self.now = due.max(self.now),
            2 => self.now = due.max(self.now + 1) - 1,
            3..=4 => self.now += self.dice.below(15),
            _ => {}
        }
    }

    fn operation(&mut self, oracle: &Oracle) -> Option<QueueOperation> {
        let (principal, topic) = ("root".to_owned(), self.topic());
        Some(match self.dice.below(100) {
            0..27 => QueueOperation::Push(self.push(principal, topic)),
            27..55 => QueueOperation::Receive(self.receive(topic)),
            55..77 => QueueOperation::Settle(self.settle(oracle, topic)),
            77..81 => {
                let receipts = (0..=self.dice.below(3)).map(|_| self.receipt(oracle, &topic));
                QueueOperation::GiveBack(GiveBack {
                    topic: topic.clone(),
                    receipts: receipts.collect(),
                })
            }
            81..83 => QueueOperation::Remove(Remove { principal, topic, message: self.message() }),
            83..87 => {
                let change = self.change();
                QueueOperation::Configure(Configure { principal, topic, change })
            }
            87 => QueueOperation::DeleteTopic(DeleteTopic { principal, topic }),
            88..91 => {
                let (sub_queue, next) = (self.sub_queue(), self.purge_next);
                let before = next.filter(|_| self.dice.share(80));
                QueueOperation::Purge(Purge { principal, topic, sub_queue, before })
            }
            91..96 => {
                let next = self.redrive_next;
                let which = match self.dice.share(50) {
                    true => Redriven::All { before: next.filter(|_| self.dice.share(80)) },
                    false => {
                        let ids = (0..=self.dice.below(3)).map(|_| self.message());
                        Redriven::These(ids.collect())
                    }
                };
                QueueOperation::Redrive(Redrive { principal, topic, which })
            }
            _ => return None,
        })
    }

    fn push(&mut self, principal: String, topic: String) -> Push {
        let items = (0..=self.dice.below(3)).map(|_| self.item()).collect();
        Push { principal, topic, unlimited_deliveries: self.dice.share(10), items }
    }

    fn item(&mut self) -> PushItem {
        let text = |dice: &mut Dice, share, of: &[&str]| {
            let some = dice.share(share);
            some.then(|| dice.pick(of).to_owned())
        };
        let ranked = self.dice.share(self.mix.ranked);
        let delayed = self.dice.share(self.mix.delayed);
        let mortal = self.dice.share(self.mix.mortal);
        let ttl_ms = self.dice.pick(&[0, 10, 40]);
        let headers = self.dice.share(10);
        PushItem {
            body: Bytes::from_static(self.dice.pick(&["x", "y", "a longer one"]).as_bytes()),
            kind: self.dice.pick(&[BodyKind::Json, BodyKind::Bytes]),
            headers: headers.then(|| ("h".to_owned(), "v".to_owned())).into_iter().collect(),
            delay_ms: if delayed { self.dice.below(30) } else { 0 },
            ttl_ms: mortal.then_some(ttl_ms),
            priority: if ranked { self.dice.pick(&[0, 1, 5, 9, 9, 10]) } else { 0 },
            group: text(&mut self.dice, self.mix.grouped, &GROUPS),
            dedupe_key: text(&mut self.dice, self.mix.keyed, &["k", "l", "m"]),
        }
    }

    fn receive(&mut self, topic: String) -> Receive {
        let (sub_queue, index) = (self.sub_queue(), self.index);
        let receivers = (0..=self.dice.below(2)).map(|at| {
            let boot = BootId(1 + self.dice.below(2));
            let consumer = self.dice.share(30).then(|| self.consumer());
            Receiver {
                id: ReceiverId { boot, number: index * 10 + at },
                consumer,
                max: 1 + self.dice.small(4),
                max_bytes: self.dice.pick(&[0, 20, 40, 1_000]),
                visibility_ms: self.dice.pick(&[None, None, Some(1), Some(40)]),
            }
        });
        Receive { topic, sub_queue, receivers: receivers.collect() }
    }

    fn settle(&mut self, oracle: &Oracle, topic: String) -> Settle {
        let items = (0..=self.dice.below(3)).map(|_| {
            let reason = self.dice.pick(&["", "bad", "a longer reason"]).to_owned();
            let verdict = match self.dice.below(10) {
                0..4 => Verdict::Ack,
                4..7 => {
                    let delay_ms = self.dice.pick(&[None, None, Some(0), Some(15)]);
                    Verdict::Nack { delay_ms, reason }
                }
                7..9 => {
                    let visibility_ms = self.dice.pick(&[None, Some(5), Some(60)]);
                    Verdict::Extend { visibility_ms }
                }
                _ => Verdict::Reject { reason },
            };
            SettleItem { delivery: self.delivery(oracle, &topic), verdict }
        });
        let items = items.collect();
        Settle { topic, items }
    }

    fn delivery(&mut self, oracle: &Oracle, topic: &str) -> DeliveryRef {
        let receipt = self.receipt(oracle, topic);
        if self.dice.share(75) {
            return DeliveryRef::Receipt(receipt);
        }
        let messages = oracle.topics.get(topic).into_iter().flat_map(|topic| &topic.messages);
        let consumer =
            messages.filter(|it| it.id == receipt.message).find_map(|it| match &it.state {
                State::InFlight { consumer, .. } => consumer.clone(),
                _ => None,
            });
        let consumer = consumer.filter(|_| self.dice.share(80));
        let consumer = consumer.unwrap_or_else(|| self.consumer());
        DeliveryRef::Latest { message: receipt.message, consumer }
    }

    /// Mostly a live one of the topic, sometimes one that was, seldom one that never was.
    fn receipt(&mut self, oracle: &Oracle, topic: &str) -> Receipt {
        let messages = oracle.topics.get(topic).into_iter().flat_map(|topic| &topic.messages);
        let live: Vec<Receipt> = messages
            .filter_map(|it| match it.state {
                State::InFlight { receipt, .. } => Some(receipt),
                _ => None,
            })
            .collect();
        if !live.is_empty() && self.dice.share(75) {
            let receipt = self.dice.pick(&live);
            let boot = BootId(receipt.boot.0 + u64::from(self.dice.share(3)));
            return Receipt { boot, ..receipt };
        }
        if self.receipts.is_empty() {
            let (message, index) = (self.message(), Index(self.index));
            return Receipt { message, index, position: 0, boot: BootId(1) };
        }
        self.dice.pick(&self.receipts)
    }

    fn change(&mut self) -> TopicChange {
        let mut change = TopicChange::default();
        match self.dice.below(7) {
            0..=2 => change.paused = Some(self.dice.share(40)),
            3 => change.deliveries_max = Some(self.dice.small(3)),
            4 => change.messages_max = Some(self.dice.below(4)),
            5 => change.expired = Some(self.dice.pick(&[Expired::Drop, Expired::Dead])),
            _ => {
                change.visibility_ms = Some(1 + self.dice.below(40));
                change.ttl_ms = Some(self.dice.pick(&[0, 30]));
            }
        }
        change
    }

    fn message(&mut self) -> MessageId {
        match self.messages.is_empty() {
            true => MessageId { index: Index(9_999), position: 0 },
            false => self.dice.pick(&self.messages),
        }
    }

    fn consumer(&mut self) -> Consumer {
        let name = self.dice.pick(&CONSUMERS).to_owned();
        Consumer { principal: "anonymous".to_owned(), name }
    }

    fn sub_queue(&mut self) -> SubQueue {
        if self.dice.share(80) { SubQueue::Main } else { SubQueue::Dead }
    }

    fn topic(&mut self) -> String {
        TOPICS[self.dice.index(self.mix.topics)].to_owned()
    }
}
