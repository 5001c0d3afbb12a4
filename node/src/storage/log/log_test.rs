#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)] // a panic is how a test says no

use std::fs as files;

use bytes::Bytes;
use dsync_core::raft::{Entry, HardState, Membership, Payload, SnapshotMeta};
use dsync_core::types::{ClusterTime, NodeId, Term};
use tempfile::TempDir;

use super::segment::SEGMENT_HEADER_BYTES;
use super::*;
use crate::storage::fs::faults;

const SEGMENT_BYTES: u64 = 2048;

fn options() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, salt: 77 }
}

fn entry_of(index: u64, term: u64, bytes: usize) -> Record {
    Record::Entry(Entry {
        term: Term(term),
        index: Index(index),
        stamp: ClusterTime(index * 10),
        payload: Payload::Command(Bytes::from(vec![index.to_le_bytes()[0]; bytes])),
    })
}

fn entry(index: u64, term: u64) -> Record {
    entry_of(index, term, 40)
}

fn hard_state(term: u64) -> Record {
    Record::HardState(HardState { term: Term(term), vote: Some(NodeId(term)), founded: true })
}

fn snapshot(index: u64, log_start: u64, discard_log: bool) -> Record {
    Record::Snapshot {
        meta: SnapshotMeta {
            index: Index(index),
            term: Term(1),
            stamp: ClusterTime(index * 10),
            membership: Membership::default(),
            boots: [].into(),
        },
        log_start: Index(log_start),
        log_start_prev_term: Term(1),
        discard_log,
    }
}

fn open(folder: &Path) -> (Log, Recovered) {
    Log::open(folder, options()).unwrap()
}

fn reopen(folder: &Path) -> Recovered {
    open(folder).1
}

fn write(log: &mut Log, records: &[Record]) {
    log.append(records).unwrap();
    log.sync().unwrap();
}

fn indexes(recovered: &Recovered) -> Vec<(u64, u64)> {
    recovered.entries.iter().map(|entry| (entry.index.0, entry.term.0)).collect()
}

fn up_to(last: u64, term: u64) -> Vec<(u64, u64)> {
    (1..=last).map(|index| (index, term)).collect()
}

fn segments(folder: &Path) -> Vec<u64> {
    segment::list(folder).unwrap()
}

/// Another folder with the same files, to be spoilt.
fn copy(folder: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in fs::list(folder).unwrap() {
        files::copy(folder.join(&name), to.path().join(&name)).unwrap();
    }
    to
}

fn change(file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = files::read(file).unwrap();
    change(&mut bytes);
    files::write(file, bytes).unwrap();
}

#[test]
fn what_was_written_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, empty) = open(folder.path());
    assert_eq!(empty, Recovered { log_start: Index(1), ..Recovered::default() });
    write(&mut log, &[hard_state(3), entry(1, 3), entry(2, 3)]);
    write(&mut log, &[entry(3, 3)]);
    drop(log);
    for _ in 0..3 {
        let recovered = reopen(folder.path());
        assert_eq!(indexes(&recovered), up_to(3, 3));
        assert_eq!(recovered.hard_state.vote, Some(NodeId(3)));
        assert_eq!(Record::Entry(recovered.entries[1].clone()), entry(2, 3));
    }
}

#[test]
fn record_replaces_all_entries_from_its_index_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &(1..=5).map(|index| entry(index, 1)).collect::<Vec<_>>());
    write(&mut log, &[entry(3, 2)]);
    drop(log);
    assert_eq!(indexes(&reopen(folder.path())), [(1, 1), (2, 1), (3, 2)]);
}

#[test]
fn entries_replaced_in_a_later_segment_stay_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &(1..=40).map(|index| entry(index, 1)).collect::<Vec<_>>());
    write(&mut log, &[entry(2, 2)]);
    write(&mut log, &(3..=40).map(|index| entry(index, 2)).collect::<Vec<_>>());
    assert!(segments(folder.path()).len() > 3);
    drop(log);
    let mut expected = up_to(40, 2);
    expected[0].1 = 1;
    assert_eq!(indexes(&reopen(folder.path())), expected);
}

