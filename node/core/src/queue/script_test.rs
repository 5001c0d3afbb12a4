//! Golden scripts: text in, text out.
//!
//! A script is prose (`#`), inputs (`> `) and, under each input, what the queues said. Times are stamps in
//! milliseconds. `UPDATE_GOLDEN=1 cargo test -p dsync-core scripts` writes what they say now; review it as
//! a diff.
//!
//! ```text
//! > 0 push a b:delay=50,ttl=90,prio=3,group=g,key=k    two messages; the names are their bodies
//! > 0 receive n1.7=2                     request 7 of process n1 wants up to 2; then also: n2.1=1,
//!                                        bytes 50, for 90 (visibility), as ann, from dead
//! > 5 ack 2.0 2.1                        the deliveries made by entry 2; also: nack, extend, reject,
//!                                        then: delay 50, for 90, because no such file
//! > 5 ack 1.0 as ann                     the latest delivery of message 1.0, if it was ann's
//! > 5 give-back 2.0
//! > 5 remove 1.0
//! > 5 configure visibility=50 deliveries=2 nack=fixed:10:10 paused=yes ...
//! > 5 delete
//! > 5 purge [from dead] [before 4.0]
//! > 5 redrive [before 2]                 all; or by id: redrive 1.0 1.1
//! > 9 mark                               an entry with nothing but its stamp
//! > show                                 all messages, and when something ends next
//! > peek                                 what would be delivered next
//! > totals
//! > events                               what has happened since the last time
//! > rules ends=1 step=2 messages=3
//! ```
//!
//! The topic is `jobs`; `on other` says another. Its defaults here: visibility 100, two deliveries, no
//! pauses, keys for 1,000.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use super::*;
use crate::golden;
use crate::types::{BootId, ClusterTime, Index};

#[test]
fn scripts_say_what_they_said() {
    golden::check_scripts("src/queue/scripts", 40, || {
        let mut stage = Stage::new();
        move |input: &str| stage.play(input)
    });
}

struct Stage {
    table: QueueTable,
    rules: Rules,
    index: u64,
    now: ClusterTime,
    events: Vec<QueueEvent>,
    /// Every delivery that was made, by its entry and position.
    receipts: BTreeMap<(u64, u32), Receipt>,
}

impl Stage {
    fn new() -> Self {
        let new_topic = TopicSettings {
            visibility_ms: 100,
            deliveries_max: 2,
            nack_backoff: Backoff::none(),
            timeout_backoff: Backoff::none(),
            dedupe_window_ms: 1_000,
            ..TopicSettings::default()
        };
        let rules = Rules {
            name_bytes_max: 20,
            message_bytes_max: 100,
            batch_max: 10,
            delay_ms_max: 10_000,
            visibility_ms_max: 1_000,
            reason_bytes_max: 20,
            dedupe_window_ms_max: 2_000,
            new_topic,
            ..Rules::default()
        };
        let (table, events, receipts) = (QueueTable::default(), Vec::new(), BTreeMap::new());
        Self { table, rules, index: 0, now: ClusterTime(0), events, receipts }
    }

    fn play(&mut self, input: &str) -> String {
        let words: Vec<&str> = input.split_whitespace().collect();
        match words.as_slice() {
            ["show"] => self.show(),
            ["peek", rest @ ..] => self.peek(&Details::of(rest)),
            ["totals"] => self.totals(),
            ["events"] => self.events.drain(..).map(|event| event_text(&event)).collect(),
            ["rules", rules @ ..] => self.change_rules(rules),
            [time, rest @ ..] => self.entry(time, rest),
            [] => panic!("an empty input"),
        }
    }

    /// One entry: time moves, then it acts.
    fn entry(&mut self, time: &str, words: &[&str]) -> String {
        self.now = self.now.max(ClusterTime(time.parse().unwrap()));
        self.index += 1;
        let mut turn = Turn::new(Index(self.index), self.now, self.rules);
        self.table.advance(&mut turn);
        self.table.check_invariants().unwrap();
        let said = match words {
            ["mark"] => String::new(),
            [verb, rest @ ..] => {
                let operation = self.operation(verb, &Details::of(rest));
                let outcome = self.table.apply(&mut turn, &operation);
                self.outcome_text(&outcome, &turn.take_deliveries())
            }
            [] => panic!("an entry without words"),
        };
        self.table.check_invariants().unwrap();
        self.events.extend(turn.take_events());
        said
    }

