//! What goes out, when, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::locks::{
    Acquire, AcquireOutcome, LockItem, LockOperation, LockOutcome, Mode, Owner, Release,
    ReleaseOutcome,
};
use crate::machine::{Applied, FirstState, Machine, NodeOperation, NodeOutcome, Settings};
use crate::queue::{Consumer, DeliveryRef, MessageId, QueueOperation, Settle, SettleItem, Verdict};
use crate::raft::{Entry, Founding, Payload};
use crate::types::{ClusterId, ClusterTime, Index, Term};

const RETRY_MS: u64 = 100;
const LATE: LocalTime = LocalTime(1_000_000);

fn proposer() -> Proposer {
    Proposer::new(NodeId(1), BootId(1), BootCount(1), RETRY_MS)
}

/// One that has registered at time 0.
fn registered() -> Proposer {
    let mut proposer = proposer();
    let commands = sent(&mut proposer, 0);
    assert_eq!(commands.len(), 1);
    let settled =
        proposer.applied(&commands[0].origin, &Outcome::Node(NodeOutcome::BootRegistered));
    assert_eq!(settled, Some(1));
    proposer
}

fn owner(name: &str) -> Owner {
    Owner { principal: "p".to_owned(), name: name.to_owned() }
}

fn acquire(name: &str) -> Operation {
    let mode = Mode::Exclusive;
    let item = LockItem { name: name.to_owned(), mode, permits: 1, permits_max: 1 };
    let (owner, items, ttl_ms) = (owner("o"), vec![item], Some(0));
    Operation::lock(LockOperation::Acquire(Acquire {
        owner,
        items,
        ttl_ms,
        queue: true,
        attachment: None,
    }))
}

fn release(name: &str) -> Operation {
    Operation::lock(LockOperation::Release(Release { owner: owner("o"), name: name.to_owned() }))
}

fn submit(proposer: &mut Proposer, now: u64, deadline: u64) -> u64 {
    proposer.submit(LocalTime(now), ActiveTime(0), acquire("x"), LocalTime(deadline))
}

fn decode(bytes: &[u8]) -> Command {
    let StoredCommand::V1(command) = wire::decode("command", bytes).unwrap();
    command
}

/// The commands that go out at `now`.
fn sent(proposer: &mut Proposer, now: u64) -> Vec<Command> {
    let attempts = proposer.attempts(LocalTime(now));
    attempts.iter().flat_map(|(_, commands)| &commands.list).map(|bytes| decode(bytes)).collect()
}

fn numbers(commands: &[Command]) -> Vec<u64> {
    commands.iter().map(|command| command.origin.sequence).collect()
}

#[test]
fn everything_waits_until_the_boot_is_registered() {
    let mut proposer = proposer();
    assert_eq!(submit(&mut proposer, 0, 9_999), 2);
    let commands = sent(&mut proposer, 0);
    assert_eq!(numbers(&commands), [1]);
    assert_eq!(
        commands[0].operation,
        Operation::Node(NodeOperation::RegisterBoot { count: BootCount(1) })
    );
    assert!(sent(&mut proposer, 99).is_empty());
    assert_eq!(proposer.next_wake(), Some(LocalTime(100)));
    assert_eq!(numbers(&sent(&mut proposer, 100)), [1], "the registration is repeated");
    proposer.applied(&commands[0].origin, &Outcome::Node(NodeOutcome::BootRegistered));
    assert!(proposer.registered());
    assert_eq!(numbers(&sent(&mut proposer, 101)), [2]);
    assert_eq!(proposer.outstanding(), 1);
}

#[test]
fn a_refused_disk_registers_nothing() {
    let mut proposer = proposer();
    let commands = sent(&mut proposer, 0);
    let settled = proposer.applied(&commands[0].origin, &Outcome::DiskRefused);
    assert_eq!(settled, Some(1));
    assert!(!proposer.registered());
}