#[test]
fn batch_and_record_larger_than_a_segment_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    log.maintain().unwrap();
    write(&mut log, &(1..=100).map(|index| entry(index, 1)).collect::<Vec<_>>());
    write(&mut log, &[entry_of(101, 1, 10_000), entry(102, 1), entry_of(103, 1, 5_000)]);
    write(&mut log, &[entry(104, 1)]);
    drop(log);
    let recovered = reopen(folder.path());
    assert_eq!(indexes(&recovered), up_to(104, 1));
    assert_eq!(Record::Entry(recovered.entries[100].clone()), entry_of(101, 1, 10_000));
}

#[test]
fn segments_below_the_log_start_are_deleted_and_the_rest_suffices() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[hard_state(7)]);
    for index in 1..=100 {
        write(&mut log, &[entry(index, 1)]);
        log.maintain().unwrap();
    }
    let before = segments(folder.path());
    write(&mut log, &[snapshot(95, 90, false)]);
    assert_eq!(segments(folder.path()), before, "nothing goes before maintenance");
    log.maintain().unwrap();
    let after = segments(folder.path());
    assert!(after.len() < 4 && after.len() < before.len(), "{before:?} {after:?}");
    drop(log);
    let recovered = reopen(folder.path());
    assert_eq!(recovered.log_start, Index(90));
    assert_eq!(indexes(&recovered), (90..=100).map(|index| (index, 1)).collect::<Vec<_>>());
    assert_eq!(recovered.hard_state.term, Term(7));
    assert_eq!(recovered.snapshot.unwrap().index, Index(95));
}

#[test]
fn segments_that_remain_after_a_deletion_prove_the_end_by_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1)]);
    // The order to void goes into the first segment, and the batch ends in the next one.
    write(&mut log, &[snapshot(50, 51, true), entry_of(51, 1, 1700)]);
    log.maintain().unwrap();
    assert!(!segments(folder.path()).contains(&1));
    drop(log);
    let recovered = reopen(folder.path());
    assert_eq!((recovered.log_start, indexes(&recovered)), (Index(51), vec![(51, 1)]));
}

#[test]
fn snapshot_that_voids_the_log_leaves_no_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &(1..=9).map(|index| entry(index, 1)).collect::<Vec<_>>());
    write(&mut log, &[snapshot(50, 51, true)]);
    write(&mut log, &[entry(51, 4)]);
    drop(log);
    let recovered = reopen(folder.path());
    assert_eq!(recovered.log_start, Index(51));
    assert_eq!(indexes(&recovered), [(51, 4)]);
}

#[test]
fn tail_torn_at_any_byte_of_the_last_batch_is_cut_and_the_log_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[hard_state(1), entry(1, 1)]);
    write(&mut log, &[entry(2, 1)]);
    let synced = log.end as usize;
    log.append(&[entry(3, 1), entry(4, 1), entry(5, 1)]).unwrap();
    let (end, file) = (log.end as usize, log.current_path());
    drop(log);
    let name = file.file_name().unwrap();
    for cut in synced..end {
        let copy = copy(folder.path());
        change(&copy.path().join(name), |bytes| bytes[cut..].fill(0));
        let (mut log, recovered) = open(copy.path());
        let kept = recovered.entries.len() as u64;
        assert!((2..=5).contains(&kept), "cut at {cut}");
        assert_eq!(indexes(&recovered), up_to(kept, 1), "cut at {cut}");
        assert!(kept < 5 || cut >= end - 8, "cut at {cut}");
        write(&mut log, &[entry(kept + 1, 2)]);
        drop(log);
        let again = reopen(copy.path());
        assert_eq!(again.entries[..kept as usize], recovered.entries, "cut at {cut}");
        assert_eq!(indexes(&again).last(), Some(&(kept + 1, 2)), "cut at {cut}");
    }
}

#[test]
fn records_beyond_a_hole_never_count() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1), entry(2, 1), entry(3, 1)]);
    let hole = log.end as usize;
    log.append(&[entry(2, 2), hard_state(9), entry(3, 2)]).unwrap();
    let (end, file) = (log.end as usize, log.current_path());
    drop(log);
    for at in (hole..end - 64).step_by(64) {
        let copy = copy(folder.path());
        change(&copy.path().join(file.file_name().unwrap()), |bytes| bytes[at..at + 64].fill(0));
        let recovered = reopen(copy.path());
        let found = indexes(&recovered);
        let expected = [up_to(3, 1), vec![(1, 1), (2, 2)]];
        assert!(expected.contains(&found), "hole at {at}: {found:?}");
        assert!(found.len() == 2 || recovered.hard_state.term == Term(0), "hole at {at}");
    }
}

