//! A node's side of waiting, asked by hand: whole clusters in which nothing goes wrong by itself.

use dsync_core::locks::{Acquire, LockItem, LockOperation, LockView, Mode, Owner, Release};
use dsync_core::machine::{Operation, RequestId, Settings};
use dsync_core::raft::{Limits, RoleKind};
use dsync_core::waits::WaitOutcome;

use super::ask::{Answer, Ask};
use super::faults::{FaultKind, links_of};
use super::queue::ProcessEvent;
use super::rng::Rng;
use super::swarm::{ClientPlan, DiskPlan, NetworkPlan, Plan};
use super::world::{BY_HAND, World};

/// Nothing here takes longer than this, in virtual milliseconds.
const LIMIT_MS: u64 = 30_000;
/// The longest that a disk hangs; two that do leave no majority.
const DISK_HANGS_MS: u64 = 60_000;
/// Longer than a leader takes to declare a silent member lost.
const STEP_MS: u64 = 3_000;

/// Three nodes with a leader, and nobody else who asks.
struct Bench {
    world: World,
    last_op: u64,
}

impl Bench {
    fn new() -> Self {
        Self::of_seed(1, 1_000, &[])
    }

    fn of_seed(seed: u64, snapshot_every: u64, faults: &[FaultKind]) -> Self {
        let mut rng = Rng::new(seed);
        let mut plan = Plan { nodes: 3, apply_us: 0, snapshot_every, ..Plan::draw(&mut rng, None) };
        plan.limits = Limits { log_tail_entries: 5, ..Limits::default() };
        plan.settings = Settings::default();
        plan.settings.locks.lease_ms_min = 1;
        plan.network = NetworkPlan {
            latency_us: 200,
            jitter_us: 50,
            loss_ppm: 0,
            double_ppm: 0,
            late_ppm: 0,
            late_ms: 0,
            in_order: true,
        };
        plan.disk = DiskPlan { sync_us: 100, jitter_us: 100, slow_ppm: 0, slow_ms: 0 };
        plan.faults.only(400, 1_000, faults);
        plan.clients =
            ClientPlan { recorded: 0, leased: 0, timeout_ms: STEP_MS, ..plan.clients.clone() };
        let mut world = World::planned(rng, plan, false);
        world.begin();
        let mut bench = Self { world, last_op: 0 };
        bench.world.quiet_until = bench.world.shared.now.plus_ms(3_000);
        // Everybody has said that its process is this one, or nothing that it is asked is taken.
        bench.until(|world| {
            let machines =
                world.nodes.iter().filter_map(|node| Some(&node.process.as_ref()?.machine));
            machines.filter(|machine| machine.boots().count() == 3).count() == 3
        });
        bench
    }

