//! Power cuts at any file operation of the audit trail, on a disk that drops and tears what was not
//! synced.
//!
//! A trail lives many lives on one simulated disk: open, apply again from the last snapshot on, apply
//! more, jump as after an installed snapshot, fill gaps, delete what is too much, die. The rule that
//! ties it to the log is played too: a snapshot is taken only after a sync, and only what is behind it
//! is applied again.
//!
//! What must hold in every life: the trail runs; what is read is the chain's, record by record;
//! nothing is missing but what was deleted on purpose or jumped over; the check of the folder finds
//! nothing wrong.
//!
//! `DSYNC_CUTS` is the number of deaths (1,000); `DSYNC_SEED` runs one disk again.

#![allow(clippy::unwrap_used)] // a panic is how a test says no

use std::cell::RefCell;
use std::future::pending;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use dsync_core::audit::{AuditHead, AuditRecord, Event, encode};
use dsync_core::locks::{LockEvent, Owner, What};
use dsync_core::types::{ClusterTime, Index};
use dsync_node::audit::query::{Question, search};
use dsync_node::audit::verify::{Witness, verify_folder};
use dsync_node::audit::{Trail, TrailOptions};
use dsync_node::storage::fs::{self, faults};

const LIVES_PER_DISK: u64 = 10;
const FOLDER: &str = "/data/audit";

#[test]
fn no_record_behind_a_snapshot_is_lost_and_no_other_is_invented_whenever_the_power_goes() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("DSYNC_SEED") {
        println!("{:?}", run_disk(seed));
        return;
    }
    let disks = number("DSYNC_CUTS").unwrap_or(1_000).div_ceil(LIVES_PER_DISK);
    let mut total = Tally::default();
    (0..disks).for_each(|seed| total.add(&run_disk(seed)));
    println!("{total:?}");
    assert_eq!(total.cuts + total.kills, disks * LIVES_PER_DISK);
    // A test whose cuts all fall into the same place, or that never writes, proves nothing.
    assert!(total.cut_while_living > 0 && total.lost > 0 && total.kept_unsynced > 0, "{total:?}");
    assert!(total.filled > 0 && total.deleted > 0 && total.jumps > 0, "{total:?}");
}

/// What happened, over all disks.
#[derive(Clone, Debug, Default)]
struct Tally {
    cuts: u64,
    kills: u64,
    cut_while_living: u64,
    /// Records that were written and not synced, and were gone or there after a death.
    lost: u64,
    kept_unsynced: u64,
    filled: u64,
    deleted: u64,
    jumps: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.cut_while_living += other.cut_while_living;
        self.lost += other.lost;
        self.kept_unsynced += other.kept_unsynced;
        self.filled += other.filled;
        self.deleted += other.deleted;
        self.jumps += other.jumps;
    }
}

/// All lives on one disk.
fn run_disk(seed: u64) -> Tally {
    let mut random = Random(seed);
    let mut builder = turmoil::Builder::new();
    builder.rng_seed(seed).simulation_duration(Duration::from_secs(3600));
    builder.fs().block_size(random.pick(&[1, 8, 64]));
    builder.fs().sync_probability(random.pick(&[0.0, 0.0, 0.02]));
    let mut sim = builder.build();
    let witness = Rc::new(RefCell::new(History::new(Random(random.next()))));
    faults::set_operations_left(Some(random.below(400)));
    let host = Rc::clone(&witness);
    sim.host("node", move || {
        let witness = Rc::clone(&host);
        async move {
            witness.borrow_mut().live();
            pending().await
        }
    });
    for life in 0..=LIVES_PER_DISK {
        let last = life == LIVES_PER_DISK;
        if last {
            faults::set_operations_left(None);
        }
        while witness.borrow().lives == life {
            sim.step().unwrap();
        }
        let failure = witness.borrow().failure.clone();
        assert!(failure.is_none(), "disk {seed}, life {life}: {}", failure.unwrap_or_default());
        if !last {
            die(&mut sim, &mut random, &mut witness.borrow_mut().tally);
        }
    }
    witness.borrow().tally.clone()
}

fn die(sim: &mut turmoil::Sim<'_>, random: &mut Random, tally: &mut Tally) {
    if random.below(4) == 0 {
        tally.kills += 1;
    } else {
        sim.crash("node");
        tally.cuts += 1;
    }
    let bound = random.pick(&[40, 400, 2000]);
    faults::set_operations_left(Some(random.below(bound)));
    sim.bounce("node");
}

/// The cluster's history, and how much of it this node's disk must have.
struct History {
    random: Random,
    records: Vec<AuditRecord>,
    /// The head after each of them, and before the first.
    heads: Vec<AuditHead>,
    /// The number up to which a snapshot stands for the log.
    snapshot: u64,
    /// The number up to which this node had applied when it died.
    applied: u64,
    lives: u64,
    failure: Option<String>,
    tally: Tally,
    /// Stretches that were jumped over.
    jumped: Vec<(u64, u64)>,
}

impl History {
    fn new(random: Random) -> Self {
        Self {
            random,
            records: Vec::new(),
            heads: vec![AuditHead::default()],
            snapshot: 0,
            applied: 0,
            lives: 0,
            failure: None,
            tally: Tally::default(),
            jumped: Vec::new(),
        }
    }

    fn live(&mut self) {
        let end = self.recover_and_apply();
        self.lives += 1;
        if faults::is_cut() {
            self.tally.cut_while_living += 1;
        } else {
            self.failure = end.err();
        }
    }