/// Found by power cuts of whole nodes: the second batch stated the beginning of a segment whose first
/// frame was as unsynced as itself, and its loss was reported as damage.
#[test]
fn second_batch_before_the_first_sync_of_a_segment_promises_nothing_of_that_segment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry_of(1, 1, 500)]);
    log.append(&[entry_of(2, 1, 1500)]).unwrap();
    let second = log.end as usize;
    log.append(&[entry(3, 1)]).unwrap();
    let file = log.current_path();
    drop(log);
    assert_eq!(segments(folder.path()).len(), 2);
    for lost in [SEGMENT_HEADER_BYTES, second - 64] {
        let copy = copy(folder.path());
        change(&copy.path().join(file.file_name().unwrap()), |bytes| bytes[lost..second].fill(0));
        assert_eq!(indexes(&reopen(copy.path())), up_to(1, 1), "lost from {lost}");
    }
}

#[test]
fn flipped_bit_in_any_byte_below_the_stated_end_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    for index in 1..=30 {
        write(&mut log, &[hard_state(index), entry(index, index)]);
    }
    log.write_end_mark().unwrap();
    let stated = log.end - frame::END_MARK_BYTES as u64;
    drop(log);
    assert!(segments(folder.path()).len() >= 3);
    let mut flipped = 0;
    for at in 0..segments(folder.path()).len() {
        let number = segments(folder.path())[at];
        let file = segment::path(folder.path(), number);
        let used = match segments(folder.path()).get(at + 1) {
            Some(next) => start_of(folder.path(), *next).offset,
            None => stated,
        };
        for byte in 0..usize::try_from(used).unwrap() {
            change(&file, |bytes| bytes[byte] ^= 1 << (byte % 8));
            let error = Log::open(folder.path(), options()).err();
            let Some(LogError::Damage { file: named, offset, .. }) = &error else {
                panic!("segment {number} byte {byte}: {error:?}");
            };
            assert_eq!(*named, file, "segment {number} byte {byte}");
            assert!(*offset as usize <= byte && byte < *offset as usize + 160);
            change(&file, |bytes| bytes[byte] ^= 1 << (byte % 8));
            flipped += 1;
        }
    }
    assert!(flipped > 4000, "{flipped}");
    assert_eq!(reopen(folder.path()).entries.len(), 30, "refusing changed nothing");
}

fn start_of(folder: &Path, number: u64) -> Position {
    let bytes = files::read(segment::path(folder, number)).unwrap();
    let seal = segment::read_header(&bytes, number).unwrap().seal;
    frame::parse(&bytes, seal, SEGMENT_HEADER_BYTES).unwrap().stated_end().unwrap()
}

#[test]
fn damage_names_file_offset_and_entry() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1), entry(2, 1)]);
    let third = log.end + frame::END_MARK_BYTES as u64;
    write(&mut log, &[entry(3, 1)]);
    write(&mut log, &[entry(4, 1)]);
    let file = log.current_path();
    drop(log);
    change(&file, |bytes| bytes[usize::try_from(third).unwrap() + 40] ^= 1);
    let text = Log::open(folder.path(), options()).unwrap_err().to_string();
    assert!(text.contains(&file.display().to_string()), "{text}");
    assert!(text.contains(&format!("byte {third}, at or after entry 3")), "{text}");
}

#[test]
fn missing_segment_is_damage_whichever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    for index in 1..=60 {
        write(&mut log, &[entry(index, 1)]);
    }
    log.write_end_mark().unwrap();
    drop(log);
    let numbers = segments(folder.path());
    assert!(numbers.len() >= 4);
    for number in &numbers[..numbers.len() - 1] {
        let copy = copy(folder.path());
        files::remove_file(segment::path(copy.path(), *number)).unwrap();
        let error = Log::open(copy.path(), options()).err();
        assert!(matches!(error, Some(LogError::Damage { .. })), "{number}: {error:?}");
    }
}

