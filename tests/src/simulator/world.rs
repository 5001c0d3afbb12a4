//! The run: takes the next event, lets it happen, checks everything, and goes on.

use std::collections::VecDeque;

use dsync_core::locks;
use dsync_core::machine::{AppliedEntry, Machine};
use dsync_core::raft::{Boot, Bug, Entry, Envelope, Message, Record, RoleKind, judge_boot};
use dsync_core::types::{BootId, Index, NodeId};
use dsync_core::wire::{self, PeerFrame};

use super::ask::Answer;
use super::clients::Clients;
use super::disk::Image;
use super::network::Network;
use super::node::{Node, Standing};
use super::process::Process;
use super::queue::{Delivery, Event, Parcel, ProcessEvent, Queue};
use super::rng::Rng;
use super::swarm::Plan;
use super::time::{Clock, Instant};
use super::trace::{Line, Trace};
use crate::checkers::{Checkers, HistoryStats, Verdict, demand};

/// Every so many-th message goes through its bytes.
const ENCODE_SAMPLE: u64 = 64;

/// Rules of how the core works, not of what it promises. A blind run overlooks them, to see whether
/// their breach also shows in its consequences.
const IMPLEMENTATION_RULES: [&str; 9] = [
    "a candidacy is on disk",
    "a leader commits at an entry of its own term",
    "a leader that cannot work leaves office",
    "a log that contradicts its snapshot is void",
    "a vote is on disk before it leaves",
    "an empty disk never votes",
    "cursors stand in order",
    "the lead is handed only to one that holds the whole log",
    "what is committed is synced on a majority",
];

/// What happened, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stats {
    pub(crate) answers: u64,
    pub(crate) failures: u64,
    pub(crate) grants: u64,
    /// Of lockers: deadlocks that they were told of, waits that timed out, requests that were taken over
    /// by another copy, connections that they closed without an answer.
    pub(crate) deadlocks: u64,
    pub(crate) time_outs: u64,
    pub(crate) superseded: u64,
    pub(crate) hang_ups: u64,
    pub(crate) installs: u64,
    pub(crate) transfers: u64,
    pub(crate) wiped: u64,
    pub(crate) set_back: u64,
}

/// A broken rule, and where.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) rule: &'static str,
    pub(crate) node: usize,
    pub(crate) what: String,
}

/// An answer that a process has put on the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The process.
    pub(crate) boot: BootId,
    pub(crate) client: usize,
    pub(crate) op: u64,
    pub(crate) answer: Answer,
    /// It is from a state that has applied up to here.
    pub(crate) at: Index,
}

/// What every part of a run needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) queue: Queue,
    pub(crate) network: Network,
    pub(crate) plan: Plan,
    pub(crate) checkers: Checkers,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
    pub(crate) step: u64,
    pub(crate) failure: Option<Failure>,
    pub(crate) histories: HistoryStats,
    /// Put on the wire by the process whose turn it is.
    pub(crate) replies: VecDeque<Reply>,
    /// Who was just told to take over, and the end of the log it needs.
    handed_over: Vec<(NodeId, Index)>,
    messages: u64,
    /// Overlook how the core works.
    pub(crate) blind: bool,
    /// Nobody has asked for anything for a long time.
    pub(crate) quiet: bool,
}

/// See `heal.rs`.
const NOT_OLD: &str = "the first commands after a quiet time are not old";

impl Shared {
    /// The first broken rule ends the run.
    pub(crate) fn violation(&mut self, rule: &'static str, node: usize, what: String) {
        if self.blind && IMPLEMENTATION_RULES.contains(&rule) {
            return;
        }
        self.failure.get_or_insert(Failure { rule, node, what });
    }

    /// A command was void.
    pub(crate) fn void(&mut self, node: NodeId) {
        if self.quiet {
            self.violation(NOT_OLD, 0, format!("a command of {node} is void"));
        }
    }

    pub(crate) fn judge(&mut self, node: usize, verdict: Verdict) {
        if let Err(broken) = verdict {
            self.violation(broken.rule, node, broken.what);
        }
    }

    /// Writes a line into the trace.
    pub(crate) fn note(&mut self, node: usize, kind: &'static str, facts: [u64; 4]) {
        let line = Line { step: self.step, at: self.now, node, kind, facts, after: None };
        self.trace.push(line);
    }

    pub(crate) fn send(&mut self, link: (usize, usize), parcel: &Parcel) {
        self.network.send(self.now, &mut self.rng, &mut self.queue, link, parcel);
    }

