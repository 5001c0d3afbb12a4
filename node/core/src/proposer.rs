//! One process's commands on their way into the log.
//!
//! # Problem
//!
//! A command is handed to whoever leads, perhaps over the network. It may be refused, lost, taken in
//! and lost with its leader, or applied while this node does not look. The client wants one effect
//! and the truth about it.
//!
//! # Idea
//!
//! Every command gets a number and goes out again, with the same number, until its answer is applied
//! here or its deadline passes. The machine remembers per process which numbers it has applied, and
//! what it said (see `machine/session.rs`).
//!
//! # Why this is exactly once
//!
//! - *At most once*: the machine applies a number only if it is not below the process's low-water
//!   mark and not remembered, and it forgets a number only when the mark passes it.
//! - *The answer is that of the one effect*: the mark is the lowest number still outstanding here, so
//!   it never passes a number whose answer is still wanted.
//! - *A given-up number*: its outcome is unknown to the client, and whatever copy of it is applied
//!   first is the only one. It is no longer outstanding, so the mark passes it as soon as everything
//!   before it is settled, and the next command that is applied carries the mark: from then on a late
//!   copy is void. That command is one of the client's, or, since none may ever come, one that does
//!   nothing else ([`NodeOperation::RaiseLowWater`]), repeated until it is applied. Age alone would not do:
//!   it stands still on a quiet cluster. A process that dies with a copy under way is replaced by one
//!   whose registration voids the copy.
//!
//! # What a refusal is worth
//!
//! A refused attempt changes nothing, so a command of which every attempt was refused was *never
//! taken*: the client may be told so. An attempt that was not refused may lie in some leader's log.
//! This leans on Raft: a ticket may be refused only if no copy of that message can be taken any more.
//!
//! # Order
//!
//! The process registers itself first; everything else waits for that. Commands go out in the order
//! of their numbers, but attempts overtake each other: the order of effects is the log's.
//!
//! # Window
//!
//! The machine keeps outcomes from the mark on, so one command that stays outstanding for long would
//! let its memory grow with everything that follows. At most [`WINDOW`] numbers from the mark on are
//! sent, and at most as many that have [`WINDOW_ITEMS`] outcomes together: one command of a queue has
//! up to a thousand. The rest wait here.

#[cfg(test)]
mod proposer_test;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::machine::{
    Command, NodeOperation, NodeOutcome, Operation, Origin, Outcome, StoredCommand,
};
use crate::raft::{Commands, Refusal};
use crate::types::{ActiveTime, BootCount, BootId, LocalTime, NodeId};
use crate::wire;

/// Most numbers, from the low-water mark on, that are under way: what the machine remembers of one
/// node at most.
pub const WINDOW: u64 = 16 * 1024;
/// Most outcomes that the numbers under way have together, those of one command more than that
/// excepted.
pub const WINDOW_ITEMS: u64 = 256 * 1024;
/// Most bytes of commands in one ticket (a single larger command goes alone).
pub const TICKET_BYTES_MAX: usize = 64 * 1024;
/// The registration's number. It does not expire.
const REGISTRATION: u64 = 1;
/// The deadline of what does not expire.
const NEVER: LocalTime = LocalTime(u64::MAX);

/// The outstanding commands of one process.
#[derive(Debug)]
pub struct Proposer {
    node: NodeId,
    boot: BootId,
    retry_ms: u64,
    registered: bool,
    next_sequence: u64,
    next_ticket: u64,
    /// Everything without an answer. Its first key is the low-water mark.
    pending: BTreeMap<u64, Pending>,
    /// When which command goes out next; exactly the keys of `pending` below `held_from`.
    due: BTreeSet<(LocalTime, u64)>,
    /// The first number that was not let into `due` yet: at or below the window's end.
    held_from: u64,
    /// Outcomes of the numbers from the mark up to `held_from`, settled or not; and their sum.
    window: VecDeque<u64>,
    window_items: u64,
    /// When which command is given up; the keys of `pending` but of those that do not expire.
    deadlines: BTreeSet<(LocalTime, u64)>,
    /// Attempts that were not refused so far, with those of their commands that are pending.
    tickets: BTreeMap<u64, BTreeSet<u64>>,
    /// Refused for good; the next [`Proposer::expired`] gives them up.
    hopeless: BTreeSet<u64>,
    /// The highest number that was given up although it had been sent; 0: none.
    given_up: u64,
    /// The highest mark that is known to be applied: numbers below it are void.
    mark_applied: u64,
    /// The command that raises the mark over `given_up`, while it is outstanding. It does not expire.
    raising: Option<u64>,
}

