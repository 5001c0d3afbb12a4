//! Power cuts at any file operation, on a disk that drops and tears what was not synced.
//!
//! A node's storage lives many lives on one simulated disk: open, check what came back, write a
//! random history, die. Its death is a power cut or, at times, the kill of the process alone, after
//! which the next life reads what only the page cache holds. The instant is a file operation, so it
//! falls between a write and its sync, a rename and its folder's sync, and inside recovery.
//!
//! What must hold in every life: what comes back is the history up to some point at or behind the
//! last proof that was given, and nothing else; the snapshot that it names loads; the node id stays
//! and the boot count rises. At the end of each disk a random bit of the log is flipped: that is
//! reported, or does no harm.
//!
//! What this disk cannot play: a failed write-back after which the kernel holds pages for clean
//! (rules 4 and 6 of recovery guard against it), and a rename that is durable without its folder's
//! sync.
//!
//! `DSYNC_CUTS` is the number of deaths (1,000); `DSYNC_SEED` runs one disk again.

#![allow(clippy::unwrap_used)] // a panic is how a test says no

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::pending;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use dsync_core::raft::{Entry, HardState, Membership, Payload, Record, Recovered, SnapshotMeta};
use dsync_core::types::{BootCount, ClusterTime, Index, NodeId, Term};
use dsync_node::storage::fs::{self, faults};
use dsync_node::storage::{
    Batch, DataFolder, Log, LogError, LogOptions, SnapshotStore, SyncWriter,
};

const LIVES_PER_DISK: u64 = 10;
const DATA: &str = "/data";

#[test]
fn nothing_proven_is_lost_and_nothing_else_is_served_whenever_the_power_goes() {
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
    assert!(total.cut_while_recovering > 0, "{total:?}");
    assert!(total.unproven_kept > 0 && total.unproven_lost > 0, "{total:?}");
    assert!(total.flips_reported > 0 && total.compactions > 0, "{total:?}");
}

/// What happened, over all disks.
#[derive(Clone, Debug, Default)]
struct Tally {
    cuts: u64,
    kills: u64,
    cut_while_recovering: u64,
    records_proven: u64,
    compactions: u64,
    unproven_kept: u64,
    unproven_lost: u64,
    flips_reported: u64,
    flips_harmless: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.cut_while_recovering += other.cut_while_recovering;
        self.records_proven += other.records_proven;
        self.compactions += other.compactions;
        self.unproven_kept += other.unproven_kept;
        self.unproven_lost += other.unproven_lost;
        self.flips_reported += other.flips_reported;
        self.flips_harmless += other.flips_harmless;
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
    let witness = Rc::new(RefCell::new(Witness::new(Random(random.next()))));
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
            witness.borrow_mut().flips = true;
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

/// Knows what was written, what was proven, and so what may come back.
struct Witness {
    random: Random,
    /// The state that the last life got back, or proved.
    proven: Recovered,
    /// Handed to the log since, unproven.
    unproven: Vec<Record>,
    node_id: Option<NodeId>,
    boot_count: BootCount,
    lives: u64,
    /// Flip a bit at the end of this life.
    flips: bool,
    failure: Option<String>,
    tally: Tally,
}

impl Witness {
    fn new(random: Random) -> Self {
        Self {
            random,
            proven: Recovered { log_start: Index(1), ..Recovered::default() },
            unproven: Vec::new(),
            node_id: None,
            boot_count: BootCount(0),
            lives: 0,
            flips: false,
            failure: None,
            tally: Tally::default(),
        }
    }

    fn live(&mut self) {
        let end = self.recover_and_write();
        self.lives += 1;
        if !faults::is_cut() {
            self.failure = end.err();
        }
    }

    fn recover_and_write(&mut self) -> Result<(), String> {
        let data = DataFolder::open(Path::new(DATA), || 4711).map_err(text)?;
        self.check_identity(&data)?;
        let store = SnapshotStore::open(&data.snapshots()).map_err(text)?;
        let opened = Log::open(&data.log(), self.options());
        if opened.is_err() && faults::is_cut() {
            self.tally.cut_while_recovering += 1;
        }
        let (log, recovered) = opened.map_err(text)?;
        if let Err(wrong) = self.check(&recovered).and_then(|()| self.check_snapshot(&store)) {
            // Even if the power goes during the check, what came back is wrong.
            assert!(faults::is_cut() && wrong.contains("power cut"), "{wrong}");
            return Err(wrong);
        }
        let mut writer = SyncWriter::new(log);
        for _ in 0..self.random.below(60) {
            self.write(&mut writer, &store)?;
        }
        if self.flips {
            writer.idle().map_err(text)?;
            drop(writer);
            self.flip(&data.log())?;
        }
        Ok(())
    }

