//! The state through bytes and back, and bytes that are not a snapshot.

use bytes::Bytes;

use super::machine_test::{Log, acquire, golden, origin, release};
use super::snapshot::{Chunk, Head, Record};
use super::*;
use crate::audit::AuditHead;
use crate::locks::{
    Acquire, AcquireOutcome, Attachment, ForceRelease, HoldId, HoldRef, LockItem, LockOperation,
    LockOutcome, Mode, Owner, Release, Renew, RenewAll, Upgrade,
};
use crate::queue::{
    BodyKind, Configure, DeliveryRef, MessageId, PushItem, Receipt, Receive, Receiver, ReceiverId,
    SettleItem, TopicChange, Verdict,
};
use crate::types::{BootId, Term};

/// A small state with one of everything.
fn small() -> Machine {
    let mut log = Log::founded();
    log.register(9, 1);
    log.at(5).command(origin(9, 2, 2), acquire("a", "x"));
    log.command(origin(9, 3, 2), acquire("b", "x"));
    log.command(origin(9, 4, 3), acquire("c", "x"));
    log.command(origin(9, 5, 3), release("a", "x"));
    log.machine
}

/// A state that random commands made, of about `steps` of them.
fn random(seed: u64, steps: u64) -> Log {
    let mut log = Log::founded();
    log.register(9, 1);
    let mut dice = seed;
    let mut below = |end: u64| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % end
    };
    let mut stamp = 0;
    for sequence in 2..steps + 2 {
        stamp += below(3);
        let operation = operation(seed % 2 == 1, sequence, &mut below);
        let request = (below(3) == 0).then(|| match below(2) {
            0 => RequestId::Key(format!("k{}", below(20))),
            _ => {
                let (client, number) = (below(3), 1 + sequence / 3);
                let low_water = number.saturating_sub(below(9)).max(1);
                RequestId::Numbered { client, sequence: number, low_water }
            }
        });
        let low_water = sequence.saturating_sub(below(20)).max(2);
        let taken_at = log.machine.active_time();
        let origin = Origin { taken_at, ..origin(9, sequence, low_water) };
        log.at(stamp).request(origin, request, operation);
    }
    log
}

/// Anything that may stand in a log. In a *tight* world everybody is in everybody's way.
fn operation(tight: bool, number: u64, below: &mut impl FnMut(u64) -> u64) -> Operation {
    let (owners, locks, others) = if tight { (6, 5, 3) } else { (12, 16, 16) };
    let owner = Owner { principal: "p".to_owned(), name: format!("o{}", below(owners)) };
    let name = format!("l{}", below(locks));
    let attachment = (below(2) == 0).then_some(Attachment { boot: BootId(9), number });
    let recent = if tight { 30 } else { 300 };
    let id = HoldId { index: Index((1 + number).saturating_sub(below(recent))), position: 0 };
    let hold = HoldRef { principal: "p".to_owned(), hold: id, name: None };
    let (ttl_ms, queue) = (Some(below(2) * below(500)), below(4) > 0);
    match below(22) {
        16.. => queue_operation(number, below),
        0 => Operation::lock(LockOperation::Release(Release { owner, name })),
        1 => Operation::lock(LockOperation::ReleaseHold(hold)),
        2 => Operation::lock(LockOperation::Renew(Renew { hold, ttl_ms })),
        3 => {
            Operation::lock(LockOperation::RenewAll(RenewAll { owner, ttl_ms, expected: vec![id] }))
        }
        4 | 5 => {
            Operation::lock(LockOperation::Upgrade(Upgrade { hold, ttl_ms, queue, attachment }))
        }
        6 => Operation::lock(LockOperation::Downgrade(hold)),
        7 => Operation::lock(LockOperation::Leave(Attachment {
            boot: BootId(9),
            number: below(500),
        })),
        8 => Operation::lock(LockOperation::Attach(Attachment {
            boot: BootId(9),
            number: below(500),
        })),
        9 if below(3) == 0 => Operation::Node(NodeOperation::LoseListeners(BootId(9))),
        10 => Operation::Node(NodeOperation::ResumeListeners),
        11 if below(3) == 0 => {
            let (principal, reason, now) = ("root".to_owned(), "why".to_owned(), below(2) == 0);
            Operation::lock(LockOperation::Force(ForceRelease {
                principal,
                name,
                hold: None,
                reason,
                now,
            }))
        }
        _ => {
            let item = |name: String, how: u64| LockItem {
                name,
                mode: [Mode::Exclusive, Mode::Shared, Mode::Permits][usize::try_from(how).unwrap()],
                permits: 1,
                permits_max: if how == 2 { 2 } else { 1 },
            };
            let mut items = vec![item(name, below(3))];
            if below(4) == 0 {
                items.push(item(format!("m{}", below(others)), below(3)));
            }
            Operation::lock(LockOperation::Acquire(Acquire {
                owner,
                items,
                ttl_ms,
                queue,
                attachment,
            }))
        }
    }
}

