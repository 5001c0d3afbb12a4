//! Both stores side by side, step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use dsync_core::queue::*;
use dsync_core::types::{BootId, ClusterId, ClusterTime, Index, RedisId};
use dsync_redis_store::{
    Batch, Clock, Done, Marker, RedisStore, RedisTopic, StoreError, Stream, Terms as CallTerms,
};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use crate::history::{Known, Mix, Step};
use crate::server::Server;

/// What a history is played under.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub rules: Rules,
    /// Topics may be deleted. A key outlives its topic on the log, but not in Redis.
    pub deletes: bool,
    /// One of so many batches is sent twice.
    pub twice_every: u64,
    /// Everything that can be read is compared after so many steps.
    pub views_every: u64,
}

impl Terms {
    /// Without the limits that only the log has: those of all topics together. What is bounded per entry there
    /// is bounded per call and topic here, so it is played with one topic.
    pub fn of(mix: &mut Mix, seed: u64) -> Self {
        mix.rules.messages_max = 1_000_000;
        mix.rules.bytes_max = 1_000_000_000;
        if mix.topics > 1 {
            mix.rules.ends_per_entry_max = 256;
            mix.rules.dedupe_keys_max = 1_000_000;
        }
        let deletes = mix.rules.dedupe_keys_max > 2;
        // A batch that changed nothing but to forget keys is not remembered: sent again, it forgets more.
        let bounded = mix.rules.ends_per_entry_max < 256;
        let twice_every = if bounded { u64::MAX } else { 2 + seed % 5 };
        Self { rules: mix.rules, deletes, twice_every, views_every: 4 }
    }
}

pub struct Stage<'a> {
    server: &'a Server,
    terms: Terms,
    table: QueueTable,
    store: RedisStore,
    runtime: Runtime,
    topics: BTreeMap<String, RedisTopic>,
    receipts: Vec<(String, Receipt)>,
    batches: u64,
    deleted: bool,
}

/// What the dice are told.
pub struct Told<'a>(&'a QueueTable, &'a [(String, Receipt)]);

impl Known for Told<'_> {
    fn next_end(&self) -> Option<u64> {
        self.0.next_due().map(|at| at.0)
    }

    fn in_flight(&self, topic: &str) -> Vec<(Receipt, Option<Consumer>)> {
        let of_topic = self.1.iter().filter(|(name, _)| name == topic);
        let live = of_topic.filter_map(|(_, receipt)| self.0.view().delivery(topic, receipt));
        let with_consumer = live.map(|live| {
            let message = self.0.view().message(topic, live.receipt.message);
            let consumer = message.and_then(|it| match it.state {
                StateView::InFlight { consumer, .. } => consumer,
                _ => None,
            });
            (live.receipt, consumer)
        });
        with_consumer.collect()
    }
}

type Played<T> = Result<T, String>;

impl<'a> Stage<'a> {
    pub fn new(server: &'a Server, terms: Terms) -> Self {
        server.run("FLUSHALL");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self {
            server,
            terms,
            table: QueueTable::default(),
            store: RedisStore::new(&server.address()).unwrap(),
            runtime,
            topics: BTreeMap::new(),
            receipts: Vec::new(),
            batches: 0,
            deleted: false,
        }
    }