    fn operation(&self, verb: &str, details: &Details) -> QueueOperation {
        let (principal, topic) = ("root".to_owned(), details.topic.clone());
        let words = || details.words.iter();
        match verb {
            "push" => QueueOperation::Push(Push {
                principal,
                topic,
                unlimited_deliveries: details.original,
                items: words().map(|word| push_item(word)).collect(),
            }),
            "receive" => QueueOperation::Receive(Receive {
                topic,
                sub_queue: details.sub_queue,
                receivers: words().map(|word| receiver(word, details)).collect(),
            }),
            "ack" | "nack" | "extend" | "reject" => QueueOperation::Settle(Settle {
                topic,
                items: words().map(|word| self.settle_item(verb, word, details)).collect(),
            }),
            "give-back" => QueueOperation::GiveBack(GiveBack {
                topic,
                receipts: words().map(|word| self.receipt(word)).collect(),
            }),
            "remove" => {
                let message = id(&details.words[0]);
                QueueOperation::Remove(Remove { principal, topic, message })
            }
            "configure" => {
                let change = change(&details.words);
                QueueOperation::Configure(Configure { principal, topic, change })
            }
            "delete" => QueueOperation::DeleteTopic(DeleteTopic { principal, topic }),
            "purge" => {
                let (sub_queue, before) = (details.sub_queue, details.before.as_deref().map(id));
                QueueOperation::Purge(Purge { principal, topic, sub_queue, before })
            }
            "redrive" => {
                let before = details.before.as_ref().map(|place| place.parse().unwrap());
                let which = match details.words.is_empty() {
                    true => Redriven::All { before },
                    false => Redriven::These(words().map(|word| id(word)).collect()),
                };
                QueueOperation::Redrive(Redrive { principal, topic, which })
            }
            _ => panic!("not a script line: {verb}"),
        }
    }

    fn settle_item(&self, verb: &str, word: &str, details: &Details) -> SettleItem {
        let delivery = match details.consumer.clone() {
            Some(consumer) => DeliveryRef::Latest { message: id(word), consumer },
            None => DeliveryRef::Receipt(self.receipt(word)),
        };
        let reason = details.reason.clone();
        let verdict = match verb {
            "ack" => Verdict::Ack,
            "nack" => Verdict::Nack { delay_ms: details.delay_ms, reason },
            "extend" => Verdict::Extend { visibility_ms: details.visibility_ms },
            _ => Verdict::Reject { reason },
        };
        SettleItem { delivery, verdict }
    }

    /// A delivery that was made, or one that never was.
    fn receipt(&self, word: &str) -> Receipt {
        let delivery = id(word);
        let (index, position, boot) = (delivery.index, delivery.position, BootId(9));
        let never = Receipt { message: delivery, index, position, boot };
        self.receipts.get(&(index.0, position)).copied().unwrap_or(never)
    }

    fn outcome_text(&mut self, outcome: &QueueOutcome, deliveries: &[DeliveryView]) -> String {
        let lines = match outcome {
            QueueOutcome::Pushed(items) => items.iter().map(push_text).collect(),
            QueueOutcome::Received(received) => self.received_texts(received, deliveries),
            QueueOutcome::Settled(items) => items.iter().map(settle_text).collect(),
            QueueOutcome::GivenBack(count) => vec![format!("{count} given back")],
            QueueOutcome::Removed => vec!["removed".to_owned()],
            QueueOutcome::Configured { created: true, .. } => vec!["created".to_owned()],
            QueueOutcome::Configured { created: false, .. } => vec!["changed".to_owned()],
            QueueOutcome::Deleted => vec!["deleted".to_owned()],
            QueueOutcome::Purged { messages, next } => {
                let next = next.map_or(String::new(), |id| format!(", more before {id}"));
                vec![format!("{messages} purged{next}")]
            }
            QueueOutcome::Redriven { messages, next, full } => {
                let next = next.map_or(String::new(), |place| format!(", more before {place}"));
                let full = full.as_ref().map_or(String::new(), |it| format!(", {it}"));
                vec![format!("{messages} redriven{next}{full}")]
            }
            QueueOutcome::RedrivenThese(items) => {
                items.iter().map(|item| format!("{item:?}")).collect()
            }
            QueueOutcome::Refused(refusal) => vec![format!("refused: {refusal}")],
        };
        lines.iter().map(|line| format!("{line}\n")).collect()
    }

    fn received_texts(
        &mut self,
        received: &[Received],
        deliveries: &[DeliveryView],
    ) -> Vec<String> {
        let told: usize = received.iter().map(|it| it.receipts.len()).sum();
        assert_eq!(told, deliveries.len(), "a delivery without a body");
        let mut bodies = deliveries.iter();
        let mut lines = Vec::new();
        for Received { receiver, receipts, refusal } in received {
            let who = format!("n{}.{}", receiver.boot.0, receiver.number);
            lines.extend(refusal.as_ref().map(|refusal| format!("{who} refused: {refusal}")));
            for receipt in receipts {
                self.receipts.insert((receipt.index.0, receipt.position), *receipt);
                let delivery = bodies.next().unwrap();
                assert_eq!((delivery.receipt, delivery.receiver), (*receipt, *receiver));
                let body = std::str::from_utf8(&delivery.content.body).unwrap();
                let (place, times) =
                    (format!("{}.{}", receipt.index, receipt.position), delivery.deliveries);
                lines.push(format!("{who} gets {body} as {place}, delivery {times}"));
            }
        }
        if lines.is_empty() { vec!["nothing".to_owned()] } else { lines }
    }

