#![allow(clippy::unwrap_used)] // a panic is how a test says no

//! The trail through restarts, jumps, crashes, full disks and its own bounds.

use dsync_core::audit::Event;
use std::ops::RangeInclusive;

use tempfile::TempDir;

use super::*;
use crate::audit::fixture::{Chain, numbers};
use crate::audit::line;
use crate::storage::fs::faults;

/// Segments of a few records each.
const SMALL: TrailOptions =
    TrailOptions { segment_bytes: 500, bytes_max: u64::MAX, age_max_ms: None, spare_bytes: 0 };

struct Bench {
    folder: TempDir,
    chain: Chain,
}

impl Bench {
    fn new(records: u64) -> Self {
        Self { folder: TempDir::new().unwrap(), chain: Chain::of(records) }
    }

    /// A node starts, whose state is that of a snapshot after record `from`.
    fn start(&self, options: TrailOptions, from: u64) -> Trail {
        let mut trail = Trail::open(self.folder.path(), options);
        trail.position(self.chain.head_at(from), 0);
        trail
    }

    fn apply(&self, trail: &mut Trail, numbers: RangeInclusive<u64>, wall_ms: u64) {
        trail.append(self.chain.slice(*numbers.start(), *numbers.end()), wall_ms);
    }

    /// What stands on the disk, read anew.
    fn on_disk(&self) -> Vec<u64> {
        numbers(Trail::open(self.folder.path(), SMALL).catalog(), &self.chain)
    }
}

fn gaps(trail: &Trail) -> Vec<(u64, u64)> {
    trail.catalog().own_gaps().into_iter().map(|gap| (gap.from, gap.to)).collect()
}

fn all(numbers: RangeInclusive<u64>) -> Vec<u64> {
    numbers.collect()
}

#[test]
fn what_is_appended_is_read_back_across_segments_and_restarts() {
    let bench = Bench::new(60);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=25, 1_000);
    assert!(trail.sync(1_000));
    drop(trail);
    let mut trail = bench.start(SMALL, 25);
    bench.apply(&mut trail, 26..=60, 2_000);
    assert!(trail.sync(2_000));
    assert!(trail.catalog().segments.len() > 5);
    assert_eq!(trail.catalog().segments.last().unwrap().end, bench.chain.head);
    assert_eq!(numbers(trail.catalog(), &bench.chain), all(1..=60));
    assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(1..=60)));
}

#[test]
fn an_unfinished_segment_is_continued_after_a_restart() {
    let bench = Bench::new(4);
    for number in 1..=4 {
        let mut trail = bench.start(SMALL, number - 1);
        bench.apply(&mut trail, number..=number, 0);
        trail.sync(0);
    }
    let trail = bench.start(SMALL, 4);
    assert_eq!((trail.catalog().segments.len(), bench.on_disk()), (1, all(1..=4)));
}

#[test]
fn what_is_applied_again_is_not_written_again() {
    let bench = Bench::new(40);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=40, 0);
    trail.sync(0);
    let written = trail.catalog().segments.clone();
    drop(trail);
    for from in 0..=40 {
        let mut trail = bench.start(SMALL, from);
        if from < 40 {
            bench.apply(&mut trail, from + 1..=40, 9);
        }
        trail.sync(9);
        assert_eq!((trail.catalog().segments.clone(), gaps(&trail)), (written.clone(), vec![]));
        assert_eq!(trail.catalog().stopped, None, "from {from}");
    }
}

#[test]
fn a_record_that_differs_from_the_one_applied_again_stops_the_trail_and_is_named() {
    for different in 1..=20 {
        let bench = Bench::new(20);
        let mut other = Chain::of(different - 1);
        other.head.hash[0] ^= u8::from(different == 1);
        let mut changed = crate::audit::fixture::event(different);
        let Event::Lock(event) = &mut changed else { panic!("it is about a lock") };
        event.owner.name.push('x');
        let (index, stamp) = (dsync_core::types::Index(1), dsync_core::types::ClusterTime(1));
        other.records.push(other.head.append(index, stamp, changed));
        other.grow(20 - different);
        let mut trail = bench.start(SMALL, 0);
        trail.append(&other.records, 0);
        trail.sync(0);
        drop(trail);
        let mut trail = bench.start(SMALL, 0);
        bench.apply(&mut trail, 1..=20, 0);
        let reason = trail.catalog().stopped.clone().unwrap_or_default();
        assert!(reason.contains(&format!("record {different} on this disk differs")), "{reason}");
        assert!(!trail.sync(0));
    }
}

