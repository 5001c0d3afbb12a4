//! Items of queues take effect once, however their requests are cut, merged and sent again.

use super::machine_test::{Log, origin};
use super::*;
use crate::queue::{
    BodyKind, DeliveryRef, MessageId, PushItem, QueueRefusal, Receive, Receiver, ReceiverId,
    SettleItem, Verdict,
};

fn item(body: &str) -> PushItem {
    PushItem {
        body: body.to_owned().into(),
        kind: BodyKind::Bytes,
        headers: Vec::new(),
        delay_ms: 0,
        ttl_ms: None,
        priority: 0,
        group: None,
        dedupe_key: None,
    }
}

fn push(bodies: &[&str]) -> QueueOperation {
    QueueOperation::Push(Push {
        principal: "p".to_owned(),
        topic: "t".to_owned(),
        unlimited_deliveries: false,
        items: bodies.iter().map(|body| item(body)).collect(),
    })
}

fn key(word: &str) -> RequestId {
    RequestId::Key(word.to_owned())
}

/// `count` items from the operation's `first` on, which stand in their request from `position` on.
fn part(request: RequestId, first: u32, count: u32, position: u32) -> RequestItems {
    RequestItems { principal: "p".to_owned(), request, first, count, position }
}

struct Node {
    log: Log,
    sequence: u64,
}

impl Node {
    fn new() -> Self {
        let mut log = Log::founded();
        log.register(9, 1);
        Self { log, sequence: 1 }
    }

    fn known_items(&self) -> u32 {
        let (mut cursor, mut known) = (None, 0);
        while let Some((at, record)) = self.log.machine.items.record_after(cursor.as_ref()) {
            known += u32::from(matches!(record, item_requests::ItemRecord::Known(..)));
            cursor = Some(at);
        }
        known
    }