    /// An answer reaches its client after a while.
    pub(crate) fn deliver(&mut self, reply: Reply) {
        let Reply { client, op, answer, at, .. } = reply;
        let arrives = self.now.plus_us(self.client_latency_us());
        let answer = Box::new(answer);
        self.queue.push(arrives, Event::Answered { client, op, answer, at });
    }

    /// Time between a client and a node, one way.
    pub(crate) fn client_latency_us(&mut self) -> u64 {
        100 + self.rng.below(2_000)
    }

    /// A client's request, which reaches whatever process runs there then.
    pub(crate) fn ask_node(&mut self, at: Instant, slot: usize, event: ProcessEvent) {
        self.queue.push(at, Event::Process { slot, generation: 0, event });
    }

    pub(crate) fn check_records(&mut self, node: &mut Node, records: &[Record]) {
        for record in records {
            let verdict = self.checkers.logs.written(&node.disk.shape, record);
            self.judge(node.slot, verdict);
            node.disk.shape.follow(record);
        }
    }

    pub(crate) fn check_message(&mut self, node: &Node, process: &Process, envelope: &Envelope) {
        let verdict = self.checkers.ballots.sent(envelope, &node.disk.image);
        self.judge(node.slot, verdict);
        if let Message::Append { entries, .. } = &envelope.message {
            let verdict = self.check_append_size(entries);
            self.judge(node.slot, verdict);
        }
        if let Message::TimeoutNow = envelope.message {
            self.handed_over.push((envelope.to, process.raft.status().last));
        }
        let own_id = envelope.from == process.raft.id();
        self.judge(
            node.slot,
            demand(own_id, "a node speaks for itself", || format!("{envelope:?}")),
        );
        self.messages += 1;
        if self.messages.is_multiple_of(ENCODE_SAMPLE) {
            let frame = PeerFrame::V1(envelope.clone());
            let back = wire::decode::<PeerFrame>("frame", &wire::encode(&frame));
            let same = back.is_ok_and(|back| back == frame);
            let verdict =
                demand(same, "a message survives its encoding", || format!("{envelope:?}"));
            self.judge(node.slot, verdict);
        }
    }

    fn check_append_size(&self, entries: &[Entry]) -> Verdict {
        let weight: usize = entries.iter().map(Entry::weight_bytes).sum();
        let bounded = entries.len() <= 1 || weight <= self.plan.limits.append_bytes;
        demand(bounded, "appends are bounded", || {
            format!("{} entries, {weight} bytes", entries.len())
        })
    }

    pub(crate) fn check_applied(
        &mut self,
        slot: usize,
        machine: &Machine,
        entry: &Entry,
        applied: &AppliedEntry,
    ) {
        let verdict = self.checkers.logs.applied(entry);
        self.judge(slot, verdict);
        self.trace.say(slot, entry, applied);
        let verdict = self.checkers.happened(machine, applied);
        self.judge(slot, verdict);
        let verdict = self.checkers.machines.applied(machine);
        self.judge(slot, verdict);
    }

    pub(crate) fn check_hash(&mut self, slot: usize, index: Index, hash: u64) {
        self.trace.mix(hash);
        let verdict = self.checkers.machines.hashed(index, hash);
        self.judge(slot, verdict);
    }
}

/// A whole cluster, its users and its misfortunes.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shared: Shared,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Clients,
    /// No more faults.
    pub(crate) calm: bool,
    /// No faults before this.
    pub(crate) quiet_until: Instant,
    /// A leader may be looking for a successor before this.
    pub(crate) handing_over_until: Instant,
    /// This machine stays off whatever was planned.
    pub(crate) off: Option<usize>,
    /// A disk is to be set back as soon as somebody can tell.
    pub(crate) set_back_due: bool,
    /// The next node to win an election goes down for so long.
    pub(crate) topple_us: Option<u64>,
    /// What a test was told that asks by hand.
    #[cfg(test)]
    pub(crate) told: std::collections::BTreeMap<u64, Answer>,
}

/// The client that a test is which asks by hand.
#[cfg(test)]
pub(crate) const BY_HAND: usize = usize::MAX;

impl World {
    /// Draws a run from its seed. `bug` is put back if `buggy`; its situation is drawn either way, so
    /// that the same seed can be shown to be clean without it.
    pub(crate) fn new(seed: u64, bug: Option<Bug>, buggy: bool, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let mut plan = Plan::draw(&mut rng, bug);
        plan.bug = bug.filter(|_| buggy);
        Self::planned(rng, plan, verbose)
    }

