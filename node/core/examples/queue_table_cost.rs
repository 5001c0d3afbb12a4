//! What the queues cost: `cargo run --release -p dsync-core --example queue_table_cost [MESSAGES]`.
//!
//! Prints times; asserts nothing about them. Compare two versions on one quiet machine.

#![allow(missing_docs)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::time::{Duration, Instant};

use bytes::Bytes;
use dsync_core::queue::{
    BodyKind, DeliveryRef, Purge, Push, PushItem, QueueOperation, QueueOutcome, QueueTable,
    Receipt, Receive, Receiver, ReceiverId, Rules, Settle, SettleItem, SubQueue, Turn, Verdict,
};
use dsync_core::types::{BootId, ClusterTime, Index};

const BATCH: u64 = 100;

struct World {
    table: QueueTable,
    /// The last one published: as in a node, so that every entry copies what it changes.
    published: QueueTable,
    index: u64,
    now: u64,
    longest: Duration,
}

impl World {
    fn new() -> Self {
        let table = QueueTable::default();
        Self { published: table.clone(), table, index: 0, now: 0, longest: Duration::ZERO }
    }

    fn entry(&mut self, operation: Option<&QueueOperation>) -> Option<QueueOutcome> {
        self.index += 1;
        let began = Instant::now();
        let mut turn = Turn::new(Index(self.index), ClusterTime(self.now), Rules::default());
        self.table.advance(&mut turn);
        let outcome = operation.map(|operation| self.table.apply(&mut turn, operation));
        self.published = self.table.clone();
        self.longest = self.longest.max(began.elapsed());
        outcome
    }

    fn push(&mut self, delay_ms: u64) {
        let item = PushItem {
            body: Bytes::from_static(&[b'x'; 100]),
            kind: BodyKind::Bytes,
            headers: Vec::new(),
            delay_ms,
            ttl_ms: None,
            priority: 0,
            group: None,
            dedupe_key: None,
        };
        let (principal, topic) = ("anonymous".to_owned(), "jobs".to_owned());
        let items = vec![item; BATCH as usize];
        let push = Push { principal, topic, unlimited_deliveries: false, items };
        self.entry(Some(&QueueOperation::Push(push)));
    }

    fn receive(&mut self) -> Vec<Receipt> {
        let receiver = Receiver {
            id: ReceiverId { boot: BootId(1), number: self.index },
            consumer: None,
            max: BATCH as u32,
            max_bytes: u64::MAX,
            visibility_ms: None,
        };
        let (topic, sub_queue) = ("jobs".to_owned(), SubQueue::Main);
        let receive = Receive { topic, sub_queue, receivers: vec![receiver] };
        match self.entry(Some(&QueueOperation::Receive(receive))) {
            Some(QueueOutcome::Received(received)) => {
                received.into_iter().flat_map(|it| it.receipts).collect()
            }
            _ => Vec::new(),
        }
    }

    fn ack(&mut self, receipts: Vec<Receipt>) {
        let item =
            |receipt| SettleItem { delivery: DeliveryRef::Receipt(receipt), verdict: Verdict::Ack };
        let items = receipts.into_iter().map(item).collect();
        let settle = Settle { topic: "jobs".to_owned(), items };
        self.entry(Some(&QueueOperation::Settle(settle)));
    }

    fn report(&mut self, what: &str, began: Instant, messages: u64) {
        let each = began.elapsed() / messages.max(1) as u32;
        println!("{what}: {each:?} a message, the longest entry {:?}", self.longest);
        self.longest = Duration::ZERO;
    }
}

fn main() {
    let messages = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    let messages = messages / BATCH * BATCH;
    let mut world = World::new();
    let before = resident_mib();
    let began = Instant::now();
    (0..messages / BATCH).for_each(|_| world.push(0));
    world.report(&format!("push {messages} of 100 bytes in batches of {BATCH}"), began, messages);
    println!("  resident: {} MiB more", resident_mib() - before);
    work(&mut world, 100_000.min(messages));
    freeze(&world);
    redeliver(&mut world, messages.min(100_000));
    purge(&mut world);
    delayed(&mut world, messages);
}

fn work(world: &mut World, messages: u64) {
    let began = Instant::now();
    for _ in 0..messages / BATCH {
        let receipts = world.receive();
        world.ack(receipts);
    }
    world.report(&format!("receive and ack {messages} with all others waiting"), began, messages);
}

fn freeze(world: &World) {
    let began = Instant::now();
    let frozen = world.table.clone();
    println!("freeze: {:?}", began.elapsed());
    let (began, mut cursor, mut records) = (Instant::now(), None, 0);
    let mut restored = QueueTable::default();
    let mut reading = Duration::ZERO;
    while let Some((at, record)) = frozen.record_after(cursor.as_ref()) {
        let start = Instant::now();
        assert!(restored.restore(record).is_ok(), "a record of the own table");
        reading += start.elapsed();
        (cursor, records) = (Some(at), records + 1);
    }
    println!("  {records} records: {:?} to make, {reading:?} to read", began.elapsed() - reading);
}

fn redeliver(world: &mut World, messages: u64) {
    (0..messages / BATCH).for_each(|_| drop(world.receive()));
    (world.now, world.longest) = (world.now + 30_000, Duration::ZERO);
    let began = Instant::now();
    while world.table.next_due().is_some_and(|due| due.0 <= world.now) {
        world.entry(None);
    }
    world.report(&format!("{messages} deliveries end at once"), began, messages);
}

fn purge(world: &mut World) {
    let (began, mut before, mut purged) = (Instant::now(), None, 0);
    loop {
        let (principal, topic) = ("root".to_owned(), "jobs".to_owned());
        let purge = Purge { principal, topic, sub_queue: SubQueue::Main, before };
        let outcome = world.entry(Some(&QueueOperation::Purge(purge)));
        let Some(QueueOutcome::Purged { messages, next }) = outcome else { break };
        purged += messages;
        before = next;
        if next.is_none() {
            break;
        }
    }
    world.report(&format!("purge {purged}"), began, purged);
}

fn delayed(world: &mut World, messages: u64) {
    let began = Instant::now();
    (0..messages / BATCH).for_each(|batch| world.push(1_000 + batch % 600));
    world.report(&format!("push {messages} delayed"), began, messages);
    let began = Instant::now();
    world.now += 2_000;
    while world.table.next_due().is_some_and(|due| due.0 <= world.now) {
        world.entry(None);
    }
    world.report("they become ready", began, messages);
}

/// Linux only; elsewhere 0.
fn resident_mib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
    pages.unwrap_or(0) * 4 / 1024
}