#[test]
fn a_command_is_repeated_under_its_number_until_it_is_applied() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 9_999);
    let first = sent(&mut proposer, 0);
    assert!(sent(&mut proposer, RETRY_MS - 1).is_empty());
    let second = sent(&mut proposer, RETRY_MS);
    assert_eq!(first, second);
    let outcome = Outcome::Lock(LockOutcome::Release(ReleaseOutcome::Released));
    let settled = proposer.applied(&first[0].origin, &outcome);
    assert_eq!(settled, Some(2));
    assert_eq!(proposer.applied(&first[0].origin, &outcome), None, "a second copy");
    assert!(sent(&mut proposer, 5_000).is_empty());
    assert_eq!(proposer.next_wake(), None);
}

#[test]
fn answers_of_other_processes_are_not_mine() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 9_999);
    let origin = sent(&mut proposer, 0)[0].origin;
    let other_boot = Origin { boot: BootId(2), ..origin };
    let other_node = Origin { node: NodeId(2), ..origin };
    assert_eq!(proposer.applied(&other_boot, &Outcome::Void), None);
    assert_eq!(proposer.applied(&other_node, &Outcome::Void), None);
    assert_eq!(proposer.outstanding(), 1);
}

#[test]
fn a_new_leader_gets_everything_at_once() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 9_999);
    submit(&mut proposer, 0, 9_999);
    sent(&mut proposer, 0);
    proposer.leader_changed(LocalTime(5));
    assert_eq!(numbers(&sent(&mut proposer, 5)), [2, 3]);
}

#[test]
fn a_ticket_holds_a_bounded_number_of_bytes() {
    let mut proposer = registered();
    for _ in 0..5_000 {
        submit(&mut proposer, 0, 9_999);
    }
    let attempts = proposer.attempts(LocalTime(0));
    assert!(attempts.len() > 1);
    let mut all = Vec::new();
    for (_, commands) in &attempts {
        assert!(commands.list.iter().map(Bytes::len).sum::<usize>() <= TICKET_BYTES_MAX);
        all.extend(commands.list.iter().map(|bytes| decode(bytes)));
    }
    assert_eq!(numbers(&all), (2..5_002).collect::<Vec<_>>());
}

#[test]
fn a_command_larger_than_a_ticket_goes_alone() {
    let mut proposer = registered();
    for name in ["x".to_owned(), "y".repeat(TICKET_BYTES_MAX + 1), "z".to_owned()] {
        proposer.submit(LocalTime(0), ActiveTime(0), acquire(&name), LATE);
    }
    let attempts = proposer.attempts(LocalTime(0));
    assert_eq!(attempts.iter().map(|(_, commands)| commands.len()).collect::<Vec<_>>(), [1, 1, 1]);
}

/// A settle of so many deliveries, which has as many outcomes.
fn settle(count: usize) -> Operation {
    let consumer = Consumer { principal: "p".to_owned(), name: "c".to_owned() };
    let message = MessageId { index: Index(1), position: 0 };
    let delivery = DeliveryRef::Latest { message, consumer };
    let item = SettleItem { delivery, verdict: Verdict::Ack };
    let (topic, items) = ("t".to_owned(), vec![item; count]);
    Operation::queue(QueueOperation::Settle(Settle { topic, items }))
}

#[test]
fn commands_that_yield_have_tickets_of_their_own_and_the_order_stays() {
    let mut proposer = registered();
    for operation in [acquire("x"), settle(1), settle(1), acquire("y")] {
        proposer.submit(LocalTime(0), ActiveTime(0), operation, LATE);
    }
    let attempts = proposer.attempts(LocalTime(0));
    let shape: Vec<_> = attempts.iter().map(|(_, it)| (it.len(), it.yields)).collect();
    assert_eq!(shape, [(1, false), (2, true), (1, false)]);
}