    /// A run whose plan is made.
    pub(crate) fn planned(mut rng: Rng, plan: Plan, verbose: bool) -> Self {
        let mut network = Network::new(plan.network.clone(), plan.nodes);
        let nodes = (0..plan.nodes)
            .map(|slot| {
                let id = NodeId(rng.next());
                network.learn(id, slot);
                let clock = Clock::new(rng.below(1 << 45), rng.below(1_001));
                Node::new(slot, clock, Image::empty(id))
            })
            .collect();
        let shared = Shared {
            now: Instant(0),
            rng,
            queue: Queue::default(),
            network,
            plan,
            checkers: Checkers::default(),
            trace: Trace::new(verbose),
            stats: Stats::default(),
            step: 0,
            failure: None,
            histories: HistoryStats::default(),
            replies: VecDeque::new(),
            handed_over: Vec::new(),
            messages: 0,
            blind: false,
            quiet: false,
        };
        Self {
            shared,
            nodes,
            clients: Clients::default(),
            calm: false,
            quiet_until: Instant(0),
            handing_over_until: Instant(0),
            off: None,
            set_back_due: false,
            topple_us: None,
            #[cfg(test)]
            told: std::collections::BTreeMap::new(),
        }
    }

    /// As `new` does with a bug of the core, with a mistake of the lock table.
    pub(crate) fn put_back_in_locks(&mut self, bug: locks::Bug, buggy: bool) {
        let Shared { plan, rng, .. } = &mut self.shared;
        plan.bend_towards_locks(rng, bug);
        plan.lock_bug = Some(bug).filter(|_| buggy);
    }

    /// The whole run.
    pub(crate) fn run(&mut self) {
        self.begin();
        let end = self.shared.now.plus_ms(self.shared.plan.chaos_ms);
        self.run_until(end);
        // Healing restarts nodes, too: a leader that has yet to notice something keeps its quiet.
        self.run_until(end.max(self.quiet_until));
        self.heal_and_serve();
    }

    pub(super) fn begin(&mut self) {
        for slot in 0..self.nodes.len() {
            let at = self.shared.now.plus_us(self.shared.rng.below(500_000));
            self.shared.queue.push(at, Event::Start { slot });
        }
        let plan = self.shared.plan.clients.clone();
        for _ in 0..plan.recorded {
            self.clients.add(&mut self.shared, 0, None);
        }
        for _ in 0..plan.leased {
            self.clients.add(&mut self.shared, plan.ttl_ms, None);
        }
        self.clients.add_lockers(&mut self.shared);
        let from_start = self.shared.plan.faults.from_start;
        let first_fault_ms = if from_start { 0 } else { 2_500 };
        self.shared.queue.push(self.shared.now.plus_ms(first_fault_ms), Event::Fault);
    }

    /// Lets everything happen that happens before `end`, or until a rule breaks.
    pub(crate) fn run_until(&mut self, end: Instant) {
        while self.shared.failure.is_none() {
            let Some((at, event)) = self.shared.queue.pop(end) else {
                self.shared.now = end;
                return;
            };
            self.shared.now = at;
            self.shared.step += 1;
            self.happen_next(event);
        }
    }

    fn happen_next(&mut self, event: Event) {
        match event {
            Event::Deliver(delivery) => {
                if self.shared.network.arrives(&delivery) && self.may_talk(&delivery) {
                    let (from, parcel) = (delivery.from, delivery.parcel);
                    self.happen(delivery.to, ProcessEvent::Arrived { from, parcel });
                }
            }
            Event::Process { slot, generation, event } => {
                if generation == 0 || generation == self.nodes[slot].generation {
                    self.happen(slot, event);
                }
            }
            Event::Synced { slot, generation } => {
                if generation == self.nodes[slot].generation {
                    self.nodes[slot].synced(&mut self.shared);
                    self.look_at(slot, "synced", [0; 4]);
                }
            }
            Event::Start { slot } if self.off == Some(slot) => {}
            Event::Start { slot } => {
                self.nodes[slot].start(&mut self.shared);
                self.look_at(slot, "start", [0; 4]);
            }
            Event::Resume { slot } => {
                if self.nodes[slot].paused {
                    self.nodes[slot].resume(&mut self.shared);
                    self.look_at(slot, "resume", [0; 4]);
                }
            }
            Event::Fault => self.fault(),
            Event::Mend { cut } => self.shared.network.mend(cut),
            Event::Wake { client } => self.clients.wake(client, &mut self.shared),
            Event::GiveUp { client, op } => self.clients.give_up(client, op, &mut self.shared),
            #[cfg(test)]
            Event::Answered { client: BY_HAND, op, answer, .. } => {
                self.told.insert(op, *answer);
            }
            Event::Answered { client, op, answer, at } => {
                self.clients.answered(client, op, *answer, at, &mut self.shared);
            }
        }
    }