/// Anything that may be asked of queues, most of it by request ids.
fn queue_operation(number: u64, below: &mut impl FnMut(u64) -> u64) -> Operation {
    let topic = format!("t{}", below(2));
    let principal = || "p".to_owned();
    let index = Index((1 + number).saturating_sub(below(30)));
    let message = MessageId { index, position: 0 };
    let operation = match below(8) {
        0..4 => QueueOperation::Push(Push {
            principal: principal(),
            topic,
            unlimited_deliveries: false,
            items: vec![PushItem {
                body: format!("{number}").into(),
                kind: BodyKind::Json,
                headers: vec![("h".to_owned(), "v".to_owned())],
                delay_ms: below(3) * 100,
                ttl_ms: Some(below(2) * 1_000),
                priority: 0,
                group: (below(3) == 0).then(|| "g".to_owned()),
                dedupe_key: (below(3) == 0).then(|| format!("d{}", below(5))),
            }],
        }),
        4 | 5 => {
            let id = ReceiverId { boot: BootId(9), number };
            let (max, visibility_ms) = (2, Some(200));
            let receiver = Receiver { id, consumer: None, max, max_bytes: 1_000, visibility_ms };
            let (sub_queue, receivers) = (SubQueue::Main, vec![receiver]);
            QueueOperation::Receive(Receive { topic, sub_queue, receivers })
        }
        6 => {
            let index = Index((1 + number).saturating_sub(below(5)));
            let receipt = Receipt { message, index, position: 0, boot: BootId(9) };
            let delivery = DeliveryRef::Receipt(receipt);
            let verdict = Verdict::Reject { reason: "r".to_owned() };
            let items = vec![SettleItem { delivery, verdict }];
            QueueOperation::Settle(Settle { topic, items })
        }
        _ => {
            let change = TopicChange { paused: Some(below(2) == 0), ..TopicChange::default() };
            QueueOperation::Configure(Configure { principal: principal(), topic, change })
        }
    };
    let request = match below(3) {
        0 => RequestId::Key(format!("q{}", below(20))),
        _ => RequestId::Numbered { client: below(3), sequence: number, low_water: 1 + number / 2 },
    };
    let part = RequestItems { principal: principal(), request, first: 0, count: 1, position: 0 };
    let requests = if below(2) == 0 { vec![part] } else { Vec::new() };
    Operation::Queue { requests, operation }
}

fn bytes_of(machine: &Machine) -> Vec<u8> {
    machine.clone().snapshot_chunks().flatten().collect()
}

fn restore(bytes: &[u8], piece: usize) -> Result<Machine, RestoreError> {
    let mut restore = Restore::new();
    for piece in bytes.chunks(piece) {
        restore.push(piece)?;
    }
    restore.finish()
}

#[test]
fn random_states_survive_the_round_trip_and_go_on_alike() {
    for seed in 0..120 {
        let mut log = random(seed, 20 + seed * 5);
        let bytes = bytes_of(&log.machine);
        let piece = 1 + usize::try_from(seed).unwrap() * 97;
        let mut copy = restore(&bytes, piece).unwrap();
        copy.check_invariants().unwrap();
        assert_eq!(copy.hash(), log.machine.hash());
        assert_eq!(bytes_of(&copy), bytes);
        assert_eq!(copy.next_due(), log.machine.next_due());
        // Behaviour, not only bytes: the same entries have the same effects on both.
        let time = log.machine.time();
        for step in 0..50 {
            let stamp = time.plus(step * 300);
            let taken_at = log.machine.active_time();
            let origin = Origin { taken_at, ..origin(9, 100_000 + step, 2) };
            let operation = acquire(&format!("o{step}"), &format!("l{}", step % 40));
            let command = wire::encode(&StoredCommand::V1(Command { origin, operation }));
            let payload = Payload::Command(command.into());
            let index = copy.applied().next();
            let entry = Entry { term: Term(1), index, stamp, payload };
            assert_eq!(copy.apply(&entry).answer, log.machine.apply(&entry).answer);
        }
        assert_eq!(copy.hash(), log.machine.hash());
    }
}