#[test]
fn a_snapshot_of_another_history_is_noticed_at_the_start() {
    let bench = Bench::new(20);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=20, 0);
    trail.sync(0);
    for number in 1..=20 {
        let mut trail = Trail::open(bench.folder.path(), SMALL);
        let mut head = bench.chain.head_at(number);
        head.hash[31] ^= 1;
        trail.position(head, 0);
        assert!(trail.catalog().stopped.is_some(), "{number}");
    }
}

#[test]
fn a_jump_is_a_gap_until_the_skipped_records_are_applied_or_filled_in() {
    let bench = Bench::new(60);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=10, 0);
    trail.position(bench.chain.head_at(30), 0);
    assert_eq!(gaps(&trail), [(11, 30)]);
    bench.apply(&mut trail, 31..=40, 0);
    trail.flush(0);
    assert_eq!(gaps(&trail), [(11, 30)]);
    assert_eq!(trail.catalog().own_gaps()[0].hash, bench.chain.head_at(30).hash);
    trail.fill(&bench.chain.head_at(22), &bench.chain.page(23, 30), 0).unwrap();
    assert_eq!(gaps(&trail), [(11, 22)]);
    trail.sync(0);
    drop(trail);
    // A replay that begins within what is there, and runs through the gap.
    let mut trail = bench.start(SMALL, 5);
    bench.apply(&mut trail, 6..=60, 0);
    assert!(trail.sync(0));
    assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(1..=60)));
}

#[test]
fn only_a_page_that_the_chain_proves_is_filled_in() {
    let bench = Bench::new(60);
    let chain = &bench.chain;
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=10, 0);
    trail.position(chain.head_at(30), 0);
    bench.apply(&mut trail, 31..=40, 0);
    let (start, good) = (chain.head_at(10), chain.page(11, 30));
    let mut swapped = good.clone();
    swapped.swap(3, 4);
    let mut altered = good.clone();
    *altered[7].1.last_mut().unwrap() ^= 1;
    let mut short = good.clone();
    short.remove(0);
    // A record that might have been: only the chain tells that it was not.
    let mut forged = good.clone();
    let mut record = chain.slice(15, 15)[0].clone();
    let Event::Lock(event) = &mut record.event else { panic!("it is about a lock") };
    event.owner.name = "nobody".into();
    forged[4].1 = audit::encode(&record);
    for page in
        [swapped, altered, forged, short, chain.page(11, 29), chain.page(12, 30), Page::new()]
    {
        let refused = trail.fill(&start, &page, 0);
        assert!(matches!(refused, Err(TrailError::Unproven { .. })), "{refused:?}");
    }
    // Beyond the gap, or not at its end.
    for (from, to) in [(10, 30), (11, 31), (41, 45), (1, 10), (11, 20)] {
        let refused = trail.fill(&chain.head_at(from - 1), &chain.page(from, to), 0);
        assert!(matches!(refused, Err(TrailError::Unproven { .. })), "{from}-{to}: {refused:?}");
    }
    assert_eq!(gaps(&trail), [(11, 30)]);
    trail.fill(&start, &good, 0).unwrap();
    trail.sync(0);
    assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(1..=40)));
}

#[test]
fn a_proven_page_that_does_not_follow_what_is_here_says_that_this_disk_was_changed() {
    let bench = Bench::new(30);
    let mut trail = bench.start(SMALL, 0);
    let mut other = Chain::default();
    let (index, stamp) = (dsync_core::types::Index(1), dsync_core::types::ClusterTime(1));
    other.records.push(other.head.append(index, stamp, crate::audit::fixture::event(99)));
    other.grow(9);
    trail.append(&other.records, 0);
    trail.position(bench.chain.head_at(30), 0);
    let filled = trail.fill(&bench.chain.head_at(10), &bench.chain.page(11, 30), 0);
    assert!(matches!(filled, Err(TrailError::Differs { number: 10 })), "{filled:?}");
}