    fn change_rules(&mut self, rules: &[&str]) -> String {
        for rule in rules {
            let (name, value) = rule.split_once('=').unwrap();
            let number: u32 = value.parse().unwrap();
            match name {
                "ends" => self.rules.ends_per_entry_max = number,
                "step" => self.rules.step_max = number,
                "topics" => self.rules.topics_max = number,
                "messages" => self.rules.messages_max = number.into(),
                "bytes" => self.rules.bytes_max = number.into(),
                "keys" => self.rules.dedupe_keys_max = number.into(),
                _ => panic!("no such rule: {name}"),
            }
        }
        String::new()
    }

    fn show(&self) -> String {
        let (view, mut out) = (self.table.view(), String::new());
        for topic in view.topics_after("") {
            let paused = if topic.settings.paused { ", paused" } else { "" };
            writeln!(out, "{}: {}{paused}", topic.name, counts_text(topic.main)).unwrap();
            let list = |sub_queue| view.list(&topic.name, sub_queue, None, None, 100).messages;
            for message in list(SubQueue::Main) {
                writeln!(out, "  {}", message_text(&message)).unwrap();
            }
            if topic.dead.sum() > 0 {
                writeln!(out, "{}, dead: {}", topic.name, counts_text(topic.dead)).unwrap();
            }
            for message in list(SubQueue::Dead) {
                writeln!(out, "  {}", message_text(&message)).unwrap();
            }
        }
        match self.table.next_due() {
            Some(due) => writeln!(out, "next end at {due}").unwrap(),
            None => writeln!(out, "nothing is timed").unwrap(),
        }
        out
    }

    fn peek(&self, details: &Details) -> String {
        let view = self.table.view();
        let bodies = view.peek(&details.topic, details.sub_queue);
        let bodies: Vec<String> = bodies.map(|it| body_text(&it)).collect();
        format!("{}\n", bodies.join(" "))
    }

    fn totals(&self) -> String {
        let topics = self.table.view().topics_after("");
        topics.map(|topic| format!("{}: {:?}\n", topic.name, topic.totals)).collect()
    }
}

/// Everything that a line may say.
struct Details {
    words: Vec<String>,
    topic: String,
    sub_queue: SubQueue,
    consumer: Option<Consumer>,
    max_bytes: u64,
    visibility_ms: Option<u64>,
    delay_ms: Option<u64>,
    before: Option<String>,
    reason: String,
    original: bool,
}

impl Details {
    fn of(words: &[&str]) -> Self {
        let mut details = Self {
            words: Vec::new(),
            topic: "jobs".to_owned(),
            sub_queue: SubQueue::Main,
            consumer: None,
            max_bytes: 1_000,
            visibility_ms: None,
            delay_ms: None,
            before: None,
            reason: String::new(),
            original: false,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut next = || *words.next().unwrap();
            match *word {
                "on" => details.topic = next().replace("TAB", "\t"),
                "from" => {
                    details.sub_queue =
                        if next() == "dead" { SubQueue::Dead } else { SubQueue::Main }
                }
                "as" => details.consumer = Some(consumer(next())),
                "bytes" => details.max_bytes = next().parse().unwrap(),
                "for" => details.visibility_ms = Some(next().parse().unwrap()),
                "delay" => details.delay_ms = Some(next().parse().unwrap()),
                "before" => details.before = Some(next().to_owned()),
                "because" => details.reason = words.by_ref().copied().collect::<Vec<_>>().join(" "),
                "originally" => details.original = true,
                word => details.words.push(word.to_owned()),
            }
        }
        details
    }
}

fn consumer(name: &str) -> Consumer {
    Consumer { principal: "anonymous".to_owned(), name: name.to_owned() }
}

fn id(word: &str) -> MessageId {
    word.parse().unwrap()
}

/// `a`, `a:delay=5,prio=2`.
fn push_item(word: &str) -> PushItem {
    let (body, how) = word.split_once(':').unwrap_or((word, ""));
    let mut item = PushItem {
        body: Bytes::copy_from_slice(body.as_bytes()),
        kind: BodyKind::Bytes,
        headers: Vec::new(),
        delay_ms: 0,
        ttl_ms: None,
        priority: 0,
        group: None,
        dedupe_key: None,
    };
    for (name, value) in how.split(',').filter_map(|part| part.split_once('=')) {
        match name {
            "delay" => item.delay_ms = value.parse().unwrap(),
            "ttl" => item.ttl_ms = Some(value.parse().unwrap()),
            "prio" => item.priority = value.parse().unwrap(),
            "group" => item.group = Some(value.to_owned()),
            "key" => item.dedupe_key = Some(value.to_owned()),
            _ => panic!("not a part of a message: {name}"),
        }
    }
    item
}