#[test]
fn a_machine_before_its_founding_has_a_snapshot_too() {
    let machine = Machine::default();
    assert_eq!(restore(&bytes_of(&machine), 1).unwrap().hash(), machine.hash());
}

#[test]
fn equal_states_have_equal_hashes_however_they_came_about() {
    let mut detour = Log::founded();
    let mut direct = Log::founded();
    for log in [&mut detour, &mut direct] {
        log.register(9, 1);
    }
    for (sequence, name) in (2..).zip(["m", "c", "x", "a", "k"]) {
        detour.command(origin(9, sequence, sequence), acquire("a", name));
    }
    for (sequence, name) in (7..).zip(["k", "a", "x", "c", "m"]) {
        detour.command(origin(9, sequence, sequence), release("a", name));
    }
    while direct.machine.applied() < detour.machine.applied() {
        direct.append(Payload::Empty);
    }
    // The same index, time, token, memory and trail; only the way differs.
    direct.machine.sessions = detour.machine.sessions.clone();
    let (_, tokens) = detour.machine.locks.record_after(None).unwrap();
    direct.machine.locks = LockTable::default();
    direct.machine.locks.restore(&tokens).unwrap();
    direct.machine.audit = detour.machine.audit;
    direct.machine.hash_clock = detour.machine.hash_clock;
    assert_eq!(direct.machine.hash(), detour.machine.hash());
}

#[test]
fn chunks_are_of_bounded_size_and_as_many_as_needed() {
    let mut log = Log::founded();
    log.register(9, 1);
    for sequence in 2..4_000 {
        let name = format!("a-lock-with-a-name-of-some-length-{sequence}");
        log.command(origin(9, sequence, sequence), acquire("a", &name));
    }
    let chunks: Vec<Bytes> = log.machine.clone().snapshot_chunks().collect();
    assert!(chunks.len() > 4, "{}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.len() <= 65 * 1024));
    assert!(chunks[1].len() > 63 * 1024, "a chunk is filled before the next");
    let bytes: Vec<u8> = chunks.into_iter().flatten().collect();
    assert_eq!(restore(&bytes, 4_096).unwrap().hash(), log.machine.hash());
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = bytes_of(&small());
    assert!(restore(&bytes, 1_000).is_ok());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let error = restore(&flipped, 1_000).unwrap_err();
            assert!(matches!(error, RestoreError::Damaged { .. }), "byte {at} bit {bit}: {error}");
        }
    }
}

#[test]
fn every_truncation_is_noticed() {
    let bytes = bytes_of(&small());
    for length in 0..bytes.len() {
        let error = restore(&bytes[..length], 7).unwrap_err();
        assert!(matches!(error, RestoreError::Truncated { .. }), "{length} bytes: {error}");
    }
}

#[test]
fn a_chunk_that_is_missing_doubled_or_out_of_order_is_noticed() {
    let chunks: Vec<Bytes> = random(1, 3_000).machine.snapshot_chunks().collect();
    assert!(chunks.len() >= 3);
    for wrong in [
        &chunks[1..],
        &[&chunks[..1], &chunks[2..]].concat(),
        &[&chunks[..2], &chunks[1..]].concat(),
    ] {
        let bytes: Vec<u8> = wrong.iter().flatten().copied().collect();
        assert!(restore(&bytes, 10_000).is_err());
    }
}

#[test]
fn bytes_after_the_end_are_refused() {
    let mut bytes = bytes_of(&small());
    bytes.push(0);
    assert_eq!(restore(&bytes, 9).unwrap_err(), RestoreError::TrailingBytes);
}