    /// Lets time pass until it is so.
    fn until(&mut self, is_so: impl Fn(&World) -> bool) {
        let end = self.world.shared.now.plus_ms(LIMIT_MS);
        while !is_so(&self.world) {
            assert!(
                self.world.shared.now < end,
                "it did not come about: {}",
                self.world.describe()
            );
            self.pass(5);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.world.run_until(self.world.shared.now.plus_ms(ms));
        let failure = &self.world.shared.failure;
        assert!(failure.is_none(), "{failure:?}");
    }

    fn leader(&self) -> usize {
        Self::leader_of(&self.world).expect("a leader")
    }

    fn leader_of(world: &World) -> Option<usize> {
        let leads = |slot: &usize| {
            let process = world.nodes[*slot].process.as_ref();
            process.is_some_and(|process| process.raft.status().role == RoleKind::Leader)
        };
        (0..3).find(leads)
    }

    fn follower(&self) -> usize {
        (self.leader() + 1) % 3
    }

    fn ask(&mut self, slot: usize, ask: Ask) -> u64 {
        self.last_op += 1;
        let (client, op, ask) = (BY_HAND, self.last_op, Box::new(ask));
        self.world.happen(slot, ProcessEvent::Asked { client, op, ask });
        op
    }

    fn hang_up(&mut self, slot: usize, op: u64) {
        self.world.happen(slot, ProcessEvent::HungUp { client: BY_HAND, op });
    }

    fn told(&mut self, op: u64) -> Answer {
        self.until(|world| world.told.contains_key(&op));
        self.world.told[&op].clone()
    }

    fn outcome(&mut self, op: u64) -> WaitOutcome {
        match self.told(op) {
            Answer::Waited { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    /// The lock as the leader has applied it.
    fn lock(&self) -> Option<LockView> {
        shown(&self.world, self.leader())
    }

    /// Somebody waits at this node: the operation's number.
    fn waits(&mut self, slot: usize, who: &str, wait_ms: u64) -> u64 {
        let op = self.ask(slot, wait(who, wait_ms));
        let is_there = |lock: &LockView| lock.waiters.iter().any(|waiter| waiter.owner.name == who);
        self.until(|world| shown(world, slot).is_some_and(|lock| is_there(&lock)));
        op
    }

    /// Ann has the lock, by way of the leader.
    fn ann_holds(&mut self) {
        let op = self.ask(self.leader(), wait("ann", 0));
        assert!(is_granted(&self.outcome(op)));
    }

    fn ann_releases(&mut self) {
        let release = Release { owner: owner("ann"), name: LOCK.to_owned() };
        let operation = Operation::lock(LockOperation::Release(release));
        let op = self.ask(self.leader(), Ask::Command { request: None, operation });
        assert!(matches!(self.told(op), Answer::Applied { .. }));
    }

    fn cut(&mut self, slot: usize, into: bool, out: bool) -> u64 {
        self.world.shared.network.cut(links_of(slot, 3, into, out))
    }

    fn holder(&self) -> Option<String> {
        Some(self.lock()?.holders.first()?.owner.name.clone())
    }
}

const LOCK: &str = "x";

fn shown(world: &World, slot: usize) -> Option<LockView> {
    world.nodes[slot].process.as_ref()?.machine.locks().get(LOCK)
}

fn owner(name: &str) -> Owner {
    Owner { principal: "anonymous".to_owned(), name: name.to_owned() }
}

/// Without a lease, so that nothing ends by itself.
fn wait(who: &str, wait_ms: u64) -> Ask {
    let name = LOCK.to_owned();
    let item = LockItem { name, mode: Mode::Exclusive, permits: 1, permits_max: 1 };
    let (owner, items) = (owner(who), vec![item]);
    let ask = Acquire { owner, items, ttl_ms: Some(0), queue: true, attachment: None };
    let request = Some(RequestId::Key(format!("request of {who}")));
    Ask::Wait { request, operation: Operation::lock(LockOperation::Acquire(ask)), wait_ms }
}

fn is_granted(outcome: &WaitOutcome) -> bool {
    matches!(outcome, WaitOutcome::Granted { .. })
}

#[test]
fn a_grant_ends_the_wait_at_a_follower() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let follower = bench.follower();
    let bob = bench.waits(follower, "bob", 20_000);
    bench.ann_releases();
    assert!(is_granted(&bench.outcome(bob)));
    assert_eq!(bench.holder().as_deref(), Some("bob"));
}

#[test]
fn patience_that_runs_out_leaves_the_queue_and_is_told_so() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let follower = bench.follower();
    let bob = bench.waits(follower, "bob", 500);
    assert_eq!(bench.outcome(bob), WaitOutcome::TimedOut);
    assert!(bench.lock().unwrap().waiters.is_empty());
}

#[test]
fn who_hangs_up_leaves_the_queue() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let follower = bench.follower();
    let bob = bench.waits(follower, "bob", 20_000);
    bench.hang_up(follower, bob);
    bench.until(|world| shown(world, follower).is_some_and(|lock| lock.waiters.is_empty()));
    assert!(!bench.world.told.contains_key(&bob));
}

#[test]
fn who_hangs_up_before_its_entry_is_applied_leaves_no_ghost() {
    let mut bench = Bench::new();
    let follower = bench.follower();
    let bob = bench.ask(follower, wait("bob", 20_000));
    bench.hang_up(follower, bob);
    bench.pass(100);
    bench.until(|world| shown(world, follower).is_none());
}

#[test]
fn a_grant_that_cannot_be_proven_is_not_answered_as_one() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let follower = bench.follower();
    let bob = bench.waits(follower, "bob", 20_000);
    // It hears everything, and is heard by nobody.
    bench.cut(follower, false, true);
    bench.ann_releases();
    bench.until(|world| {
        let lock = shown(world, follower);
        lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.owner.name == "bob"))
    });
    assert_eq!(bench.told(bob), Answer::Unknown);
}