/// Damage of that file, from that byte on.
fn assert_damage(folder: &Path, file: &Path, at: u64, case: &str) {
    let error = Log::open(folder, options()).err();
    let Some(LogError::Damage { file: named, offset, .. }) = &error else {
        panic!("{case}: {error:?}");
    };
    assert_eq!((named.as_path(), *offset), (file, at), "{case}");
}

#[test]
fn a_newest_segment_that_lost_its_second_half_is_damage() {
    for (idle, prepared) in [(false, false), (false, true), (true, false), (true, true)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut log, _) = open(folder.path());
        for index in 1..=40 {
            write(&mut log, &[entry(index, 1)]);
        }
        if prepared {
            log.maintain().unwrap();
        }
        if idle {
            log.write_end_mark().unwrap();
        }
        let (file, half) = (log.current_path(), log.end / 2);
        drop(log);
        change(&file, |bytes| bytes.truncate(half as usize));
        assert_damage(folder.path(), &file, half, &format!("idle {idle}, prepared {prepared}"));
    }
}

#[test]
fn what_was_there_at_an_idle_moment_and_reads_as_zeros_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    for index in 1..=40 {
        write(&mut log, &[entry(index, 1)]);
    }
    log.state_end().unwrap();
    let (file, half) = (log.current_path(), log.end as usize / 2);
    drop(log);
    let whole = copy(folder.path());
    change(&file, |bytes| bytes[half..].fill(0));
    let error = Log::open(folder.path(), options()).err();
    let Some(LogError::Damage { file: named, offset, .. }) = &error else { panic!("{error:?}") };
    assert_eq!(*named, file);
    assert!((64..=half as u64).contains(offset), "{offset} of {half}");

    // Also when the newest segment has gone altogether.
    let gone = whole.path().join(file.file_name().unwrap());
    files::remove_file(&gone).unwrap();
    assert_damage(whole.path(), &gone, 64, "newest removed");
}

#[test]
fn a_segment_missing_below_a_prepared_one_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    for index in 1..=40 {
        write(&mut log, &[entry(index, 1)]);
    }
    log.maintain().unwrap();
    let file = log.current_path();
    drop(log);
    files::remove_file(&file).unwrap();
    assert_damage(folder.path(), &file, 0, "current removed");
}

#[test]
fn the_log_goes_on_after_many_idle_moments_and_a_torn_statement_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    for index in 1..=10 {
        write(&mut log, &[entry(index, 1)]);
        log.state_end().unwrap();
    }
    drop(log);
    assert_eq!(indexes(&reopen(folder.path())), up_to(10, 1));
    for slot in [0, 4096] {
        let copy = copy(folder.path());
        change(&end_file::path(copy.path()), |bytes| bytes[slot + 30] ^= 1);
        let (mut log, recovered) = open(copy.path());
        assert_eq!(indexes(&recovered), up_to(10, 1));
        write(&mut log, &[entry(11, 1)]);
        log.state_end().unwrap();
        drop(log);
        assert_eq!(indexes(&reopen(copy.path())), up_to(11, 1));
    }
    change(&end_file::path(folder.path()), |bytes| {
        (bytes[30], bytes[4096 + 30]) = (bytes[30] ^ 1, bytes[4096 + 30] ^ 1);
    });
    assert_damage(folder.path(), &end_file::path(folder.path()), 0, "both slots");
}

#[test]
fn unstated_tail_is_written_again_to_a_fresh_segment_before_it_counts() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1)]);
    write(&mut log, &[entry(2, 1)]);
    let (old, stated) = (log.current_path(), log.end);
    log.append(&[entry(3, 1)]).unwrap();
    drop(log);
    // As if the kernel had held the tail in memory only: gone from the old file after recovery.
    let (log, recovered) = open(folder.path());
    assert_eq!(indexes(&recovered), up_to(3, 1));
    assert_ne!(log.current_path(), old);
    drop(log);
    assert!(files::metadata(&old).unwrap().len() <= stated, "the old tail is gone");
    assert_eq!(indexes(&reopen(folder.path())), up_to(3, 1));
}