    fn options(&mut self) -> LogOptions {
        LogOptions { segment_bytes: 2048, salt: self.random.next() }
    }

    fn check_identity(&mut self, data: &DataFolder) -> Result<(), String> {
        let id = *self.node_id.get_or_insert(data.node_id());
        if id != data.node_id() || data.boot_count() <= self.boot_count {
            return Err(format!("identity {id}, boot {} came back changed", self.boot_count));
        }
        self.boot_count = data.boot_count();
        Ok(())
    }

    /// What comes back is the proven state and some of what followed, in order.
    fn check(&mut self, recovered: &Recovered) -> Result<(), String> {
        let mut state = self.proven.clone();
        let mut taken = 0;
        while state != *recovered {
            let Some(record) = self.unproven.get(taken) else {
                let (proven, unproven) = (&self.proven, &self.unproven);
                return Err(format!("{proven:?}\nthen {unproven:?}\ncame back as {recovered:?}"));
            };
            follow(&mut state, record);
            taken += 1;
        }
        self.tally.unproven_kept += taken as u64;
        self.tally.unproven_lost += (self.unproven.len() - taken) as u64;
        self.proven = state;
        self.unproven.clear();
        Ok(())
    }

    fn check_snapshot(&self, store: &SnapshotStore) -> Result<(), String> {
        let Some(meta) = &self.proven.snapshot else { return Ok(()) };
        let pieces = store.load(meta).map_err(text)?;
        if pieces == snapshot_pieces(meta) { Ok(()) } else { Err("snapshot changed".into()) }
    }

    fn write(&mut self, writer: &mut SyncWriter, store: &SnapshotStore) -> Result<(), String> {
        let mut state = self.proven.clone();
        let count = 1 + self.random.below(3);
        let batches: Vec<_> = (0..count).map(|_| History(self.invent(&mut state))).collect();
        self.unproven = batches.iter().flat_map(|batch| batch.0.clone()).collect();
        self.write_snapshots(store)?;
        let proofs = writer.write_and_sync(batches).map_err(text)?;
        assert_eq!(proofs.len() as u64, count);
        self.tally.records_proven += self.unproven.len() as u64;
        self.unproven.clear();
        self.proven = state;
        if let Some(meta) = &self.proven.snapshot {
            store.delete_older(meta, &BTreeSet::new()).map_err(text)?;
        }
        if self.random.below(5) == 0 {
            writer.idle().map_err(text)?;
        }
        Ok(())
    }

    /// A snapshot is complete and synced before the log speaks of it.
    fn write_snapshots(&mut self, store: &SnapshotStore) -> Result<(), String> {
        for record in &self.unproven {
            if let Record::Snapshot { meta, .. } = record {
                store.write(meta, snapshot_pieces(meta)).map_err(text)?;
                self.tally.compactions += 1;
            }
        }
        Ok(())
    }

    /// One batch that a correct core might write in this state.
    fn invent(&mut self, state: &mut Recovered) -> Vec<Record> {
        let last = last(state);
        let applied = state.snapshot.as_ref().map_or(0, |meta| meta.index.0);
        let records = match self.random.below(20) {
            0 | 1 if last > applied => {
                let from = applied + 1 + self.random.below(last - applied);
                vec![next_term(state), self.entry(from, state.hard_state.term.0 + 1)]
            }
            2..=4 => vec![next_term(state)],
            5 | 6 if last > applied => vec![self.compaction(state, applied, last)],
            7 if self.random.below(6) == 0 => vec![replacement(last + 10)],
            _ => {
                let term = state.hard_state.term.0;
                let count = 1 + self.random.below(6);
                (1..=count).map(|step| self.entry(last + step, term)).collect()
            }
        };
        records.iter().for_each(|record| follow(state, record));
        records
    }