#[test]
fn the_oldest_segments_go_when_there_is_too_much_and_are_not_missed() {
    let bench = Bench::new(200);
    let options = TrailOptions { bytes_max: 5_000, ..SMALL };
    let mut trail = bench.start(options, 0);
    for number in 1..=200 {
        bench.apply(&mut trail, number..=number, number);
        trail.flush(number);
        trail.maintain(number);
        assert!(trail.catalog().bytes() <= 5_000 + 700, "{}", trail.catalog().bytes());
    }
    trail.sync(0);
    let floor = trail.catalog().floor;
    assert!(floor.count > 100 && floor == bench.chain.head_at(floor.count));
    assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(floor.count + 1..=200)));
    let files = fs::list(bench.folder.path()).unwrap().len();
    assert_eq!(files, trail.catalog().segments.len() + 1);
    // Deleted records are not written again when they are applied again.
    let mut trail = bench.start(options, 3);
    bench.apply(&mut trail, 4..=200, 0);
    assert_eq!((trail.catalog().floor, gaps(&trail)), (floor, vec![]));
    assert_eq!(trail.catalog().stopped, None);
}

#[test]
fn segments_go_when_their_last_record_is_too_old() {
    let bench = Bench::new(40);
    let options = TrailOptions { age_max_ms: Some(8_000), ..SMALL };
    let mut trail = bench.start(options, 0);
    bench.apply(&mut trail, 1..=20, 1_000);
    bench.apply(&mut trail, 21..=30, 5_000);
    trail.flush(5_000);
    trail.maintain(9_000);
    assert_eq!(trail.catalog().floor.count, 0);
    trail.maintain(9_001);
    // A segment older than an eighth of the age takes no more, so 1..=20 and 21..=30 are apart.
    assert_eq!(trail.catalog().floor.count, 20);
    trail.maintain(100_000);
    assert_eq!((trail.catalog().floor.count, gaps(&trail)), (30, vec![]));
    bench.apply(&mut trail, 31..=40, 100_000);
    trail.sync(100_000);
    assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(31..=40)));
}

#[test]
fn a_full_disk_is_a_gap_and_the_trail_goes_on_when_there_is_room() {
    let bench = Bench::new(80);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=20, 0);
    trail.flush(0);
    faults::set_space_bytes(Some(300));
    for number in 21..=40 {
        bench.apply(&mut trail, number..=number, 0);
        trail.flush(0);
    }
    assert!(trail.catalog().stopped.as_ref().is_some_and(|why| why.contains("no storage space")));
    trail.maintain(FULL_RETRY_MS - 1);
    bench.apply(&mut trail, 41..=41, 0);
    assert!(trail.catalog().stopped.is_some());
    faults::set_space_bytes(None);
    trail.maintain(FULL_RETRY_MS);
    bench.apply(&mut trail, 42..=80, 0);
    assert!(trail.sync(0));
    let [(from, 41)] = gaps(&trail)[..] else { panic!("{:?}", gaps(&trail)) };
    assert!((21..=25).contains(&from), "{from}");
    assert_eq!(bench.on_disk(), [all(1..=from - 1), all(42..=80)].concat());
    let page = bench.chain.page(from, 41);
    trail.fill(&bench.chain.head_at(from - 1), &page, 0).unwrap();
    assert_eq!(bench.on_disk(), all(1..=80));
}

