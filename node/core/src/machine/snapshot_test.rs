//! The state through bytes and back, and bytes that are not a snapshot.

use bytes::Bytes;

use super::machine_test::{Log, acquire, golden, origin, release};
use super::snapshot::{Chunk, Head, Record};
use super::*;
use crate::locks::{Acquire, AcquireOutcome, HoldId, LockItem, LockRecord, Mode, Owner};

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
        let operation = match below(4) {
            0 => release(&format!("o{}", below(30)), &format!("l{}", below(40))),
            shared => {
                let mode = if shared == 1 { Mode::Exclusive } else { Mode::Shared };
                let item = LockItem { name: format!("l{}", below(40)), mode, permits: 1 };
                let owner = Owner { principal: "p".to_owned(), name: format!("o{}", below(30)) };
                let ttl_ms = below(2) * below(500);
                Operation::AcquireLock(Acquire { owner, items: vec![item], ttl_ms })
            }
        };
        let low_water = sequence.saturating_sub(below(20)).max(2);
        let taken_at = log.machine.time();
        log.at(stamp).command(Origin { taken_at, ..origin(9, sequence, low_water) }, operation);
    }
    log
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
    for seed in 0..60 {
        let mut log = random(seed, 20 + seed * 10);
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
            let origin = Origin { taken_at: stamp, ..origin(9, 100_000 + step, 2) };
            let operation = acquire(&format!("o{step}"), &format!("l{}", step % 40));
            let command = wire::encode(&StoredCommand::V1(Command { origin, operation }));
            let payload = Payload::Command(command.into());
            let index = copy.applied().next();
            let entry = Entry { term: crate::types::Term(1), index, stamp, payload };
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
    // The same index, time, token and memory; only the way differs.
    direct.machine.sessions = detour.machine.sessions.clone();
    direct.machine.locks = LockTable::new(detour.machine.locks.next_token());
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
    let (applied, time) = (Index(5), ClusterTime(300));
    let head = Head { applied, time, founded: Some(founded), next_token: 9 };
    golden(
        &StoredChunk::V1(Chunk::Head(head)),
        "000005ac0201070101036f6e65904ee0a712904e904e800209",
    );
    let records = Bytes::from_static(&[1, 2, 3]);
    golden(&StoredChunk::V1(Chunk::Records { count: 2, records }), "00010203010203");
    golden(&StoredChunk::V1(Chunk::End { records: 300, checksum: 5 }), "0002ac0205");
}

#[test]
fn records_keep_their_bytes() {
    let (node, boot, count) = (NodeId(1), BootId(2), BootCount(3));
    golden(&Record::Boot { node, boot, count, low_water: 4 }, "0001020304");
    let id = HoldId { index: Index(5), position: 6 };
    let outcome = AcquireOutcome::Granted { hold: id, token: 7, remaining_ms: Some(8) };
    golden(
        &Record::Answer { sequence: 9, outcome: Outcome::Acquire(outcome) },
        "010903000506070108",
    );
    let owner = Owner { principal: "p".to_owned(), name: "o".to_owned() };
    let hold = LockRecord::Hold {
        name: "x".to_owned(),
        owner: owner.clone(),
        mode: Mode::Shared,
        id,
        token: 7,
        claim: true,
        ends_at: Some(ClusterTime(8)),
    };
    golden(&Record::Lock(hold), "020001780170016f01050607010108");
    let (name, place_ends_at) = ("x".to_owned(), ClusterTime(8));
    let waiter = LockRecord::Waiter { name, owner, mode: Mode::Exclusive, place_ends_at };
    golden(&Record::Lock(waiter), "020101780170016f0008");
}