    /// Two processes of which one refuses the other at the handshake have no connection.
    fn may_talk(&mut self, delivery: &Delivery) -> bool {
        let Parcel::Message(envelope, sender) = &delivery.parcel else { return true };
        if self.shared.plan.bug == Some(Bug::SetBackDiskReturns) {
            return true;
        }
        let Some(receiver) = &self.nodes[delivery.to].process else { return true };
        let judge = |by: &Process, of: NodeId, boot: &Boot| {
            judge_boot(by.raft.held_boot(of).as_ref(), boot).err()
        };
        let (id, boot) = (receiver.raft.id(), receiver.raft.boot());
        let refused =
            judge(receiver, envelope.from, sender).map(|fault| (delivery.from, sender.id, fault));
        let sending = self.nodes[delivery.from].process.as_ref();
        let sending = sending.filter(|process| process.raft.boot().id == sender.id);
        let refuses = match sending {
            Some(process) => judge(process, id, &boot).map(|fault| (delivery.to, boot.id, fault)),
            // Whoever sent it met another process than this one.
            None if self.nodes[delivery.to].standing == Standing::SetBack => return false,
            None => None,
        };
        let Some((slot, boot, fault)) = refused.or(refuses) else { return true };
        let node = &mut self.nodes[slot];
        if node.process.as_ref().is_some_and(|process| process.raft.boot().id == boot) {
            node.refused(fault, &mut self.shared);
            self.look_at(slot, "refused", [delivery.from as u64, delivery.to as u64, 0, 0]);
        }
        false
    }

    /// One event at one node.
    pub(crate) fn happen(&mut self, slot: usize, event: ProcessEvent) {
        let (kind, facts) = describe(&event);
        self.nodes[slot].happen(event, &mut self.shared);
        self.look_at(slot, kind, facts);
    }

    /// Checks the node that has just acted, and notes what it did.
    fn look_at(&mut self, slot: usize, kind: &'static str, facts: [u64; 4]) {
        let after = self.nodes[slot].process.as_ref().map(|process| {
            let status = process.raft.status();
            let role = match status.role {
                RoleKind::Follower => 'F',
                RoleKind::Candidate => 'C',
                RoleKind::Leader => 'L',
            };
            (role, status.term.0, status.last.0, status.commit.0, status.applied.0)
        });
        let Shared { step, now, trace, .. } = &mut self.shared;
        trace.push(Line { step: *step, at: *now, node: slot, kind, facts, after });
        let won = self.has_just_won(slot);
        for verdict in self.check(slot) {
            self.shared.judge(slot, verdict);
        }
        self.check_hand_over(slot);
        if let Some(down_us) = self.topple_us.take_if(|_| won) {
            self.crash(slot, down_us);
        }
        self.pass_on_replies(slot);
        self.end_drained(slot);
    }

    fn has_just_won(&self, slot: usize) -> bool {
        self.nodes[slot].process.as_ref().is_some_and(|process| {
            process.raft.status().role == RoleKind::Leader && !process.seen.leads
        })
    }

    /// A leader hands over only to one that holds its whole log, synced.
    fn check_hand_over(&mut self, from: usize) {
        for (to, last) in std::mem::take(&mut self.shared.handed_over) {
            let successor = self.nodes.iter().find(|node| node.disk.image.node_id == to);
            let member = successor.filter(|node| node.standing == Standing::Member);
            let Some(image) = member.map(|node| &node.disk.image) else { continue };
            let verdict = demand(
                image.last() >= last,
                "the lead is handed only to one that holds the whole log",
                || format!("{to} holds up to {}, the log ends at {last}", image.last()),
            );
            self.shared.judge(from, verdict);
        }
    }

    fn check(&mut self, slot: usize) -> [Verdict; 4] {
        const NOTHING: [Verdict; 4] = [const { Ok(()) }; 4];
        let (before, rest) = self.nodes.split_at_mut(slot);
        let Some((node, behind)) = rest.split_first_mut() else { return NOTHING };
        let (own, Some(process)) = (&node.disk.image, &mut node.process) else { return NOTHING };
        let status = process.raft.status();
        let Checkers { ballots, logs, .. } = &mut self.shared.checkers;
        let won = status.role == RoleKind::Leader && !process.seen.leads;
        let leads = if won { ballots.leads(status.term, process.raft.id()) } else { Ok(()) };
        let elected = if won { logs.elected(&process.raft) } else { Ok(()) };
        let others = || before.iter().chain(behind.iter()).map(|node| &node.disk.image);
        let disk = |id| others().chain([own]).find(|image| image.node_id == id);
        let committed = logs.commit_rose(&process.raft, &process.seen, disk);
        [leads, elected, committed, process.seen.look(&status)]
    }