/// `n1.7=2`.
fn receiver(word: &str, details: &Details) -> Receiver {
    let (who, max) = word.split_once('=').unwrap();
    let (boot, number) = who.strip_prefix('n').unwrap().split_once('.').unwrap();
    Receiver {
        id: ReceiverId { boot: BootId(boot.parse().unwrap()), number: number.parse().unwrap() },
        consumer: details.consumer.clone(),
        max: max.parse().unwrap(),
        max_bytes: details.max_bytes,
        visibility_ms: details.visibility_ms,
    }
}

fn change(words: &[String]) -> TopicChange {
    let mut change = TopicChange::default();
    for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
        let number = || Some(value.parse().unwrap());
        match name {
            "visibility" => change.visibility_ms = number(),
            "deliveries" => change.deliveries_max = Some(value.parse().unwrap()),
            "nack" => change.nack_backoff = Some(backoff(value)),
            "timeout" => change.timeout_backoff = Some(backoff(value)),
            "paused" => change.paused = Some(value == "yes"),
            "max" => change.messages_max = number(),
            "ttl" => change.ttl_ms = number(),
            "expired" if value == "dead" => change.expired = Some(Expired::Dead),
            "expired" => change.expired = Some(Expired::Drop),
            "window" => change.dedupe_window_ms = number(),
            _ => panic!("not a setting: {name}"),
        }
    }
    change
}

/// `linear:10:100`.
fn backoff(text: &str) -> Backoff {
    let parts: Vec<&str> = text.split(':').collect();
    let growth = match parts[0] {
        "fixed" => Growth::Fixed,
        "linear" => Growth::Linear,
        _ => Growth::Exponential,
    };
    let (base_ms, max_ms) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
    Backoff { growth, base_ms, max_ms, jitter_percent: 0 }
}

fn push_text(outcome: &PushOutcome) -> String {
    match outcome {
        PushOutcome::Pushed(id) => format!("pushed {id}"),
        PushOutcome::Duplicate(id) => format!("duplicate of {id}"),
        PushOutcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

fn settle_text(outcome: &SettleOutcome) -> String {
    match outcome {
        SettleOutcome::Acked => "acked".to_owned(),
        SettleOutcome::Nacked { delay_ms: 0 } => "nacked, ready".to_owned(),
        SettleOutcome::Nacked { delay_ms } => format!("nacked, again after {delay_ms} ms"),
        SettleOutcome::Dead => "dead".to_owned(),
        SettleOutcome::Expired => "expired".to_owned(),
        SettleOutcome::Extended { remaining_ms } => format!("extended, {remaining_ms} ms left"),
        SettleOutcome::Stale => "stale".to_owned(),
        SettleOutcome::Refused(refusal) => format!("refused: {refusal}"),
    }
}

fn counts_text(counts: Counts) -> String {
    let Counts { ready, delayed, in_flight } = counts;
    format!("{ready} ready, {delayed} delayed, {in_flight} in flight")
}

fn message_text(message: &MessageView) -> String {
    let state = match &message.state {
        StateView::Ready => "ready".to_owned(),
        StateView::Delayed { until } => format!("delayed until {until}"),
        StateView::InFlight { consumer, ends_at, .. } => {
            let who = consumer.as_ref().map_or(String::new(), |it| format!(" at {}", it.name));
            format!("in flight{who} until {ends_at}")
        }
    };
    let times = match message.deliveries {
        0 => String::new(),
        times => format!(", delivered {times}"),
    };
    let expires = message.expires_at.map_or(String::new(), |at| format!(", expires at {at}"));
    let failed = message.failures.as_ref().map_or(String::new(), |it| {
        let text = |it: &Failure| format!("{:?} at {} {:?}", it.cause, it.at, it.reason);
        if it.first == it.last {
            format!("; failed: {}", text(&it.first))
        } else {
            format!("; failed first: {}, last: {}", text(&it.first), text(&it.last))
        }
    });
    let death = message.death.map_or(String::new(), |death| {
        format!("; dead at {}: {:?} after {}", death.at, death.cause, death.deliveries)
    });
    let (id, body) = (message.id, body_text(message));
    format!("{id} {body}: {state}{times}{expires}{failed}{death}")
}

fn body_text(message: &MessageView) -> String {
    String::from_utf8(message.content.body.to_vec()).unwrap()
}

fn event_text(event: &QueueEvent) -> String {
    let messages = match event.messages {
        0 => String::new(),
        messages => format!(", {messages} messages"),
    };
    format!("  {:?} {} by {}{messages}\n", event.what, event.topic, event.principal)
}