#[test]
fn the_log_comes_first_where_the_disk_is_nearly_full() {
    let bench = Bench::new(80);
    let options = TrailOptions { spare_bytes: 2_000, ..SMALL };
    let mut trail = bench.start(options, 0);
    bench.apply(&mut trail, 1..=40, 0);
    trail.flush(0);
    let before = trail.catalog().bytes();
    // 700 short of what is to be left free and the next segment: the oldest segments go for it.
    faults::set_space_bytes(Some(1_800));
    trail.maintain(0);
    let (floor, bytes) = (trail.catalog().floor.count, trail.catalog().bytes());
    assert!(bytes <= before - 700 && bytes > before - 1_500, "{before} to {bytes}");
    assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(floor + 1..=40)));
    // With all but the newest gone and still too little, it writes no further segment.
    faults::set_space_bytes(Some(500));
    bench.apply(&mut trail, 41..=50, 0);
    trail.flush(0);
    assert!(trail.catalog().stopped.is_some());
    assert_eq!(trail.catalog().segments.len(), 1);
    faults::set_space_bytes(None);
    trail.maintain(FULL_RETRY_MS);
    bench.apply(&mut trail, 51..=80, 0);
    assert!(trail.sync(0));
    assert_eq!(gaps(&trail).len(), 1);
}

#[test]
fn a_failed_sync_stops_the_trail_until_the_next_start_which_fills_in() {
    let bench = Bench::new(30);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=2, 0);
    faults::set_sync_fails(true);
    assert!(!trail.sync(0));
    faults::set_sync_fails(false);
    trail.maintain(u64::MAX);
    bench.apply(&mut trail, 3..=30, 0);
    assert!(!trail.sync(0));
    drop(trail);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=30, 0);
    assert!(trail.sync(0));
    assert_eq!(bench.on_disk(), all(1..=30));
}

#[test]
fn a_crash_at_any_operation_leaves_what_a_replay_makes_whole() {
    let options = TrailOptions { bytes_max: 3_000, ..SMALL };
    let life = |bench: &Bench, from: u64| {
        let mut trail = bench.start(options, from);
        for number in from + 1..=50 {
            bench.apply(&mut trail, number..=number, number);
            trail.flush(number);
            if number % 7 == 0 {
                trail.sync(number);
            }
            trail.maintain(number);
        }
        trail.sync(50);
        trail
    };
    let mut crashes = 0;
    for operations in 0.. {
        let bench = Bench::new(50);
        faults::set_operations_left(Some(operations));
        drop(life(&bench, 0));
        let crashed = faults::is_cut();
        faults::set_operations_left(None);
        let trail = life(&bench, 0);
        assert_eq!(trail.catalog().stopped, None, "{operations}");
        let floor = trail.catalog().floor.count;
        assert_eq!((gaps(&trail), bench.on_disk()), (vec![], all(floor + 1..=50)), "{operations}");
        crashes += u64::from(crashed);
        if !crashed {
            break;
        }
    }
    assert!(crashes > 100, "{crashes}");
}

#[test]
fn a_file_that_is_not_what_it_is_named_for_is_set_aside_and_its_records_are_a_gap() {
    let bench = Bench::new(30);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=30, 0);
    trail.sync(0);
    let victim = trail.catalog().segments[2].clone();
    drop(trail);
    let mut bytes = std::fs::read(&victim.path).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&victim.path, &bytes).unwrap();
    let mut trail = bench.start(SMALL, 30);
    assert_eq!(gaps(&trail), [(victim.first(), victim.end.count)]);
    assert_eq!(std::fs::read(victim.path.with_extension("damaged")).unwrap(), bytes);
    let page = bench.chain.page(victim.first(), victim.end.count);
    trail.fill(&victim.start, &page, 0).unwrap();
    assert_eq!(bench.on_disk(), all(1..=30));
}

#[test]
fn two_segments_that_do_not_meet_in_one_head_stop_the_trail() {
    let bench = Bench::new(30);
    let mut trail = bench.start(SMALL, 0);
    bench.apply(&mut trail, 1..=30, 0);
    trail.sync(0);
    let victim = trail.catalog().segments[1].clone();
    drop(trail);
    let mut start = victim.start;
    start.hash[0] ^= 1;
    let mut bytes = std::fs::read(&victim.path).unwrap();
    bytes[..HEADER_BYTES].copy_from_slice(&frame::header(&start));
    std::fs::write(&victim.path, &bytes).unwrap();
    let trail = bench.start(SMALL, 30);
    let reason = trail.catalog().stopped.clone().unwrap_or_default();
    assert!(reason.contains(&format!("record {}", victim.start.count)), "{reason}");
    assert_ne!(line::hex(&start.hash), line::hex(&victim.start.hash));
}