#[test]
fn a_claim_is_a_hold_by_an_entry_before_it_is_answered() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let follower = bench.follower();
    let bob = bench.waits(follower, "bob", 20_000);
    let cut = bench.cut(follower, true, true);
    let leader = bench.leader();
    bench.until(|world| {
        let lock = shown(world, leader);
        lock.is_some_and(|lock| lock.waiters.iter().all(|waiter| !waiter.attached))
    });
    bench.ann_releases();
    assert!(bench.lock().unwrap().holders[0].claim);
    bench.world.shared.network.mend(cut);
    bench.until(|world| world.told.contains_key(&bob));
    assert!(is_granted(&bench.outcome(bob)));
    assert!(!shown(&bench.world, follower).unwrap().holders[0].claim);
}

#[test]
fn the_waiter_of_a_node_that_dies_keeps_its_place_and_takes_it_to_another() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let (follower, leader) = (bench.follower(), bench.leader());
    bench.waits(follower, "bob", 20_000);
    bench.waits(leader, "cid", 20_000);
    bench.world.crash(follower, 1_000_000_000);
    bench.pass(2_000);
    let again = bench.ask(leader, wait("bob", 20_000));
    bench.ann_releases();
    assert!(is_granted(&bench.outcome(again)));
}

#[test]
fn nobody_leaves_for_the_futures_of_a_process_that_dies() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let follower = bench.follower();
    let bob = bench.waits(follower, "bob", 20_000);
    bench.world.crash(follower, 50_000);
    bench.until(|world| world.nodes[follower].is_up());
    bench.pass(3_000);
    assert_eq!(bench.lock().unwrap().waiters.len(), 1, "its place is kept for ten seconds");
    bench.until(|world| shown(world, follower).is_some_and(|lock| lock.waiters.is_empty()));
    assert!(!bench.world.told.contains_key(&bob));
}

#[test]
fn who_waits_at_a_node_that_stops_in_order_is_sent_elsewhere_and_keeps_the_place() {
    let mut bench = Bench::new();
    bench.ann_holds();
    let leader = bench.leader();
    let other = bench.follower();
    let bob = bench.waits(leader, "bob", 20_000);
    bench.waits(other, "cid", 20_000);
    let generation = bench.world.nodes[leader].generation;
    bench.world.happen(leader, ProcessEvent::Drain);
    assert_eq!(bench.told(bob), Answer::Elsewhere);
    let places = shown(&bench.world, other).unwrap().waiters;
    assert!(places[0].place_ends_at.is_some(), "first the place is kept, then it is told");
    bench.until(|world| {
        let node = &world.nodes[leader];
        node.generation > generation && node.is_up()
    });
    bench.until(|world| {
        let leads =
            |process: &super::process::Process| process.raft.status().role == RoleKind::Leader;
        world.nodes.iter().any(|node| node.process.as_ref().is_some_and(|p| leads(p)))
    });
    let again = bench.ask(other, wait("bob", 20_000));
    bench.ann_releases();
    assert!(is_granted(&bench.outcome(again)));
}

#[test]
fn a_process_that_dies_of_its_answer_has_told_it_or_not() {
    let mut bench = Bench::new();
    bench.world.shared.plan.faults.reply_death_ppm = 1_000_000;
    bench.world.quiet_until = bench.world.shared.now;
    let (mut heard, mut unheard) = (0, 0);
    for n in 0..10 {
        bench.until(|world| Bench::leader_of(world).is_some());
        let slot = bench.follower();
        let generation = bench.world.nodes[slot].generation;
        let op = bench.ask(
            slot,
            Ask::Command {
                request: Some(RequestId::Key(format!("{n}"))),
                operation: Operation::lock(LockOperation::Release(Release {
                    owner: owner("ann"),
                    name: LOCK.into(),
                })),
            },
        );
        bench.until(|world| world.nodes[slot].generation > generation);
        bench.pass(100);
        let told = bench.world.told.contains_key(&op);
        (heard, unheard) = if told { (heard + 1, unheard) } else { (heard, unheard + 1) };
        bench.until(|world| world.nodes[slot].is_up());
        bench.pass(3_000);
    }
    assert!(heard > 0 && unheard > 0, "{heard} heard, {unheard} unheard");
}

/// The follower has not applied the grant when it is asked for the same again: the hold is older than
/// that ask all the same, and Ann knows of it.
#[test]
fn a_known_hold_is_not_left_by_who_asks_again_at_a_node_that_lags() {
    let mut bench = Bench::new();
    let follower = bench.follower();
    let cut = bench.cut(follower, true, false);
    bench.ann_holds();
    let again = bench.ask(follower, wait("ann", 20_000));
    bench.pass(50);
    bench.hang_up(follower, again);
    bench.world.shared.network.mend(cut);
    bench.pass(4_000);
    assert_eq!(bench.holder().as_deref(), Some("ann"));
    let seen = shown(&bench.world, follower).unwrap();
    assert_eq!(seen.holders.len(), 1, "and the follower has caught up");
}