#[test]
fn the_window_counts_the_outcomes_that_the_machine_has_to_remember() {
    let mut proposer = registered();
    let each = WINDOW_ITEMS / 4;
    for _ in 0..6 {
        let operation = settle(usize::try_from(each).unwrap());
        proposer.submit(LocalTime(0), ActiveTime(0), operation, LATE);
    }
    let commands = sent(&mut proposer, 0);
    assert_eq!(numbers(&commands), [2, 3, 4, 5]);
    // One that is settled behind the mark is still remembered, and makes no room.
    proposer.applied(&commands[1].origin, &Outcome::Void);
    assert_eq!(numbers(&sent(&mut proposer, 0)), Vec::<u64>::new());
    proposer.applied(&commands[0].origin, &Outcome::Void);
    assert_eq!(numbers(&sent(&mut proposer, 0)), [6, 7]);
}

#[test]
fn a_command_with_more_outcomes_than_the_window_goes_alone() {
    let mut proposer = registered();
    for count in [1, WINDOW_ITEMS + 1, 1] {
        let operation = settle(usize::try_from(count).unwrap());
        proposer.submit(LocalTime(0), ActiveTime(0), operation, LATE);
    }
    for sequence in [2, 3, 4] {
        let commands = sent(&mut proposer, 0);
        assert_eq!(numbers(&commands), [sequence]);
        proposer.applied(&commands[0].origin, &Outcome::Void);
    }
}

#[test]
fn a_command_that_is_too_large_fails_for_good() {
    let mut proposer = registered();
    let sequence = submit(&mut proposer, 0, 9_999);
    let ticket = proposer.attempts(LocalTime(0))[0].0;
    proposer.refused(LocalTime(0), ticket, Refusal::TooLarge);
    let refusal = Some(Refusal::TooLarge);
    assert_eq!(proposer.expired(LocalTime(0)), [Expired { sequence, sent: false, refusal }]);
}

#[test]
fn overload_fails_a_command_that_was_never_taken() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 9_999);
    let ticket = proposer.attempts(LocalTime(0))[0].0;
    proposer.refused(LocalTime(1), ticket, Refusal::Overloaded);
    assert_eq!(proposer.next_wake(), Some(LocalTime(0)), "now");
    let refusal = Some(Refusal::Overloaded);
    assert_eq!(proposer.expired(LocalTime(1)), [Expired { sequence: 2, sent: false, refusal }]);
    assert_eq!(proposer.outstanding(), 0);
    assert!(sent(&mut proposer, 9_000).is_empty());
}

#[test]
fn overload_does_not_fail_a_command_that_may_have_been_taken() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 9_999);
    proposer.attempts(LocalTime(0));
    let second = proposer.attempts(LocalTime(RETRY_MS))[0].0;
    proposer.refused(LocalTime(RETRY_MS), second, Refusal::Overloaded);
    assert!(proposer.expired(LocalTime(RETRY_MS)).is_empty());
    assert_eq!(numbers(&sent(&mut proposer, 2 * RETRY_MS)), [2]);
    let refusal = Some(Refusal::Overloaded);
    assert_eq!(proposer.expired(LocalTime(9_999)), [Expired { sequence: 2, sent: true, refusal }]);
}

#[test]
fn without_a_leader_a_command_is_tried_until_its_deadline_and_was_never_sent() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 250);
    for now in [0, 100, 200] {
        let ticket = proposer.attempts(LocalTime(now))[0].0;
        proposer.refused(LocalTime(now), ticket, Refusal::NoLeader);
        proposer.refused(LocalTime(now), ticket, Refusal::NoLeader);
    }
    assert_eq!(proposer.next_wake(), Some(LocalTime(250)));
    assert!(proposer.expired(LocalTime(249)).is_empty());
    let refusal = Some(Refusal::NoLeader);
    assert_eq!(proposer.expired(LocalTime(250)), [Expired { sequence: 2, sent: false, refusal }]);
}

#[test]
fn the_registration_is_neither_refused_for_good_nor_given_up() {
    let mut proposer = proposer();
    let ticket = proposer.attempts(LocalTime(0))[0].0;
    proposer.refused(LocalTime(0), ticket, Refusal::Overloaded);
    assert!(proposer.expired(LATE).is_empty());
    assert_eq!(numbers(&sent(&mut proposer, 100)), [1]);
}