/// One command without an answer.
#[derive(Debug)]
struct Pending {
    operation: Operation,
    taken_at: ActiveTime,
    deadline: LocalTime,
    /// Its entry in `due`, if it has one.
    next_attempt: LocalTime,
    /// Attempts of it that were not refused. Not empty: it may have been taken.
    tickets: Vec<u64>,
    /// Why the last refused attempt was refused.
    refusal: Option<Refusal>,
}

/// A command that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Which.
    pub sequence: u64,
    /// Some attempt of it was not refused: it may be, or become, applied. False: it never will be.
    pub sent: bool,
    /// Why the last refused attempt was refused.
    pub refusal: Option<Refusal>,
}

impl Proposer {
    /// A process that has not registered yet. `retry_ms`: how long an attempt without an answer
    /// waits before the next one.
    #[must_use]
    pub fn new(node: NodeId, boot: BootId, count: BootCount, retry_ms: u64) -> Self {
        let mut proposer = Self {
            node,
            boot,
            retry_ms,
            registered: false,
            next_sequence: REGISTRATION,
            // A refusal of the process before this one must not fit an attempt of ours.
            next_ticket: (boot.0 & !0xffff_ffff) + 1,
            pending: BTreeMap::new(),
            due: BTreeSet::new(),
            held_from: REGISTRATION,
            window: VecDeque::new(),
            window_items: 0,
            deadlines: BTreeSet::new(),
            tickets: BTreeMap::new(),
            hopeless: BTreeSet::new(),
            given_up: 0,
            mark_applied: 0,
            raising: None,
        };
        proposer.take_in_for_good(Operation::Node(NodeOperation::RegisterBoot { count }));
        proposer
    }

    /// Takes a command in, and numbers it. `taken_at` is what this node's applied state counts
    /// ages by. It goes out with the next [`Proposer::attempts`].
    pub fn submit(
        &mut self,
        now: LocalTime,
        taken_at: ActiveTime,
        operation: Operation,
        deadline: LocalTime,
    ) -> u64 {
        let sequence = self.take_in(now, taken_at, operation, deadline);
        self.deadlines.insert((deadline, sequence));
        sequence
    }

    /// What to hand to Raft as `Input::Propose` now: tickets, each with its encoded commands. Those that
    /// yield have tickets of their own.
    pub fn attempts(&mut self, now: LocalTime) -> Vec<(u64, Commands)> {
        let mut attempts: Vec<(u64, Commands)> = Vec::new();
        let mut room = 0;
        for sequence in self.take_due(now) {
            let Some((command, yields)) = self.encode(sequence) else { continue };
            let fits = attempts.last().is_some_and(|(_, commands)| commands.yields == yields)
                && command.len() <= room;
            if !fits {
                attempts.push((self.open_ticket(), Commands { list: Vec::new(), yields }));
                room = TICKET_BYTES_MAX;
            }
            room = room.saturating_sub(command.len());
            if let Some((ticket, commands)) = attempts.last_mut() {
                commands.list.push(command);
                self.note_attempt(*ticket, sequence);
            }
        }
        attempts
    }