    fn recover_and_apply(&mut self) -> Result<(), String> {
        let options =
            TrailOptions { segment_bytes: 600, bytes_max: 6_000, age_max_ms: None, spare_bytes: 0 };
        // As `DataFolder` does before anything opens a folder in it.
        fs::create_folder(Path::new("/data")).map_err(|error| error.to_string())?;
        let mut trail = Trail::open(Path::new(FOLDER), options);
        self.check(&trail)?;
        let unsynced = trail.catalog().last().saturating_sub(self.snapshot);
        self.tally.kept_unsynced += unsynced;
        self.tally.lost += (self.applied.saturating_sub(self.snapshot)).saturating_sub(unsynced);
        trail.position(self.heads[at(self.snapshot)], 0);
        let again = at(self.snapshot)..at(self.applied);
        trail.append(&self.records[again], self.lives);
        trail.flush(0);
        self.check(&trail)?;
        for _ in 0..self.random.below(60) {
            self.step(&mut trail);
            trail.flush(0);
            self.check(&trail)?;
        }
        Ok(())
    }

    fn step(&mut self, trail: &mut Trail) {
        match self.random.below(20) {
            0 | 1 => {
                // As the snapshotter does: what a snapshot stands for is durable first.
                if trail.sync(0) {
                    self.snapshot = self.applied;
                }
            }
            2 => self.jump(trail),
            3 | 4 => self.fill(trail),
            5..=7 => {
                let floor = trail.catalog().floor.count;
                trail.maintain(0);
                self.tally.deleted += trail.catalog().floor.count - floor;
            }
            _ => {
                let count = 1 + self.random.below(4);
                let from = self.records.len();
                self.invent(count);
                trail.append(&self.records[from..], self.lives);
                self.applied += count;
            }
        }
    }

    /// An installed snapshot: the log does not have what lies before it.
    fn jump(&mut self, trail: &mut Trail) {
        if !trail.sync(0) {
            return;
        }
        let from = self.applied + 1;
        let count = 1 + self.random.below(12);
        self.invent(count);
        self.applied += count;
        self.snapshot = self.applied;
        self.jumped.push((from, self.applied));
        self.tally.jumps += 1;
        trail.position(self.heads[at(self.applied)], 0);
    }

    /// Some of the newest gap, from its end backwards, as a peer would send it.
    fn fill(&mut self, trail: &mut Trail) {
        let Some(gap) = trail.catalog().own_gaps().pop() else { return };
        let missing = gap.to + 1 - gap.from;
        let count = 1 + self.random.below(missing);
        let records = &self.records[at(gap.to - count)..at(gap.to)];
        let page = records.iter().map(|record| (self.lives, encode(record))).collect();
        if trail.fill(&self.heads[at(gap.to - count)], &page, 0).is_ok() {
            self.tally.filled += count;
        }
    }

    fn invent(&mut self, count: u64) {
        for _ in 0..count {
            let mut head = *self.heads.last().unwrap();
            let detail = "x".repeat(usize::try_from(self.random.below(90)).unwrap());
            let number = head.count + 1;
            let event = LockEvent {
                what: What::Refused,
                owner: Owner { principal: "p".into(), name: format!("o{}", self.random.below(9)) },
                items: Vec::new(),
                hold: None,
                wait: None,
                attachment: None,
                elapsed_ms: number,
                detail,
            };
            let event = Event::Lock(event);
            self.records.push(head.append(Index(number), ClusterTime(number), event));
            self.heads.push(head);
        }
    }

    /// What is there is the chain's. What is missing was jumped over, or was behind the last snapshot
    /// and is applied again.
    fn check(&self, trail: &Trail) -> Result<(), String> {
        let catalog = trail.catalog();
        if let Some(reason) = &catalog.stopped {
            return Err(format!("stopped: {reason}"));
        }
        let question = Question { until: u64::MAX, limit: usize::MAX, ..Question::default() };
        let found = search(catalog, &question);
        if faults::is_cut() {
            return Err("power cut".into());
        }
        if let Some(unreadable) = found.unreadable.first() {
            return Err(format!("unreadable: {unreadable:?}"));
        }
        let mut next = catalog.floor.count + 1;
        for line in found.lines {
            let record = &self.records[at(line.number) - 1];
            if line.record().as_ref() != Some(record) {
                return Err(format!("{line:?} instead of {record:?}"));
            }
            self.may_miss(next, line.number - 1)?;
            next = line.number + 1;
        }
        self.may_miss(next, self.snapshot)?;
        let head = self.heads[at(catalog.last())];
        let witness = Witness { said_by: "history".into(), head };
        let verdict = verify_folder(Path::new(FOLDER), &[witness]).map_err(|e| e.to_string())?;
        match verdict.findings.first() {
            Some(finding) => Err(format!("{finding:?}")),
            None => Ok(()),
        }
    }

    fn may_miss(&self, from: u64, to: u64) -> Result<(), String> {
        let known = |number: &u64| {
            *number > self.snapshot
                || self.jumped.iter().any(|(from, to)| (from..=to).contains(&number))
        };
        match (from..=to).find(|number| !known(number)) {
            Some(lost) => {
                Err(format!("record {lost} is lost; the snapshot is at {}", self.snapshot))
            }
            None => Ok(()),
        }
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

/// SplitMix64: a seed is a history.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}