    fn entry(&mut self, index: u64, term: u64) -> Record {
        let bound = self.random.pick(&[60, 60, 60, 300, 300, 5000]);
        let len = usize::try_from(self.random.below(bound)).unwrap();
        let fill = self.random.next().to_le_bytes();
        let bytes: Vec<u8> = fill.into_iter().cycle().take(len).collect();
        Record::Entry(Entry {
            term: Term(term),
            index: Index(index),
            stamp: ClusterTime(self.random.below(1 << 40)),
            payload: Payload::Command(Bytes::from(bytes)),
        })
    }

    fn compaction(&mut self, state: &Recovered, applied: u64, last: u64) -> Record {
        let index = applied + 1 + self.random.below(last - applied);
        let kept_from = state.log_start.0;
        let log_start = kept_from + self.random.below(index + 2 - kept_from);
        let before = usize::try_from(log_start - kept_from).unwrap().checked_sub(1);
        let log_start_prev_term =
            before.map_or(state.log_start_prev_term, |before| state.entries[before].term);
        let (log_start, discard_log) = (Index(log_start), false);
        Record::Snapshot { meta: meta(index), log_start, log_start_prev_term, discard_log }
    }

    /// The log is stopped clean. A changed bit is reported, or what comes back is the same.
    fn flip(&mut self, folder: &Path) -> Result<(), String> {
        let names = fs::list(folder).map_err(text)?;
        let path = folder.join(&names[self.random.index(names.len())]);
        let bytes = fs::read(&path).map_err(text)?;
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let at = self.random.index(used);
        let flipped = bytes[at] ^ (1 << self.random.below(8));
        let file = fs::File::open(&path).map_err(text)?;
        file.write_all_at(&[flipped], at as u64).map_err(text)?;
        drop(file);
        let place = format!("byte {at} of {} flipped", path.display());
        match Log::open(folder, self.options()) {
            Err(LogError::Damage { .. }) => self.tally.flips_reported += 1,
            Err(other) => return Err(format!("{place}: {other}")),
            Ok((_, recovered)) if recovered == self.proven => self.tally.flips_harmless += 1,
            Ok((_, recovered)) => return Err(format!("{place}: served {recovered:?}")),
        }
        Ok(())
    }
}

/// A batch whose proof is nothing but the fact that it was given.
struct History(Vec<Record>);

impl Batch for History {
    type Token = ();
    type Proof = ();

    fn into_parts(self) -> (Vec<Record>, ()) {
        (self.0, ())
    }

    fn prove((): ()) {}
}

/// The meaning of a record, told without regard to segments, frames or syncs.
fn follow(state: &mut Recovered, record: &Record) {
    match record {
        Record::HardState(hard_state) => state.hard_state = hard_state.clone(),
        Record::Entry(entry) => {
            state.entries.retain(|earlier| earlier.index < entry.index);
            state.entries.push(entry.clone());
        }
        Record::Snapshot { meta, log_start, log_start_prev_term, discard_log } => {
            state.entries.retain(|entry| !discard_log && entry.index >= *log_start);
            state.snapshot = Some(meta.clone());
            state.log_start = *log_start;
            state.log_start_prev_term = *log_start_prev_term;
        }
    }
}

fn last(state: &Recovered) -> u64 {
    state.entries.last().map_or(state.log_start.prev().0, |entry| entry.index.0)
}

fn next_term(state: &Recovered) -> Record {
    let term = state.hard_state.term.next();
    Record::HardState(HardState { term, vote: Some(NodeId(term.0)), founded: true })
}

/// A snapshot from the leader, beyond the end of the log.
fn replacement(index: u64) -> Record {
    let (log_start, discard_log) = (Index(index + 1), true);
    Record::Snapshot { meta: meta(index), log_start, log_start_prev_term: Term(1), discard_log }
}

fn meta(index: u64) -> SnapshotMeta {
    let (stamp, membership) = (ClusterTime(index), Membership::default());
    SnapshotMeta { index: Index(index), term: Term(1), stamp, membership, boots: [].into() }
}

fn snapshot_pieces(meta: &SnapshotMeta) -> Vec<Bytes> {
    vec![Bytes::from(meta.index.0.to_string().repeat(50)), Bytes::from_static(b"end")]
}

#[allow(clippy::needless_pass_by_value)] // for map_err
fn text(error: impl ToString) -> String {
    error.to_string()
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

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}