    /// Raft did not take a ticket.
    pub fn refused(&mut self, now: LocalTime, ticket: u64, refusal: Refusal) {
        for sequence in self.tickets.remove(&ticket).unwrap_or_default() {
            let Some(pending) = self.pending.get_mut(&sequence) else { continue };
            pending.tickets.retain(|open| *open != ticket);
            pending.refusal = Some(refusal);
            let for_good = matches!(refusal, Refusal::Overloaded | Refusal::TooLarge);
            let hopeless = for_good && pending.tickets.is_empty();
            if hopeless && pending.deadline < NEVER {
                self.hopeless.insert(sequence);
                self.schedule(sequence, LocalTime(u64::MAX));
            } else {
                self.schedule(sequence, now.plus(self.retry_ms));
            }
        }
    }

    /// Another leader: everything outstanding goes out again with the next
    /// [`Proposer::attempts`].
    pub fn leader_changed(&mut self, now: LocalTime) {
        let waiting: Vec<u64> = self.due.iter().map(|(_, sequence)| *sequence).collect();
        for sequence in waiting {
            if !self.hopeless.contains(&sequence) {
                self.schedule(sequence, now);
            }
        }
    }

    /// A command was applied on this node; call it for every answer. Its number, if it is an
    /// outstanding one of this process, which is settled by that. If the outcome is
    /// [`Outcome::DiskRefused`], of whatever command, this node must stop.
    pub fn applied(&mut self, origin: &Origin, outcome: &Outcome) -> Option<u64> {
        if origin.node != self.node || origin.boot != self.boot {
            return None;
        }
        if *outcome == Outcome::Node(NodeOutcome::BootRegistered) {
            self.registered = true;
        }
        self.mark_applied = self.mark_applied.max(origin.low_water);
        let settled = self.settle(origin.sequence).map(|_| origin.sequence);
        self.raise_mark();
        settled
    }

    /// Gives up, and returns, what is past its deadline and what was refused for good.
    pub fn expired(&mut self, now: LocalTime) -> Vec<Expired> {
        let mut given_up = std::mem::take(&mut self.hopeless);
        given_up.extend(self.deadlines.range(..=(now, u64::MAX)).map(|(_, sequence)| *sequence));
        let expired = given_up.into_iter().filter_map(|sequence| self.give_up(sequence)).collect();
        self.raise_mark();
        expired
    }

    /// When [`Proposer::attempts`] or [`Proposer::expired`] next has something to do, if nothing
    /// else happens; a time that has passed means now. `None`: only after something else happens.
    #[must_use]
    pub fn next_wake(&self) -> Option<LocalTime> {
        if !self.hopeless.is_empty() {
            return Some(LocalTime(0));
        }
        let attempt = if self.registered {
            self.due.first().map(|(at, _)| *at)
        } else {
            self.pending.get(&REGISTRATION).map(|pending| pending.next_attempt)
        };
        attempt.into_iter().chain(self.deadlines.first().map(|(at, _)| *at)).min()
    }

    /// The boot is registered: commands flow.
    #[must_use]
    pub fn registered(&self) -> bool {
        self.registered
    }