/// What one of the many does who want the lock in a storm.
#[derive(Clone, Copy)]
enum Turn {
    /// Waits for the answer, until it has none left to wait for or hangs up.
    Asks {
        op: u64,
        slot: usize,
        hangs_up_in: Option<u64>,
    },
    /// Hung up. What its node had said before it noticed arrives all the same, late if it paused.
    Fled {
        op: u64,
    },
    /// Was told that it holds, or may have been: it gives the lock back until it is told so.
    Releases {
        op: u64,
    },
    Done,
}

struct Storm {
    bench: Bench,
    dice: Rng,
    turns: Vec<Turn>,
}

impl Storm {
    /// Nobody dies: what dies leaves what it has told to nobody.
    fn new(seed: u64) -> Self {
        let faults = [
            FaultKind::Pause,
            FaultKind::Isolate,
            FaultKind::CutLink,
            FaultKind::Reset,
            FaultKind::Transfer,
            FaultKind::StallDisk,
        ];
        let bench = Bench::of_seed(seed, 10, &faults);
        Self { bench, dice: Rng::new(seed ^ 0xd1ce), turns: Vec::new() }
    }

    fn arrive(&mut self) {
        let (who, slot) = (format!("w{}", self.turns.len()), self.dice.index(3));
        let wait_ms = self.dice.pick(&[0, 300, 2_000, 8_000]);
        let hangs_up_in = self.dice.percent(50).then(|| self.dice.below(100));
        let op = self.bench.ask(slot, wait(&who, wait_ms));
        self.turns.push(Turn::Asks { op, slot, hangs_up_in });
    }

    fn step(&mut self) {
        self.bench.pass(10);
        for number in 0..self.turns.len() {
            self.turns[number] = self.go_on(number, self.turns[number]);
        }
    }

    fn go_on(&mut self, number: usize, turn: Turn) -> Turn {
        match turn {
            Turn::Asks { op, slot, hangs_up_in } => {
                if let Some(answer) = self.bench.world.told.get(&op) {
                    let granted = matches!(
                        answer,
                        Answer::Waited { outcome: WaitOutcome::Granted { .. }, .. }
                    );
                    return if granted { self.release(number) } else { Turn::Done };
                }
                if hangs_up_in == Some(0) {
                    self.bench.hang_up(slot, op);
                    return Turn::Fled { op };
                }
                Turn::Asks { op, slot, hangs_up_in: hangs_up_in.map(|steps| steps - 1) }
            }
            Turn::Fled { op } if self.bench.world.told.contains_key(&op) => self.release(number),
            Turn::Fled { op } => Turn::Fled { op },
            Turn::Releases { op } => match self.bench.world.told.get(&op) {
                None => Turn::Releases { op },
                Some(Answer::Applied { .. }) => Turn::Done,
                Some(_) => self.release(number),
            },
            Turn::Done => Turn::Done,
        }
    }

    fn release(&mut self, number: usize) -> Turn {
        let release = Release { owner: owner(&format!("w{number}")), name: LOCK.to_owned() };
        let operation = Operation::lock(LockOperation::Release(release));
        let slot = self.dice.index(3);
        Turn::Releases { op: self.bench.ask(slot, Ask::Command { request: None, operation }) }
    }

    fn is_over(&self) -> bool {
        self.turns.iter().all(|turn| matches!(turn, Turn::Fled { .. } | Turn::Done))
    }
}

#[test]
fn a_storm_in_which_nobody_dies_leaves_neither_ghosts_nor_waiters() {
    let mut installs = 0;
    for seed in 0..40 {
        let mut storm = Storm::new(seed);
        for _ in 0..150 {
            storm.arrive();
            for _ in 0..storm.dice.between(1, 10) {
                storm.step();
            }
        }
        storm.bench.world.calm = true;
        storm.bench.world.shared.network.heal();
        let end = storm.bench.world.shared.now.plus_ms(DISK_HANGS_MS + LIMIT_MS);
        let world = |storm: &Storm| shown(&storm.bench.world, 0);
        while !storm.is_over() || world(&storm).is_some() {
            let now = storm.bench.world.shared.now;
            assert!(now < end, "seed {seed}: {:?}", world(&storm));
            storm.step();
        }
        installs += storm.bench.world.shared.stats.installs;
    }
    assert!(installs > 0, "no events were skipped");
}
