//! What the lock table costs: `cargo run --release -p dsync-core --example lock_table_cost`.
//!
//! Prints times; asserts nothing. Compare two versions on one quiet machine.

#![allow(missing_docs)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]

use std::time::{Duration, Instant};

use dsync_core::locks::{
    Acquire, AcquireOutcome, Attachment, LockItem, LockTable, Mode, Owner, Release, Rules, Turn,
};
use dsync_core::types::{BootId, ClusterTime, Index};

struct World {
    table: LockTable,
    index: u64,
    rules: Rules,
    dice: u64,
}

impl World {
    fn new() -> Self {
        let rules = Rules { lock_waiters_max: 1_000_000, ..Rules::default() };
        Self { table: LockTable::new(1), index: 0, rules, dice: 1 }
    }

    fn below(&mut self, end: u64) -> u64 {
        self.dice = self
            .dice
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.dice >> 33) % end
    }

    fn turn(&mut self) -> Turn {
        self.index += 1;
        Turn::new(Index(self.index), ClusterTime(self.index / 10), self.rules)
    }

    fn ask(&mut self, owner: &str, name: &str, mode: Mode) -> AcquireOutcome {
        let mut turn = self.turn();
        self.table.advance(&mut turn);
        self.table.acquire(&mut turn, &ask(owner, name, mode, self.index))
    }

    fn give_back(&mut self, owner: &str, name: &str) {
        let mut turn = self.turn();
        self.table.advance(&mut turn);
        let owner = Owner { principal: "p".to_owned(), name: owner.to_owned() };
        self.table.release(&mut turn, &Release { owner, name: name.to_owned() });
    }
}

fn ask(owner: &str, name: &str, mode: Mode, number: u64) -> Acquire {
    Acquire {
        owner: Owner { principal: "p".to_owned(), name: owner.to_owned() },
        items: vec![LockItem { name: name.to_owned(), mode, permits: 1, permits_max: 1 }],
        ttl_ms: Some(30_000),
        queue: true,
        attachment: Some(Attachment { boot: BootId(1), number }),
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: n {} p50 {:?} p99 {:?} max {:?}", times.len(), at(0.5), at(0.99), at(1.0));
}

/// Locks that nobody else wants.
fn cycles(held: u64) {
    let mut world = World::new();
    for i in 0..held {
        world.ask(&format!("holder{i}"), &format!("held{i}"), Mode::Exclusive);
    }
    let began = Instant::now();
    let count = 200_000;
    for i in 0..count {
        let (owner, name) = (format!("o{}", i % 64), format!("l{i}"));
        world.ask(&owner, &name, Mode::Exclusive);
        world.give_back(&owner, &name);
    }
    let each = began.elapsed() / count;
    println!("acquire and release with {held} others held: {each:?}");
}

/// Many wait; the asker holds what somebody waits for, and asks for what somebody else holds.
fn crowd(waiters: u64, locks: u64) {
    let mut world = World::new();
    for lock in 0..locks {
        world.ask(&format!("h{lock}"), &format!("l{lock}"), Mode::Exclusive);
    }
    let mut queueing = Vec::new();
    for i in 0..waiters {
        let began = Instant::now();
        world.ask(&format!("w{i}"), &format!("l{}", i % locks), Mode::Exclusive);
        queueing.push(began.elapsed());
    }
    report(&format!("to queue, {waiters} waiters on {locks} locks"), queueing);
    let mut times = Vec::new();
    for lock in 0..locks.min(200) - 1 {
        // h0 waits for h1's lock behind everybody, h1 for h2's, and so on: no cycle until the last.
        let began = Instant::now();
        let outcome = world.ask(&format!("h{lock}"), &format!("l{}", lock + 1), Mode::Exclusive);
        times.push(began.elapsed());
        assert!(matches!(outcome, AcquireOutcome::Waiting { .. }));
    }
    report(&format!("holders that queue behind {} others", waiters / locks), times);
    let last = locks.min(200) - 1;
    let began = Instant::now();
    let outcome = world.ask(&format!("h{last}"), "l0", Mode::Exclusive);
    assert!(matches!(outcome, AcquireOutcome::Deadlock { .. }));
    println!("to find the cycle of {} through all of them: {:?}", last + 1, began.elapsed());
}

/// Owners that hold some locks and wait for others, at random.
fn tangle(owners: u64, locks: u64) {
    let mut world = World::new();
    let mut times = Vec::new();
    let mut deadlocks = 0;
    for _ in 0..owners * 10 {
        let (owner, lock) = (world.below(owners), world.below(locks));
        let mode = if world.below(3) == 0 { Mode::Shared } else { Mode::Exclusive };
        let began = Instant::now();
        let outcome = world.ask(&format!("o{owner}"), &format!("l{lock}"), mode);
        times.push(began.elapsed());
        deadlocks += u64::from(matches!(outcome, AcquireOutcome::Deadlock { .. }));
        if world.below(4) == 0 {
            let (owner, lock) = (world.below(owners), world.below(locks));
            world.give_back(&format!("o{owner}"), &format!("l{lock}"));
        }
    }
    let waits = world.table.view(ClusterTime(world.index / 10)).waits();
    println!("tangle of {owners} owners and {locks} locks: {deadlocks} deadlocks, {waits} waits");
    report("  to ask", times);
}

fn main() {
    cycles(0);
    cycles(100_000);
    crowd(100_000, 100);
    crowd(100_000, 10_000);
    for owners in [100, 300, 1_000] {
        tangle(owners, owners * 5 / 2);
    }
}
