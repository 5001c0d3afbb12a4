//! What tests ask of the topic `orders`.

#![allow(dead_code)]

use dsync_core::queue::*;
use dsync_core::types::BootId;

/// Pushes so many messages of so many bytes.
pub fn push(bodies: usize, bytes: usize) -> QueueOperation {
    let item = PushItem {
        body: vec![b'x'; bytes].into(),
        kind: BodyKind::Bytes,
        headers: Vec::new(),
        delay_ms: 0,
        ttl_ms: None,
        priority: 0,
        group: None,
        dedupe_key: None,
    };
    QueueOperation::Push(Push {
        principal: "root".to_owned(),
        topic: "orders".to_owned(),
        unlimited_deliveries: false,
        items: vec![item; bodies],
    })
}

/// Receives so many at most.
pub fn receive(max: u32) -> QueueOperation {
    receive_by(BootId(5), max)
}

/// As a receiver of that process.
pub fn receive_by(boot: BootId, max: u32) -> QueueOperation {
    let receiver = Receiver {
        id: ReceiverId { boot, number: 1 },
        consumer: None,
        max,
        max_bytes: 1_000_000,
        visibility_ms: None,
    };
    QueueOperation::Receive(Receive {
        topic: "orders".to_owned(),
        sub_queue: SubQueue::Main,
        receivers: vec![receiver],
    })
}

/// Acknowledges these.
pub fn ack(deliveries: &[DeliveryView]) -> QueueOperation {
    let receipts: Vec<_> = deliveries.iter().map(|it| it.receipt).collect();
    settle(&receipts, &Verdict::Ack)
}

/// Settles these in one way.
pub fn settle(receipts: &[Receipt], verdict: &Verdict) -> QueueOperation {
    let item = |receipt: &Receipt| SettleItem {
        delivery: DeliveryRef::Receipt(*receipt),
        verdict: verdict.clone(),
    };
    QueueOperation::Settle(Settle {
        topic: "orders".to_owned(),
        items: receipts.iter().map(item).collect(),
    })
}

/// Deletes the topic.
pub fn delete() -> QueueOperation {
    let (principal, topic) = ("root".to_owned(), "orders".to_owned());
    QueueOperation::DeleteTopic(DeleteTopic { principal, topic })
}