    pub fn known(&self) -> Told<'_> {
        Told(&self.table, &self.receipts)
    }

    /// Without what this history may not do.
    pub fn fit(&self, step: Step) -> Step {
        let deletes = matches!(step.operation, Some(QueueOperation::DeleteTopic(_)));
        let operation = step.operation.filter(|_| !deletes || self.terms.deletes);
        Step { operation, ..step }
    }

    /// Does a step on both.
    ///
    /// # Errors
    /// What differs; the words before the first colon say what kind of difference it is.
    pub fn play(&mut self, step: &Step) -> Played<Option<QueueOutcome>> {
        self.store.set_clock(Clock::Given { now: step.now, number: step.index });
        if step.index.is_multiple_of(17) {
            self.server.run("SCRIPT FLUSH");
        }
        let mut turn = Turn::new(Index(step.index), ClusterTime(step.now), self.terms.rules);
        self.table.advance(&mut turn);
        let outcome = step.operation.as_ref().map(|it| self.table.apply(&mut turn, it));
        let touched = step.operation.as_ref().map(|it| topic_of(it).to_owned());
        for name in self.topics.keys().filter(|name| Some(*name) != touched.as_ref()) {
            self.run(self.store.clear(&self.topics[name], self.call_terms(None)))?;
        }
        if let Some((operation, outcome)) = step.operation.as_ref().zip(outcome.as_ref()) {
            self.operate(step, operation, outcome, &turn.take_deliveries())?;
        }
        if step.index.is_multiple_of(self.terms.views_every) {
            self.compare_views()?;
        }
        Ok(outcome)
    }

    fn operate(
        &mut self,
        step: &Step,
        operation: &QueueOperation,
        outcome: &QueueOutcome,
        deliveries: &[DeliveryView],
    ) -> Played<()> {
        let name = topic_of(operation).to_owned();
        if !self.topics.contains_key(&name) && !self.create(&name, outcome)? {
            return Ok(());
        }
        let topic = self.topics[&name].clone();
        self.batches += 1;
        let batch = Batch { boot: BootId(9), stream: Stream::Push, number: self.batches };
        let times = 1 + u64::from(step.index.is_multiple_of(self.terms.twice_every));
        for time in 0..times {
            let closed = time > 0 && *outcome == QueueOutcome::Deleted;
            if closed {
                break;
            }
            let call = self.call_terms(Some(batch));
            let done = self.runtime.block_on(self.store.apply(&topic, operation, step.index, call));
            let (said, delivered) = match done {
                Ok(Done { outcome, deliveries, .. }) => (outcome, deliveries),
                Err(StoreError::Refused(refusal)) => (QueueOutcome::Refused(refusal), Vec::new()),
                Err(StoreError::Redis(problem)) => {
                    return Err(format!("problem: {problem}\n{operation:?}"));
                }
            };
            let sent = if time > 0 { "answer to a repeated batch" } else { "answer" };
            same(sent, &said, outcome)?;
            same("deliveries", &delivered, &deliveries.to_vec())?;
        }
        self.note(&name, &topic, outcome)
    }

    fn note(&mut self, name: &str, topic: &RedisTopic, outcome: &QueueOutcome) -> Played<()> {
        if let QueueOutcome::Received(received) = outcome {
            let receipts = received.iter().flat_map(|it| &it.receipts);
            self.receipts.extend(receipts.map(|it| (name.to_owned(), *it)));
        }
        if *outcome == QueueOutcome::Deleted {
            self.run(self.store.drop_closed(topic, soon()))?;
            self.topics.remove(name);
            self.deleted = true;
        }
        Ok(())
    }

    /// Makes a topic that the log has just made. False: there is nothing to be done in Redis.
    fn create(&mut self, name: &str, outcome: &QueueOutcome) -> Played<bool> {
        let Some(view) = self.table.view().topic(name) else { return Ok(false) };
        let marker = Marker { cluster: ClusterId(7), redis: RedisId(8), topic: view.id };
        let topic = RedisTopic::new(&marker, name);
        self.run(self.store.create(&topic, &view.settings, None, soon()))?;
        self.topics.insert(name.to_owned(), topic);
        Ok(!matches!(outcome, QueueOutcome::Configured { .. }))
    }

    fn compare_views(&self) -> Played<()> {
        let view = self.table.view();
        for (name, topic) in &self.topics {
            let expected = view.topic(name).ok_or("views: a topic is missing")?;
            let terms = self.call_terms(None);
            let (shown, status) = self.run(self.store.topic(topic, name, expected.id, terms))?;
            same("topic", &shown, &expected)?;
            let deliverable = |part| view.deliverable(name, part) as u64;
            same("deliverable", &status.deliverable, &deliverable(SubQueue::Main))?;
            same("dead deliverable", &status.dead_deliverable, &deliverable(SubQueue::Dead))?;
            if self.topics.len() == 1 && !self.deleted {
                same("next due", &status.next_due, &self.table.next_due())?;
            }
            for part in [SubQueue::Main, SubQueue::Dead] {
                self.compare_part(name, topic, part)?;
            }
        }
        Ok(())
    }

    fn compare_part(&self, name: &str, topic: &RedisTopic, part: SubQueue) -> Played<()> {
        let (view, terms) = (self.table.view(), self.call_terms(None));
        let order: Vec<MessageView> = view.peek(name, part).take(100).collect();
        same("order", &self.run(self.store.peek(topic, part, 100, terms))?.0, &order)?;
        for state in
            [None, Some(StateKind::Ready), Some(StateKind::Delayed), Some(StateKind::InFlight)]
        {
            let all = view.list(name, part, state, None, 1_000).messages;
            same("messages", &self.list(topic, (part, state))?, &all)?;
            for message in all.iter().filter(|_| state.is_none()).take(5) {
                let found = self.run(self.store.message(topic, message.id, terms))?.0;
                same("message", &found.as_ref(), &Some(message))?;
            }
        }
        let live = self.receipts.iter().filter(|(of, _)| of == name);
        let live: Vec<_> = live.filter_map(|(_, it)| view.delivery(name, it)).collect();
        let wanted: Vec<_> = live.iter().map(|it| (it.receiver, it.receipt)).collect();
        same("live deliveries", &self.run(self.store.deliveries(topic, &wanted, terms))?, &live)
    }

    /// All pages, small ones.
    fn list(
        &self,
        topic: &RedisTopic,
        which: (SubQueue, Option<StateKind>),
    ) -> Played<Vec<MessageView>> {
        let (mut messages, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(topic, which, after, 7, self.call_terms(None));
            let (page, _) = self.run(page)?;
            messages.extend(page.messages);
            match page.next {
                None => return Ok(messages),
                next => after = next,
            }
        }
    }

    fn call_terms(&self, batch: Option<Batch>) -> CallTerms<'_> {
        CallTerms { rules: &self.terms.rules, batch, deadline: soon() }
    }

    fn run<T, E: std::fmt::Display>(&self, work: impl Future<Output = Result<T, E>>) -> Played<T> {
        self.runtime.block_on(work).map_err(|problem| format!("problem: {problem}"))
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

fn topic_of(operation: &QueueOperation) -> &str {
    match operation {
        QueueOperation::Push(it) => &it.topic,
        QueueOperation::Receive(it) => &it.topic,
        QueueOperation::Settle(it) => &it.topic,
        QueueOperation::GiveBack(it) => &it.topic,
        QueueOperation::Remove(it) => &it.topic,
        QueueOperation::Configure(it) => &it.topic,
        QueueOperation::DeleteTopic(it) => &it.topic,
        QueueOperation::Purge(it) => &it.topic,
        QueueOperation::Redrive(it) => &it.topic,
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, redis: &T, log: &T) -> Played<()> {
    if redis == log {
        return Ok(());
    }
    Err(format!("{what}: Redis says\n{redis:?}\nthe log says\n{log:?}"))
}