#[test]
fn the_low_water_mark_is_the_lowest_number_without_an_answer() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 50);
    submit(&mut proposer, 0, 9_999);
    let commands = sent(&mut proposer, 0);
    assert!(commands.iter().all(|command| command.origin.low_water == 2));
    proposer.applied(&commands[1].origin, &Outcome::Void);
    submit(&mut proposer, 1, 9_999);
    assert_eq!(sent(&mut proposer, 1)[0].origin.low_water, 2, "number 2 is outstanding");
    assert_eq!(proposer.expired(LocalTime(50)).len(), 1);
    assert_eq!(sent(&mut proposer, 101)[0].origin.low_water, 4, "a given-up number is passed");
}

#[test]
fn what_is_beyond_the_window_waits_for_the_mark() {
    let mut proposer = registered();
    for _ in 0..WINDOW + 3 {
        submit(&mut proposer, 0, 9_999);
    }
    let commands = sent(&mut proposer, 0);
    assert_eq!(commands.len() as u64, WINDOW);
    proposer.applied(&commands[1].origin, &Outcome::Void);
    assert!(sent(&mut proposer, 1).is_empty(), "the mark has not moved");
    proposer.applied(&commands[0].origin, &Outcome::Void);
    assert_eq!(numbers(&sent(&mut proposer, 1)), [WINDOW + 2, WINDOW + 3]);
}

#[test]
fn a_command_that_was_sent_and_given_up_is_followed_by_the_mark_until_that_is_applied() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 50);
    sent(&mut proposer, 0);
    let given_up = proposer.expired(LocalTime(50));
    assert!(given_up[0].sent);
    let mark = sent(&mut proposer, 50);
    assert_eq!(
        (&mark[0].operation, mark[0].origin.low_water),
        (&Operation::Node(NodeOperation::RaiseLowWater), 3)
    );
    assert!(proposer.expired(LocalTime(u64::MAX - 1)).is_empty(), "the mark does not expire");
    assert_eq!(numbers(&sent(&mut proposer, 50 + RETRY_MS)), [3], "and is repeated");
    proposer.applied(&mark[0].origin, &Outcome::Node(NodeOutcome::LowWaterRaised { sequence: 3 }));
    assert!(sent(&mut proposer, 5_000).is_empty());
}

#[test]
fn the_mark_waits_until_everything_before_what_was_given_up_is_settled() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 9_999);
    submit(&mut proposer, 0, 50);
    let first = sent(&mut proposer, 0)[0].origin;
    assert_eq!(proposer.expired(LocalTime(50)).len(), 1);
    assert!(sent(&mut proposer, 50).is_empty());
    proposer.applied(&first, &Outcome::Void);
    let mark = sent(&mut proposer, 51);
    assert_eq!(
        (&mark[0].operation, mark[0].origin.low_water),
        (&Operation::Node(NodeOperation::RaiseLowWater), 4)
    );
}

#[test]
fn no_mark_follows_what_was_never_sent() {
    let mut proposer = registered();
    submit(&mut proposer, 0, 50);
    assert!(!proposer.expired(LocalTime(50))[0].sent);
    assert!(sent(&mut proposer, 50).is_empty());
}