#[test]
fn another_format_is_refused_by_its_number() {
    let payload = [1_u8, 0, 0];
    let mut bytes = 3_u32.to_le_bytes().to_vec();
    bytes.extend(crc32c::crc32c(&payload).to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes.extend(payload);
    assert_eq!(restore(&bytes, 99).unwrap_err(), RestoreError::Version { chunk: 0, found: 2 });
}

#[test]
fn an_error_is_said_again_and_nothing_is_built() {
    let mut restore = Restore::new();
    let error = restore.push(&[7; 99]).unwrap_err();
    assert_eq!(restore.push(&bytes_of(&small())).unwrap_err(), error);
    assert_eq!(restore.finish().unwrap_err(), error);
}

#[test]
fn chunks_keep_their_bytes() {
    let founded = Founded {
        cluster_id: ClusterId(7),
        founders: [(NodeId(1), NodeName("one".to_owned()))].into(),
        settings: Settings::default(),
    };
    let (applied, time, active) = (Index(5), ClusterTime(300), ActiveTime(200));
    let audit = AuditHead { count: 6, hash: [7; 32] };
    let hash_clock = HashClock::default();
    let mut ring = RingTable::default();
    let process = Process { node: NodeId(1), boot: BootId(2) };
    let rules = Settings::default().caches;
    let turn = RingTurn { index: Index(4), term: Term(1), now: ClusterTime(300), rules };
    ring.apply(&turn, process, Some(&NodeName("one".to_owned())), &RingOperation::Enter);
    let head = Head { applied, time, active, founded: Some(founded), audit, ring, hash_clock };
    golden(
        &StoredChunk::V1(Chunk::Head(Box::new(head))),
        "000005ac02c80101070101036f6e65e0a712c0843de0a712904e904e904e8002e0d403e8078090fbd3098001c0843dc096b1028002904ec0843d8080808001808010e8078090dee67580dccc148008c0843d80b89929c09a0c8002e807b0ea011402e807e0d4030a0000000000000000e0a712e807dc0be807028827e807e0d403060707070707070707070707070707070707070707070707070707070707070707040101010200036f6e65ac020000010101020000ac020000",
    );
    let records = Bytes::from_static(&[1, 2, 3]);
    golden(&StoredChunk::V1(Chunk::Records { count: 2, records }), "00010203010203");
    golden(&StoredChunk::V1(Chunk::End { records: 300, checksum: 5 }), "0002ac0205");
}

#[test]
fn records_keep_their_bytes() {
    let (node, boot, count) = (NodeId(1), BootId(2), BootCount(3));
    golden(&Record::Boot { node, boot, count, draining: false, low_water: 4 }, "000102030004");
    let id = HoldId { index: Index(5), position: 6 };
    let outcome = AcquireOutcome::Granted { hold: id, tokens: vec![7], remaining_ms: Some(8) };
    let outcome = Outcome::Lock(LockOutcome::Acquire(outcome));
    let applied = Applied { outcome, index: Index(11), stamp: ClusterTime(12) };
    golden(&Record::Answer { sequence: 9, applied }, "01090400000506010701080b0c");
    // One of every kind of lock record, made by a table.
    let mut log = Log::founded();
    log.register(9, 1);
    let attachment = |number| Some(Attachment { boot: BootId(9), number });
    let ask = |owner: &str, name: &str, mode: Mode, number: u64| {
        let owner = Owner { principal: "p".to_owned(), name: owner.to_owned() };
        let items = vec![LockItem { name: name.to_owned(), mode, permits: 1, permits_max: 1 }];
        let (ttl_ms, attachment) = (Some(300), attachment(number));
        Operation::lock(LockOperation::Acquire(Acquire {
            owner,
            items,
            ttl_ms,
            queue: true,
            attachment,
        }))
    };
    log.command(origin(9, 2, 2), ask("a", "x", Mode::Shared, 1));
    log.command(origin(9, 3, 2), ask("b", "x", Mode::Shared, 2));
    let hold = HoldRef {
        principal: "p".to_owned(),
        hold: HoldId { index: Index(3), position: 0 },
        name: None,
    };
    let wish = Upgrade { hold, ttl_ms: Some(5), queue: true, attachment: attachment(3) };
    log.command(origin(9, 4, 2), Operation::lock(LockOperation::Upgrade(wish)));
    log.command(origin(9, 5, 2), ask("c", "x", Mode::Exclusive, 4));
    let force = ForceRelease {
        principal: "root".to_owned(),
        name: "x".to_owned(),
        hold: Some(HoldId { index: Index(4), position: 0 }),
        reason: "r".to_owned(),
        now: false,
    };
    let request = RequestId::Numbered { client: 5, sequence: 6, low_water: 6 };
    log.request(origin(9, 6, 2), Some(request), Operation::lock(LockOperation::Force(force)));
    log.command(origin(9, 7, 2), Operation::Node(NodeOperation::LoseListeners(BootId(9))));
    let mut cursor = None;
    let mut all = String::new();
    while let Some((at, record)) = log.machine.locks.record_after(cursor) {
        all.push_str(&hex(&wire::encode(&Record::Lock(record))));
        all.push('\n');
        cursor = Some(at);
    }
    let mut cursor = None;
    while let Some((at, record)) = log.machine.requests.record_after(cursor.as_ref()) {
        all.push_str(&hex(&wire::encode(&Record::Request(record))));
        all.push('\n');
        cursor = Some(at);
    }
    push_and_fail(&mut log);
    let mut cursor = None;
    while let Some((at, record)) = log.machine.queues.record_after(cursor.as_ref()) {
        all.push_str(&hex(&wire::encode(&Record::Queue(record))));
        all.push('\n');
        cursor = Some(at);
    }
    let mut cursor = None;
    while let Some((at, record)) = log.machine.items.record_after(cursor.as_ref()) {
        all.push_str(&hex(&wire::encode(&Record::Item(record))));
        all.push('\n');
        cursor = Some(at);
    }
    assert_eq!(all, RECORDS);
}

/// A topic with a message that is dead, one that is in flight, and one of a group; a key; two items of
/// requests and a mark.
fn push_and_fail(log: &mut Log) {
    let send = |log: &mut Log, sequence, requests, operation| {
        log.command(origin(9, sequence, sequence), Operation::Queue { requests, operation })
    };
    let item = |group: Option<&str>, dedupe_key: Option<&str>| PushItem {
        body: Bytes::from_static(b"1"),
        kind: BodyKind::Json,
        headers: vec![("h".to_owned(), "v".to_owned())],
        delay_ms: 0,
        ttl_ms: Some(9_000),
        priority: 2,
        group: group.map(str::to_owned),
        dedupe_key: dedupe_key.map(str::to_owned),
    };
    let items = vec![item(None, None), item(None, Some("d")), item(Some("g"), None)];
    let (principal, topic) = ("p".to_owned(), "t".to_owned());
    let push = Push { principal: principal.clone(), topic, unlimited_deliveries: false, items };
    let part = |request, first| RequestItems {
        principal: principal.clone(),
        request,
        first,
        count: 1,
        position: first,
    };
    let numbered = RequestId::Numbered { client: 5, sequence: 6, low_water: 6 };
    let requests = vec![part(RequestId::Key("k".to_owned()), 0), part(numbered, 2)];
    send(log, 8, requests, QueueOperation::Push(push));
    let receiver = Receiver {
        id: ReceiverId { boot: BootId(9), number: 1 },
        consumer: None,
        max: 2,
        max_bytes: 1_000,
        visibility_ms: None,
    };
    let (topic, receivers) = ("t".to_owned(), vec![receiver]);
    let receive = Receive { topic, sub_queue: SubQueue::Main, receivers };
    let outcome = send(log, 9, Vec::new(), QueueOperation::Receive(receive));
    let Outcome::Queue(QueueOutcome::Received(received)) = outcome else { panic!("{outcome:?}") };
    let delivery = DeliveryRef::Receipt(received[0].receipts[0]);
    let verdict = Verdict::Reject { reason: "r".to_owned() };
    let (topic, items) = ("t".to_owned(), vec![SettleItem { delivery, verdict }]);
    send(log, 10, Vec::new(), QueueOperation::Settle(Settle { topic, items }));
}

/// Next token, lost process, holds with a wish and a revocation, wait; mark and settled request; a topic
/// with messages in flight and ready, a dead one, a group and a key; a mark and items of two requests.
const RECORDS: &str = "\
020065\n\
020109904e0100\n\
020203000170016101017801010064ac0201ac020000000001017805010903000000\n\
020204000170016201017801010064ac0201ac020000010109020101720000\n\
0203060001700163010178000100ac020109040000\n\
030104726f6f740506e0a712\n\
03000004726f6f74050640901b1c9db32e8bcf7e1a46f45db1d50304040001010400e0a712\n\
040001740900b0ea011402e807e0d4030a0000000000000000e0a712030002000000000100000000080002\n\
0401090101310001016801760200a84600020a0109010000b0ea010101a8460000\n\
04010902013100010168017602010167a8460000040001a8460000\n\
0401090001310001016801760200a8460000000001a846010201720100020172010001010100\n\
0402016706\n\
0403090001640901f9bff200d7afa3c8f95b3b116736fb25e0a712\n\
050101700506e0a712\n\
0500000170050602d231be6480e3d52769d14fb93623cb0600000902e0a712\n\
050001017006707573680a74016b009d763136f7f81047c97e6117fd8357be00000900e0a712\n\
";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