    /// True if the founding is certainly over: something is committed.
    pub(crate) fn is_founded(&self) -> bool {
        self.shared.checkers.logs.committed() > Index(0)
    }

    /// Slots of the nodes whose disks still count.
    pub(crate) fn members(&self) -> Vec<usize> {
        let member = |node: &&Node| node.standing == Standing::Member;
        self.nodes.iter().filter(member).map(|node| node.slot).collect()
    }
}

/// What the trace says of an event.
fn describe(event: &ProcessEvent) -> (&'static str, [u64; 4]) {
    match event {
        ProcessEvent::Tick => ("tick", [0; 4]),
        ProcessEvent::Arrived { from, parcel } => {
            let Parcel::Message(envelope, _) = parcel else {
                return ("introduction", [*from as u64, 0, 0, 0]);
            };
            let (kind, a, b) = describe_message(&envelope.message);
            (kind, [*from as u64, envelope.term.0, a, b])
        }
        ProcessEvent::Persisted(_) => ("persisted", [0; 4]),
        ProcessEvent::Worked => ("worked", [0; 4]),
        ProcessEvent::FileStored { file, .. } => ("file stored", [file.meta.index.0, 0, 0, 0]),
        ProcessEvent::Asked { client, op, .. } => ("asked", [*client as u64, *op, 0, 0]),
        ProcessEvent::Unreachable(_) => ("unreachable", [0; 4]),
        ProcessEvent::Flood { commands, bytes } => {
            ("flood", [*commands as u64, *bytes as u64, 0, 0])
        }
        ProcessEvent::Transfer { .. } => ("transfer", [0; 4]),
        ProcessEvent::Drain => ("drain", [0; 4]),
        ProcessEvent::HungUp { client, op } => ("hung up", [*client as u64, *op, 0, 0]),
    }
}

fn describe_message(message: &Message) -> (&'static str, u64, u64) {
    match message {
        Message::VoteRequest { ballot, last } => (
            match ballot {
                dsync_core::raft::Ballot::PreVote => "PreVoteRequest",
                dsync_core::raft::Ballot::Vote => "VoteRequest",
                dsync_core::raft::Ballot::Transfer => "TransferRequest",
            },
            last.index.0,
            last.term.0,
        ),
        Message::VoteReply { ballot, granted } => (
            match ballot {
                dsync_core::raft::Ballot::PreVote => "PreVoteReply",
                _ => "VoteReply",
            },
            u64::from(*granted),
            0,
        ),
        Message::Append { prev, entries, .. } => ("Append", prev.index.0, entries.len() as u64),
        Message::AppendReply { outcome } => match outcome {
            dsync_core::raft::AppendOutcome::Matched(index) => ("Matched", index.0, 0),
            dsync_core::raft::AppendOutcome::Conflict { prev, hint } => {
                ("Conflict", prev.0, hint.index.0)
            }
        },
        Message::Heartbeat { commit, round, .. } => ("Heartbeat", commit.0, *round),
        Message::HeartbeatReply { round, synced_end, .. } => {
            ("HeartbeatReply", *round, synced_end.0)
        }
        Message::Commit { commit } => ("Commit", commit.0, 0),
        Message::Forward { ticket, commands } => ("Forward", *ticket, commands.len() as u64),
        Message::ForwardRefused { ticket, .. } => ("ForwardRefused", *ticket, 0),
        Message::ReadRequest { id } => ("ReadRequest", *id, 0),
        Message::ReadReply { id, point } => {
            ("ReadReply", *id, point.map_or(0, |point| point.index.0))
        }
        Message::SnapshotChunk { meta, offset, .. } => ("SnapshotChunk", meta.index.0, *offset),
        Message::SnapshotReply { index, next_offset } => ("SnapshotReply", index.0, *next_offset),
        Message::TimeoutNow => ("TimeoutNow", 0, 0),
        Message::FoundingOffer(_) => ("FoundingOffer", 0, 0),
        Message::FoundingHeld { .. } => ("FoundingHeld", 0, 0),
        Message::DiskRefused { held, recovered, .. } => ("DiskRefused", held.0, recovered.0),
        Message::BootHeld(boot) => ("BootHeld", boot.count.0, boot.held.0),
    }
}