    fn send(&mut self, requests: Vec<RequestItems>, operation: QueueOperation) -> QueueOutcome {
        self.sequence += 1;
        let taken_at = self.log.machine.active_time();
        let origin = Origin { taken_at, ..origin(9, self.sequence, self.sequence) };
        match self.log.command(origin, Operation::Queue { requests, operation }) {
            Outcome::Queue(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn push(&mut self, requests: Vec<RequestItems>, bodies: &[&str]) -> Vec<PushOutcome> {
        match self.send(requests, push(bodies)) {
            QueueOutcome::Pushed(outcomes) => outcomes,
            other => panic!("{other:?}"),
        }
    }

    fn wait_until(&mut self, stamp: u64) {
        self.log.at(stamp).append(Payload::Empty);
    }

    fn pushed(&self) -> u64 {
        self.log.machine.queues().topic("t").map_or(0, |topic| topic.totals.pushed)
    }

    /// Receives one message, and says what settles it.
    fn receive(&mut self) -> DeliveryRef {
        let id = ReceiverId { boot: BootId(9), number: self.sequence };
        let receiver =
            Receiver { id, consumer: None, max: 1, max_bytes: 1, visibility_ms: Some(1_000) };
        let receive =
            Receive { topic: "t".to_owned(), sub_queue: SubQueue::Main, receivers: vec![receiver] };
        match self.send(Vec::new(), QueueOperation::Receive(receive)) {
            QueueOutcome::Received(received) => DeliveryRef::Receipt(received[0].receipts[0]),
            other => panic!("{other:?}"),
        }
    }

    fn settle(
        &mut self,
        request: RequestId,
        delivery: DeliveryRef,
        verdict: Verdict,
    ) -> SettleOutcome {
        let items = vec![SettleItem { delivery, verdict }];
        let settle = QueueOperation::Settle(Settle { topic: "t".to_owned(), items });
        match self.send(vec![part(request, 0, 1, 0)], settle) {
            QueueOutcome::Settled(mut outcomes) => outcomes.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn id(outcome: &PushOutcome) -> MessageId {
    match outcome {
        PushOutcome::Pushed(id) => *id,
        other => panic!("{other:?}"),
    }
}

fn refused(outcome: &PushOutcome) -> RequestRefusal {
    match outcome {
        PushOutcome::Refused(QueueRefusal::Request(refusal)) => *refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_repeat_that_is_cut_elsewhere_pushes_what_the_first_did_not() {
    let mut node = Node::new();
    let first = node.push(vec![part(key("k"), 0, 2, 0)], &["a", "b"]);
    // The rest was lost with its node. The client sends all three again, and they are cut anew.
    let begun = node.push(vec![part(key("k"), 0, 1, 0)], &["a"]);
    let rest = node.push(vec![part(key("k"), 0, 2, 1)], &["b", "c"]);
    assert_eq!([begun[0].clone(), rest[0].clone()], [first[0].clone(), first[1].clone()]);
    id(&rest[1]);
    assert_eq!(node.pushed(), 3);
}

#[test]
fn two_copies_in_one_command_are_one() {
    let mut node = Node::new();
    let copies = vec![part(key("k"), 0, 1, 0), part(key("k"), 1, 1, 0)];
    let outcomes = node.push(copies, &["a", "a"]);
    assert_eq!(outcomes[0], outcomes[1]);
    assert_eq!(node.pushed(), 1);
}

#[test]
fn items_of_several_clients_and_of_nobody_stand_in_one_command() {
    let mut node = Node::new();
    let parts = vec![part(key("k"), 1, 1, 0), part(key("other"), 2, 1, 0)];
    let first = node.push(parts.clone(), &["x", "a", "b"]);
    let second = node.push(parts, &["x", "a", "b"]);
    assert_ne!(id(&first[0]), id(&second[0]), "an item without an id is pushed each time");
    assert_eq!(first[1..], second[1..]);
    assert_eq!(node.pushed(), 4);
}

#[test]
fn another_item_under_the_same_id_is_a_mistake() {
    let mut node = Node::new();
    node.push(vec![part(key("k"), 0, 1, 0)], &["a"]);
    let other = node.push(vec![part(key("k"), 0, 1, 0)], &["b"]);
    assert_eq!(refused(&other[0]), RequestRefusal::OtherBody);
    assert_eq!(node.pushed(), 1);
}

#[test]
fn a_number_below_its_clients_mark_is_forgotten_and_refused() {
    let mut node = Node::new();
    let numbered = |sequence, low_water| RequestId::Numbered { client: 5, sequence, low_water };
    node.push(vec![part(numbered(1, 1), 0, 2, 0)], &["a", "b"]);
    node.push(vec![part(numbered(2, 2), 0, 1, 0)], &["c"]);
    let late = node.push(vec![part(numbered(1, 1), 0, 1, 0)], &["a"]);
    assert_eq!(refused(&late[0]), RequestRefusal::Forgotten);
    assert_eq!(node.known_items(), 1, "only what its client may still ask for is kept");
}

#[test]
fn an_item_is_remembered_for_the_retention_and_is_a_new_one_after_it() {
    let mut node = Node::new();
    let request = || vec![part(key("k"), 0, 1, 0)];
    let first = node.push(request(), &["a"]);
    node.wait_until(299_999);
    assert_eq!(node.push(request(), &["a"]), first);
    node.wait_until(300_000);
    assert_ne!(node.push(request(), &["a"]), first);
}

#[test]
fn at_the_cap_new_ids_are_refused_and_those_of_locks_are_not() {
    let mut node =
        Node { log: Log::founded_with(|it| it.queues.request_items_max = 2), sequence: 1 };
    node.log.register(9, 1);
    let outcomes = node.push(vec![part(key("k"), 0, 3, 0)], &["a", "b", "c"]);
    assert_eq!(refused(&outcomes[2]), RequestRefusal::Full);
    assert_eq!(node.pushed(), 2);
    let lock = machine_test::acquire("a", "x").with_request(Some(key("l")));
    node.sequence += 1;
    let outcome = node.log.command(origin(9, node.sequence, node.sequence), lock);
    assert!(matches!(outcome, Outcome::Lock(_)), "{outcome:?}");
}

#[test]
fn an_ack_that_is_repeated_is_answered_as_the_first_and_an_extension_as_of_now() {
    let mut node = Node::new();
    node.push(Vec::new(), &["a"]);
    let delivery = node.receive();
    let extend = Verdict::Extend { visibility_ms: Some(2_000) };
    let settle = |node: &mut Node, word: &str, verdict: &Verdict| {
        node.settle(key(word), delivery.clone(), verdict.clone())
    };
    assert_eq!(settle(&mut node, "e", &extend), SettleOutcome::Extended { remaining_ms: 2_000 });
    node.log.at(500);
    assert_eq!(settle(&mut node, "e", &extend), SettleOutcome::Extended { remaining_ms: 2_000 });
    assert_eq!(settle(&mut node, "k", &Verdict::Ack), SettleOutcome::Acked);
    assert_eq!(settle(&mut node, "k", &Verdict::Ack), SettleOutcome::Acked);
    assert_eq!(settle(&mut node, "other", &Verdict::Ack), SettleOutcome::Stale);
}

#[test]
fn at_the_cap_a_settle_is_done_all_the_same_and_not_remembered() {
    let mut node =
        Node { log: Log::founded_with(|it| it.queues.request_items_max = 1), sequence: 1 };
    node.log.register(9, 1);
    node.push(vec![part(key("k"), 0, 1, 0)], &["a"]);
    let delivery = node.receive();
    let outcome = node.settle(key("ack"), delivery.clone(), Verdict::Ack);
    assert_eq!(outcome, SettleOutcome::Acked, "one who asks too much does not stop the others");
    assert_eq!(node.settle(key("ack"), delivery, Verdict::Ack), SettleOutcome::Stale);
}

#[test]
fn a_stale_receipt_takes_no_room() {
    let mut node = Node::new();
    node.push(Vec::new(), &["a"]);
    let delivery = node.receive();
    node.settle(key("ack"), delivery.clone(), Verdict::Ack);
    let before = node.known_items();
    for word in ["1", "2", "3"] {
        assert_eq!(node.settle(key(word), delivery.clone(), Verdict::Ack), SettleOutcome::Stale);
    }
    assert_eq!(node.known_items(), before);
}

#[test]
fn a_mark_that_rises_over_thousands_of_items_removes_a_bounded_number_per_entry() {
    let mut node = Node::new();
    let numbered = |sequence, low_water| RequestId::Numbered { client: 5, sequence, low_water };
    for sequence in 1..=3 {
        let bodies = ["a"; 1000];
        node.push(vec![part(numbered(sequence, 1), 0, 1000, 0)], &bodies);
    }
    assert_eq!(node.known_items(), 3000);
    node.push(vec![part(numbered(4, 4), 0, 1, 0)], &["b"]);
    let after = node.known_items();
    assert!(after > 2000, "{after}");
    let forgotten = node.push(vec![part(numbered(3, 4), 0, 1, 0)], &["a"]);
    assert_eq!(refused(&forgotten[0]), RequestRefusal::Forgotten, "the mark answers for them");
    let mut entries = 0;
    while node.log.machine.next_due() <= Some(node.log.machine.time()) {
        let before = node.known_items();
        node.log.append(Payload::Empty);
        assert!(before - node.known_items() <= 300);
        entries += 1;
    }
    assert_eq!(node.known_items(), 1);
    assert!(entries > 5, "{entries}");
}

#[test]
fn what_found_no_room_is_done_when_there_is_some() {
    let mut node = Node { log: Log::founded_with(|it| it.queues.messages_max = 1), sequence: 1 };
    node.log.register(9, 1);
    node.push(Vec::new(), &["a"]);
    let request = || vec![part(key("k"), 0, 1, 0)];
    let full = node.push(request(), &["b"]);
    assert!(matches!(full[0], PushOutcome::Refused(QueueRefusal::Full { .. })));
    let delivery = node.receive();
    node.settle(key("ack"), delivery, Verdict::Ack);
    id(&node.push(request(), &["b"])[0]);
}