    /// How many commands wait for an answer, those not counted that do not expire.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.deadlines.len()
    }

    fn take_in(
        &mut self,
        now: LocalTime,
        taken_at: ActiveTime,
        operation: Operation,
        deadline: LocalTime,
    ) -> u64 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let (tickets, refusal) = (Vec::new(), None);
        let pending =
            Pending { operation, taken_at, deadline, next_attempt: now, tickets, refusal };
        self.pending.insert(sequence, pending);
        self.open_window();
        sequence
    }

    /// Takes in what does not expire, and changes nothing that could be too late: due now, of no age.
    fn take_in_for_good(&mut self, operation: Operation) -> u64 {
        self.take_in(LocalTime(0), ActiveTime(0), operation, NEVER)
    }

    /// Sees to it that what was given up is void one day: once everything before it is settled, a
    /// command of its own brings the mark, unless another one has.
    fn raise_mark(&mut self) {
        let void = self.given_up < self.mark_applied;
        let passed = self.given_up < self.low_water();
        if self.given_up > 0 && !void && passed && self.raising.is_none() {
            self.raising =
                Some(self.take_in_for_good(Operation::Node(NodeOperation::RaiseLowWater)));
        }
    }

    /// What goes out now, in the order of numbers; its next attempt is planned.
    fn take_due(&mut self, now: LocalTime) -> Vec<u64> {
        let due = self.due.range(..=(now, u64::MAX)).map(|(_, sequence)| *sequence);
        let mut sequences: Vec<u64> =
            due.filter(|sequence| self.registered || *sequence == REGISTRATION).collect();
        sequences.sort_unstable();
        for sequence in &sequences {
            self.schedule(*sequence, now.plus(self.retry_ms));
        }
        sequences
    }

    fn encode(&self, sequence: u64) -> Option<(Bytes, bool)> {
        let pending = self.pending.get(&sequence)?;
        let origin = Origin {
            node: self.node,
            boot: self.boot,
            sequence,
            low_water: self.low_water(),
            taken_at: pending.taken_at,
        };
        let command = Command { origin, operation: pending.operation.clone() };
        let yields = command.operation.yields();
        Some((Bytes::from(wire::encode(&StoredCommand::V1(command))), yields))
    }

    fn open_ticket(&mut self) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        ticket
    }

    fn note_attempt(&mut self, ticket: u64, sequence: u64) {
        self.tickets.entry(ticket).or_default().insert(sequence);
        if let Some(pending) = self.pending.get_mut(&sequence) {
            pending.tickets.push(ticket);
        }
    }

    fn give_up(&mut self, sequence: u64) -> Option<Expired> {
        let pending = self.settle(sequence)?;
        let sent = !pending.tickets.is_empty();
        if sent {
            self.given_up = self.given_up.max(sequence);
        }
        Some(Expired { sequence, sent, refusal: pending.refusal })
    }

    /// Takes a command out of every map. The mark may rise by that, and the window move.
    fn settle(&mut self, sequence: u64) -> Option<Pending> {
        let pending = self.pending.remove(&sequence)?;
        self.due.remove(&(pending.next_attempt, sequence));
        self.deadlines.remove(&(pending.deadline, sequence));
        self.hopeless.remove(&sequence);
        self.raising.take_if(|raising| *raising == sequence);
        for ticket in &pending.tickets {
            self.drop_from_ticket(*ticket, sequence);
        }
        self.open_window();
        Some(pending)
    }

    fn drop_from_ticket(&mut self, ticket: u64, sequence: u64) {
        let Some(sequences) = self.tickets.get_mut(&ticket) else { return };
        sequences.remove(&sequence);
        if sequences.is_empty() {
            self.tickets.remove(&ticket);
        }
    }

    /// Moves an attempt of a command that is inside the window.
    fn schedule(&mut self, sequence: u64, at: LocalTime) {
        let Some(pending) = self.pending.get_mut(&sequence) else { return };
        self.due.remove(&(pending.next_attempt, sequence));
        pending.next_attempt = at;
        self.due.insert((at, sequence));
    }

    /// Lets out what the window has reached.
    fn open_window(&mut self) {
        let low_water = self.low_water();
        while self.held_from - (self.window.len() as u64) < low_water
            && let Some(items) = self.window.pop_front()
        {
            self.window_items -= items;
        }
        let end = low_water.saturating_add(WINDOW).min(self.next_sequence);
        while self.held_from < end {
            let pending = self.pending.get(&self.held_from);
            let items = pending.map_or(0, |pending| pending.operation.items());
            if self.window_items > 0 && self.window_items + items > WINDOW_ITEMS {
                break;
            }
            self.due.extend(pending.map(|pending| (pending.next_attempt, self.held_from)));
            self.window.push_back(items);
            self.window_items += items;
            self.held_from += 1;
        }
    }

    /// Every number below this is settled.
    fn low_water(&self) -> u64 {
        self.pending.first_key_value().map_or(self.next_sequence, |(sequence, _)| *sequence)
    }
}