#[test]
fn clean_stop_is_continued_in_place_so_restarts_take_no_room() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1)]);
    drop(log);
    let first = open(folder.path()).0.current_path();
    for _ in 0..20 {
        assert_eq!(open(folder.path()).0.current_path(), first);
    }
    assert!(segments(folder.path()).len() <= 2);
}

#[test]
fn interrupted_recovery_is_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1)]);
    log.append(&[entry(2, 1), entry(3, 1)]).unwrap();
    drop(log);
    let mut operations = 0;
    loop {
        let copy = copy(folder.path());
        faults::set_operations_left(Some(operations));
        let outcome = Log::open(copy.path(), options());
        faults::set_operations_left(None);
        assert_eq!(indexes(&reopen(copy.path())), up_to(3, 1), "after {operations} operations");
        if outcome.is_ok() {
            break;
        }
        operations += 1;
    }
    assert!(operations > 10, "{operations}");
}

#[test]
fn full_disk_refuses_a_batch_whole_and_takes_it_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    assert_eq!(log.maintain().unwrap(), Space::Ready);
    faults::set_space_bytes(Some(SEGMENT_BYTES / 2));
    let mut last = 0;
    let refused = loop {
        match log.append(&[entry(last + 1, 1)]) {
            Ok(()) => log.sync().unwrap(),
            Err(error) => break error,
        }
        assert!(log.maintain().is_ok());
        last += 1;
    };
    assert!(matches!(refused, LogError::SpaceShort { .. }), "{refused}");
    assert!(last > 20, "both segments were filled: {last}");
    assert_eq!(log.maintain().unwrap(), Space::Short);
    assert!(matches!(log.append(&[entry(last + 1, 1)]), Err(LogError::SpaceShort { .. })));
    faults::set_space_bytes(None);
    write(&mut log, &[entry(last + 1, 1)]);
    assert_eq!(log.maintain().unwrap(), Space::Ready);
    drop(log);
    assert_eq!(indexes(&reopen(folder.path())), up_to(last + 1, 1));
}

#[test]
fn full_disk_does_not_keep_a_node_down() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1)]);
    log.append(&[entry(2, 1)]).unwrap();
    drop(log);
    faults::set_space_bytes(Some(1000));
    let (mut log, recovered) = open(folder.path());
    assert_eq!(indexes(&recovered), up_to(2, 1));
    assert!(matches!(log.append(&[entry(3, 1)]), Err(LogError::SpaceShort { .. })));
    faults::set_space_bytes(None);
    write(&mut log, &[entry(3, 1)]);
    drop(log);
    assert_eq!(indexes(&reopen(folder.path())), up_to(3, 1));
}

#[test]
fn failed_sync_poisons_the_log_for_good() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    log.append(&[entry(1, 1)]).unwrap();
    faults::set_sync_fails(true);
    assert!(log.sync().is_err());
    faults::set_sync_fails(false);
    assert!(log.sync().is_err(), "a second sync must not succeed");
    assert!(matches!(log.append(&[entry(2, 1)]), Err(LogError::Sync(_))));
    assert!(log.write_end_mark().is_err());
    assert!(matches!(log.maintain(), Err(LogError::Sync(_))));
}

#[test]
fn bytes_that_imitate_the_log_inside_a_command_are_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (mut log, _) = open(folder.path());
    write(&mut log, &[entry(1, 1)]);
    let mut forged = Vec::new();
    for offset in (0..SEGMENT_BYTES).step_by(8) {
        let stated = Position { segment: 9, offset };
        let seal = frame::Seal { salt: 0, segment: 1 };
        frame::push_statement(
            &mut forged,
            offset,
            seal,
            Kind::EndMark,
            (Index(9), Term(9)),
            stated,
        );
    }
    forged.truncate(1200);
    let torn = log.end as usize;
    let command = Payload::Command(Bytes::from(forged));
    let (term, index, stamp) = (Term(1), Index(2), ClusterTime(20));
    log.append(&[Record::Entry(Entry { term, index, stamp, payload: command })]).unwrap();
    let file = log.current_path();
    drop(log);
    change(&file, |bytes| bytes[torn] ^= 1);
    assert_eq!(indexes(&reopen(folder.path())), up_to(1, 1));
}
