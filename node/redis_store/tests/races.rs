//! Many workers on one topic, through two stores as if two nodes served it, while Redis is killed: every message
//! is acknowledged once, a stale receipt never counts, and nothing is delivered after its acknowledgement.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../testing/asked.rs"]
mod asked;
#[allow(dead_code)]
#[path = "../../core/src/dice.rs"]
mod dice;
#[path = "../testing/server.rs"]
mod server;

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use asked::{push, receive_by, settle};
use dice::Dice;
use dsync_core::queue::*;
use dsync_core::types::{BootId, ClusterId, Index, RedisId};
use dsync_redis_store::{Batch, Done, Marker, RedisStore, RedisTopic, Stream, Terms};
use server::Server;
use tokio::time::Instant;

const MESSAGES: u64 = 600;
const WORKERS: u64 = 8;
const KILLS: u64 = 3;

/// What all have seen.
#[derive(Default)]
struct Seen {
    /// The highest number of a delivery, by message.
    delivered: BTreeMap<MessageId, u32>,
    acked: BTreeMap<MessageId, u32>,
    stale: u64,
}

struct Worker {
    store: Arc<RedisStore>,
    topic: RedisTopic,
    rules: Rules,
    boot: BootId,
    batches: u64,
    dice: Dice,
    seen: Arc<Mutex<Seen>>,
    /// Told of every acknowledgement.
    acks: Sender<()>,
}

impl Worker {
    /// Until all are acknowledged.
    async fn work(mut self) {
        let mut old: Vec<Receipt> = Vec::new();
        while (self.seen.lock().unwrap().acked.len() as u64) < MESSAGES {
            let max = 1 + self.dice.small(5);
            let deliveries = self.ask(&receive_by(self.boot, max)).await.deliveries;
            self.note(&deliveries);
            for delivery in deliveries {
                self.treat(&delivery, &mut old).await;
            }
            if !old.is_empty() {
                let receipt = self.dice.pick(&old);
                self.settle_stale(receipt).await;
            }
        }
    }

    /// Acknowledges it, or has it delivered again and keeps the receipt.
    async fn treat(&mut self, delivery: &DeliveryView, old: &mut Vec<Receipt>) {
        let receipt = delivery.receipt;
        let again = Verdict::Nack { delay_ms: Some(0), reason: String::new() };
        match self.dice.below(10) {
            0..4 => {
                self.ask(&settle(&[receipt], &again)).await;
                old.push(receipt);
            }
            4 => {
                let (topic, receipts) = ("orders".to_owned(), vec![receipt]);
                self.ask(&QueueOperation::GiveBack(GiveBack { topic, receipts })).await;
                old.push(receipt);
            }
            _ => {
                let done = self.ask(&settle(&[receipt], &Verdict::Ack)).await;
                assert_eq!(done.outcome, QueueOutcome::Settled(vec![SettleOutcome::Acked]));
                let mut seen = self.seen.lock().unwrap();
                let before = seen.acked.insert(receipt.message, delivery.deliveries);
                assert_eq!(before, None, "acknowledged twice");
                let _ = self.acks.send(());
                old.push(receipt);
            }
        }
    }

    async fn settle_stale(&mut self, receipt: Receipt) {
        let again = Verdict::Nack { delay_ms: None, reason: String::new() };
        let extend = Verdict::Extend { visibility_ms: None };
        let reject = Verdict::Reject { reason: String::new() };
        let verdict = [Verdict::Ack, again, extend, reject][self.dice.index(4)].clone();
        let done = self.ask(&settle(&[receipt], &verdict)).await;
        assert_eq!(done.outcome, QueueOutcome::Settled(vec![SettleOutcome::Stale]));
        self.seen.lock().unwrap().stale += 1;
    }

    fn note(&self, deliveries: &[DeliveryView]) {
        let mut seen = self.seen.lock().unwrap();
        for delivery in deliveries {
            let id = delivery.receipt.message;
            assert!(!seen.acked.contains_key(&id), "{id} was delivered after its acknowledgement");
            let count = seen.delivered.entry(id).or_default();
            *count = (*count).max(delivery.deliveries);
        }
    }

    async fn ask(&mut self, operation: &QueueOperation) -> Done {
        self.batches += 1;
        let batch = Batch { boot: self.boot, stream: Stream::Settle, number: self.batches };
        let deadline = Instant::now() + Duration::from_secs(120);
        let terms = Terms { rules: &self.rules, batch: Some(batch), deadline };
        let done = self.store.apply(&self.topic, operation, self.batches, terms).await;
        done.unwrap_or_else(|error| panic!("{error}\n{operation:?}"))
    }
}

#[test]
fn a_message_is_acknowledged_once_whoever_serves_it_and_whoever_is_killed() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let marker = Marker {
        cluster: ClusterId(1),
        redis: RedisId(2),
        topic: TopicId { index: Index(3), position: 0 },
    };
    let stores = [(); 2].map(|()| Arc::new(RedisStore::new(&server.address()).unwrap()));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (acks, heard) = mpsc::channel();
    let worker = |number: u64| Worker {
        store: stores[usize::from(number % 2 == 1)].clone(),
        topic: RedisTopic::new(&marker, "orders"),
        rules: Rules::default(),
        boot: BootId(number + 1),
        batches: 0,
        dice: Dice(number),
        seen: seen.clone(),
        acks: acks.clone(),
    };
    runtime.block_on(async {
        let settings = TopicSettings { deliveries_max: 0, ..TopicSettings::default() };
        let mut pusher = worker(WORKERS);
        let deadline = Instant::now() + Duration::from_secs(20);
        pusher.store.create(&pusher.topic, &settings, None, deadline).await.unwrap();
        for _ in 0..MESSAGES / 100 {
            pusher.ask(&push(100, 20)).await;
        }
    });
    let workers: Vec<_> = (0..WORKERS).map(|number| runtime.spawn(worker(number).work())).collect();
    for _ in 0..KILLS {
        (0..MESSAGES / (KILLS + 1)).for_each(|_| heard.recv().unwrap());
        server.kill_and_restart();
    }
    for worker in workers {
        runtime.block_on(worker).unwrap();
    }
    check_end(&runtime, &worker(WORKERS + 1), &seen.lock().unwrap());
}

fn check_end(runtime: &tokio::runtime::Runtime, last: &Worker, seen: &Seen) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let terms = Terms { rules: &last.rules, batch: None, deadline };
    let id = TopicId { index: Index(3), position: 0 };
    let view = last.store.topic(&last.topic, "orders", id, terms);
    let (view, _) = runtime.block_on(view).unwrap();
    assert_eq!((view.totals.pushed, view.totals.acked), (MESSAGES, MESSAGES));
    assert_eq!(view.main.sum() + view.dead.sum(), 0, "{view:?}");
    assert!(seen.stale > 0, "no receipt was stale");
    let of_last = seen.acked.iter().filter(|(id, count)| seen.delivered[id] == **count);
    assert_eq!(of_last.count() as u64, MESSAGES, "an earlier delivery was acknowledged");
}