/// A log between some processes and a machine that loses, doubles, delays, reorders and refuses.
struct Chaos {
    dice: u64,
    machine: Machine,
    proposers: Vec<Proposer>,
    /// Copies on their way; some stay for a long time.
    flying: Vec<Bytes>,
    now: u64,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let first = FirstState::V1 { settings: Settings::default(), token_base: 1 };
        let payload = Payload::Founding(Founding {
            cluster_id: ClusterId(1),
            founders: BTreeMap::new(),
            machine: wire::encode(&first).into(),
        });
        let process = |id| Proposer::new(NodeId(id), BootId(id * 10), BootCount(1), RETRY_MS);
        let mut chaos = Self {
            dice: seed,
            machine: Machine::default(),
            proposers: vec![process(1), process(2)],
            flying: Vec::new(),
            now: 0,
        };
        chaos.append(payload);
        chaos
    }

    fn below(&mut self, end: usize) -> usize {
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(self.dice >> 33).unwrap() % end
    }

    fn append(&mut self, payload: Payload) -> Option<(Origin, Applied)> {
        let index = self.machine.applied().next();
        let stamp = ClusterTime(self.now);
        self.machine.apply(&Entry { term: Term(1), index, stamp, payload }).answer
    }

    /// Sends, and applies some of what is on its way. Some answers are not seen by their node, as
    /// if it had installed a snapshot just then.
    fn step(&mut self) -> Vec<(usize, u64, Outcome)> {
        self.now += 10;
        for at in 0..self.proposers.len() {
            if self.below(30) == 0 {
                self.proposers[at].leader_changed(LocalTime(self.now));
            }
            for (ticket, commands) in self.proposers[at].attempts(LocalTime(self.now)) {
                match self.below(4) {
                    0 => self.proposers[at].refused(LocalTime(self.now), ticket, Refusal::NoLeader),
                    1 => {}
                    copies => (1..copies).for_each(|_| self.flying.extend(commands.list.clone())),
                }
            }
        }
        let mut settled = Vec::new();
        for _ in 0..self.below(4).min(self.flying.len()) {
            let at = self.below(self.flying.len());
            let bytes = self.flying[at].clone();
            if self.below(3) > 0 {
                self.flying.swap_remove(at);
            }
            let (origin, applied) = self.append(Payload::Command(bytes)).unwrap();
            let node = usize::try_from(origin.node.0 - 1).unwrap();
            if self.below(5) > 0 {
                let sequence = self.proposers[node].applied(&origin, &applied.outcome);
                settled.extend(sequence.map(|sequence| (node, sequence, applied.outcome)));
            }
        }
        settled
    }
}

/// Each lock is taken and, once the grant is known, given back, once. A copy that acted a second
/// time would take a lock again after its return, or return it before.
#[test]
fn every_command_acts_once_and_its_one_answer_arrives() {
    for seed in 0..200 {
        let mut chaos = Chaos::new(seed);
        let mut wanted: BTreeMap<(usize, u64), String> = BTreeMap::new();
        let mut returning: BTreeMap<(usize, u64), String> = BTreeMap::new();
        for lock in 0..20 {
            let node = lock % 2;
            let name = format!("l{lock}");
            let time = chaos.machine.active_time();
            let number = chaos.proposers[node].submit(LocalTime(0), time, acquire(&name), LATE);
            wanted.insert((node, number), name);
        }
        let mut returned = BTreeSet::new();
        for _ in 0..20_000 {
            for (node, number, outcome) in chaos.step() {
                if let Some(name) = wanted.remove(&(node, number)) {
                    let granted = matches!(
                        outcome,
                        Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { .. }))
                    );
                    assert!(granted, "seed {seed}: {outcome:?}");
                    let (now, time) = (LocalTime(chaos.now), chaos.machine.active_time());
                    let number = chaos.proposers[node].submit(now, time, release(&name), LATE);
                    returning.insert((node, number), name);
                } else if let Some(name) = returning.remove(&(node, number)) {
                    assert_eq!(
                        outcome,
                        Outcome::Lock(LockOutcome::Release(ReleaseOutcome::Released)),
                        "seed {seed}"
                    );
                    returned.insert(name);
                }
            }
            for name in &returned {
                assert!(chaos.machine.locks().get(name).is_none(), "seed {seed}: taken again");
            }
            if returned.len() == 20 {
                break;
            }
        }
        assert_eq!(returned.len(), 20, "seed {seed}: some answers never came");
        // Whatever still lies about arrives now.
        for bytes in std::mem::take(&mut chaos.flying) {
            chaos.append(Payload::Command(bytes));
        }
        assert_eq!(chaos.machine.locks().names(), 0, "seed {seed}");
    }
}
