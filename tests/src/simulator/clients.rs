//! The users of the cluster: closed-loop lock clients on random nodes.
//!
//! A client has one request under way at a time. When none comes back in time it does not know what
//! happened; it asks again, mostly at another node and for the same owner, or walks away. *Recorded*
//! clients take one lock without a lease at a time, and all they are told goes into a history.
//! *Leased* clients may take two, hold them too long, or vanish without a release; what they believe
//! to hold is compared with what others believe.

use dsync_core::locks::{AcquireOutcome, LockOutcome, LockRefusal, Mode, ReleaseOutcome};
use dsync_core::machine::Outcome;
use dsync_core::types::Index;

use super::ask::{Answer, Ask};
use super::lockers::Lockers;
use super::queue::{Event, ProcessEvent};
use super::time::{Clock, Instant};
use super::world::Shared;
use crate::checkers::{LockOp, LockRet, RecordId, demand};

/// What a client is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    /// Nothing: between two locks.
    Rest,
    Acquire,
    /// Holds its lock.
    Hold,
    Release,
    Look,
}

/// A request under way.
#[derive(Clone, Debug)]
struct Call {
    op: u64,
    sent_at: Instant,
    record: Option<RecordId>,
}

/// One client.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    clock: Clock,
    /// 0: recorded, without leases.
    ttl_ms: u64,
    goal: Goal,
    /// Lock that it is about: history number, or number of a leased name.
    lock: usize,
    owner: u32,
    mode: Mode,
    asks: u32,
    thread: u64,
    call: Option<Call>,
    /// Only this node; for the proof at the end that each one serves.
    only_at: Option<usize>,
    /// Rounds of acquire and release that were finished.
    pub(crate) rounds: u64,
    pub(crate) stopping: bool,
}

/// All clients, and the numbers they share.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) all: Vec<Client>,
    /// Those of the complete service.
    pub(crate) lockers: Lockers,
    next_op: u64,
    next_owner: u32,
    next_thread: u64,
}

impl Clients {
    /// Adds a client and wakes it soon. With `ttl_ms` 0 its history is recorded.
    pub(crate) fn add(&mut self, shared: &mut Shared, ttl_ms: u64, only_at: Option<usize>) {
        let number = self.all.len();
        let clock = Clock::new(shared.rng.below(1 << 40), shared.rng.below(1_001));
        self.all.push(Client {
            clock,
            ttl_ms,
            goal: Goal::Rest,
            lock: 0,
            owner: 0,
            mode: Mode::Exclusive,
            asks: 0,
            thread: 0,
            call: None,
            only_at,
            rounds: 0,
            stopping: false,
        });
        self.new_thread(number);
        let at = shared.now.plus_us(shared.rng.below(20_000));
        shared.queue.push(at, Event::Wake { client: number });
    }

    /// Clients finish what they are about and begin nothing new.
    pub(crate) fn stop(&mut self) {
        for client in &mut self.all {
            client.stopping = true;
        }
    }

    /// The users of the complete service.
    pub(crate) fn add_lockers(&mut self, shared: &mut Shared) {
        self.lockers.add_all(shared);
    }

    fn new_thread(&mut self, number: usize) {
        self.next_thread += 1;
        self.all[number].thread = self.next_thread;
    }

    /// A client's turn.
    pub(crate) fn wake(&mut self, number: usize, shared: &mut Shared) {
        if Lockers::has(number) {
            return self.lockers.wake(number, shared);
        }
        if self.all[number].call.is_some() {
            return;
        }
        match self.all[number].goal {
            Goal::Rest => self.begin(number, shared),
            Goal::Hold => self.go_on_holding(number, shared),
            Goal::Acquire | Goal::Release | Goal::Look => self.call(number, shared),
        }
    }

    /// Picks a lock and what to do with it.
    fn begin(&mut self, number: usize, shared: &mut Shared) {
        self.next_owner += 1;
        let (names, plan) = (shared.plan.clients.names, shared.plan.clients.clone());
        let client = &mut self.all[number];
        if client.stopping {
            return;
        }
        let lock = shared.rng.below(names);
        client.lock = if client.ttl_ms > 0 {
            usize::try_from(lock).unwrap_or(0)
        } else {
            let lock = client.only_at.map_or(lock, |slot| 1_000 + slot as u64);
            shared.checkers.histories.current(lock)
        };
        client.owner = self.next_owner;
        client.asks = 0;
        let shared_mode = shared.rng.percent(plan.shared_percent);
        client.mode = if shared_mode { Mode::Shared } else { Mode::Exclusive };
        let looks = client.only_at.is_none() && shared.rng.percent(plan.read_percent);
        client.goal = if looks { Goal::Look } else { Goal::Acquire };
        self.call(number, shared);
    }

    /// A holder's turn: ask again, look, vanish, or release.
    fn go_on_holding(&mut self, number: usize, shared: &mut Shared) {
        let client = &mut self.all[number];
        let dice = shared.rng.below(100);
        if client.ttl_ms > 0 && dice < 15 {
            self.rest(number, shared); // Vanishes: its lease has to end by itself.
            return;
        }
        client.goal = if dice < 30 && !client.stopping && client.only_at.is_none() {
            Goal::Acquire
        } else {
            Goal::Release
        };
        self.call(number, shared);
    }

    fn rest(&mut self, number: usize, shared: &mut Shared) {
        self.all[number].goal = Goal::Rest;
        let us = shared.rng.around(shared.plan.clients.think_ms * 1_000);
        shared.queue.push(shared.now.plus_us(us), Event::Wake { client: number });
    }

    /// Sends the request that the goal needs.
    fn call(&mut self, number: usize, shared: &mut Shared) {
        self.next_op += 1;
        let op = self.next_op;
        let client = &mut self.all[number];
        client.asks += 1;
        let record = client
            .lock_op()
            .filter(|_| client.ttl_ms == 0)
            .map(|lock_op| shared.checkers.histories.invoked(client.lock, client.thread, lock_op));
        if client.goal == Goal::Release && client.ttl_ms > 0 {
            shared.checkers.leases.gives_up(&client.name(), &client.owner());
        }
        client.call = Some(Call { op, sent_at: shared.now, record });
        let slot = client.only_at.unwrap_or_else(|| shared.rng.index(shared.plan.nodes));
        let ask = Box::new(client.ask());
        let arrives = shared.now.plus_us(shared.client_latency_us());
        let event = ProcessEvent::Asked { client: number, op, ask };
        shared.ask_node(arrives, slot, event);
        let gives_up = shared.now.plus_ms(shared.plan.clients.timeout_ms + 200);
        shared.queue.push(gives_up, Event::GiveUp { client: number, op });
    }

    /// No answer in time.
    pub(crate) fn give_up(&mut self, number: usize, op: u64, shared: &mut Shared) {
        if Lockers::has(number) {
            return self.lockers.give_up(op, shared);
        }
        self.answered(number, op, Answer::Unknown, Index(0), shared);
    }

    /// An answer, unless it is too late for one.
    pub(crate) fn answered(
        &mut self,
        number: usize,
        op: u64,
        answer: Answer,
        at: Index,
        shared: &mut Shared,
    ) {
        if Lockers::has(number) {
            return self.lockers.answered(op, &answer, at, shared);
        }
        let Some(call) = self.all[number].call.take_if(|call| call.op == op) else { return };
        shared.stats.answers += 1;
        if let Some(record) = call.record {
            match self.all[number].lock_ret(&answer) {
                Some(ret) => shared.checkers.histories.returned(record, ret, at),
                None => {
                    shared.checkers.histories.timed_out(record);
                    self.new_thread(number);
                }
            }
        }
        match answer {
            Answer::Unknown | Answer::Failed | Answer::Elsewhere => {
                shared.stats.failures += 1;
                self.try_again(number, shared);
            }
            Answer::View(_) => self.finish_look(number, shared),
            Answer::Outcome(Outcome::Lock(LockOutcome::Acquire(outcome))) => {
                self.asked(number, &call, &outcome, shared);
            }
            Answer::Outcome(Outcome::Lock(LockOutcome::Release(outcome))) => {
                self.left(number, outcome, shared);
            }
            other @ (Answer::Outcome(_) | Answer::Applied { .. } | Answer::Waited { .. }) => {
                let what = format!("client {number} was told {other:?}");
                shared.violation("answers fit their requests", 0, what);
            }
        }
    }

    /// The same again, or something else.
    fn try_again(&mut self, number: usize, shared: &mut Shared) {
        let client = &mut self.all[number];
        let patient = client.only_at.is_some() || shared.rng.percent(70);
        if client.goal == Goal::Look || (!patient && client.asks > 1) {
            return self.rest(number, shared);
        }
        let us = shared.rng.around(shared.plan.clients.think_ms * 1_000);
        shared.queue.push(shared.now.plus_us(us), Event::Wake { client: number });
    }

    fn finish_look(&mut self, number: usize, shared: &mut Shared) {
        self.rest(number, shared);
    }

    /// The answer to an acquire.
    fn asked(&mut self, number: usize, call: &Call, outcome: &AcquireOutcome, shared: &mut Shared) {
        match outcome {
            AcquireOutcome::Granted { remaining_ms, .. } => {
                self.granted(number, call, *remaining_ms, shared);
            }
            AcquireOutcome::Waiting { .. } => {
                let client = &mut self.all[number];
                let tired = client.asks > 6 || (client.stopping && client.asks > 3);
                if tired && client.only_at.is_none() {
                    client.goal = Goal::Release;
                }
                let us = shared.rng.around(shared.plan.clients.think_ms * 2_000);
                shared.queue.push(shared.now.plus_us(us), Event::Wake { client: number });
            }
            AcquireOutcome::Refused(LockRefusal::Limit { .. }) => self.rest(number, shared),
            AcquireOutcome::Deadlock { .. }
            | AcquireOutcome::Refused(_)
            | AcquireOutcome::Held { .. }
            | AcquireOutcome::Ended
            | AcquireOutcome::Left
            | AcquireOutcome::Revoked { .. } => {
                let what = format!("client {number} with one lock at a time: {outcome:?}");
                shared.violation("only what is wrong is refused", 0, what);
            }
        }
    }

    fn granted(
        &mut self,
        number: usize,
        call: &Call,
        remaining_ms: Option<u64>,
        shared: &mut Shared,
    ) {
        shared.stats.grants += 1;
        let client = &mut self.all[number];
        client.goal = Goal::Hold;
        let verdict = match remaining_ms {
            Some(ms) if client.ttl_ms > 0 => {
                let until = believed_end(&client.clock, call.sent_at, ms);
                let (name, owner) = (client.name(), client.owner());
                shared.checkers.leases.believes(shared.now, &name, &owner, client.mode, until)
            }
            remaining => demand(
                remaining.is_none() && client.ttl_ms == 0,
                "a lease is what was asked for",
                || format!("ttl {} gives {remaining:?}", client.ttl_ms),
            ),
        };
        shared.judge(0, verdict);
        let us = shared.rng.around(shared.plan.clients.think_ms * 1_000);
        shared.queue.push(shared.now.plus_us(us), Event::Wake { client: number });
    }

    fn left(&mut self, number: usize, _outcome: ReleaseOutcome, shared: &mut Shared) {
        self.all[number].rounds += 1;
        self.rest(number, shared);
    }
}

impl Client {
    fn name(&self) -> String {
        if self.ttl_ms > 0 {
            format!("leased-{}", self.lock)
        } else {
            format!("lock-{}", self.lock)
        }
    }

    fn owner(&self) -> String {
        format!("o{}", self.owner)
    }

    fn ask(&self) -> Ask {
        let (name, owner) = (self.name(), self.owner());
        match self.goal {
            Goal::Look => Ask::Read { name },
            Goal::Release => Ask::Release { name, owner },
            Goal::Rest | Goal::Acquire | Goal::Hold => {
                Ask::Acquire { name, owner, mode: self.mode, ttl_ms: self.ttl_ms }
            }
        }
    }

    fn lock_op(&self) -> Option<LockOp> {
        match self.goal {
            Goal::Acquire => Some(LockOp::Acquire(self.owner, self.mode)),
            Goal::Release => Some(LockOp::Release(self.owner)),
            Goal::Look => Some(LockOp::Read),
            Goal::Rest | Goal::Hold => None,
        }
    }

    /// What an answer means in a history; `None` leaves the operation open.
    fn lock_ret(&self, answer: &Answer) -> Option<LockRet> {
        Some(match answer {
            Answer::Unknown => return None,
            Answer::Failed | Answer::Elsewhere => LockRet::Nothing,
            Answer::View(view) => {
                let holders = view.iter().flat_map(|lock| &lock.holders);
                let full = holders.filter(|holder| !holder.claim);
                LockRet::View(full.map(|h| (number_of(&h.owner.name), h.mode, h.token)).collect())
            }
            Answer::Outcome(Outcome::Lock(LockOutcome::Acquire(outcome))) => match outcome {
                AcquireOutcome::Granted { tokens, .. } => LockRet::Granted { token: tokens[0] },
                AcquireOutcome::Waiting { .. } => LockRet::Waiting,
                _ => LockRet::Nothing,
            },
            Answer::Outcome(Outcome::Lock(LockOutcome::Release(outcome))) => match outcome {
                ReleaseOutcome::Released => LockRet::Released,
                ReleaseOutcome::LeftQueue => LockRet::LeftQueue,
                ReleaseOutcome::NotHolder | ReleaseOutcome::HeldWithOthers { .. } => {
                    LockRet::NotHolder
                }
            },
            Answer::Outcome(_) | Answer::Applied { .. } | Answer::Waited { .. } => LockRet::Nothing,
        })
    }
}

/// Until when, in true time, a client with this clock believes to hold: what remains, counted on its own
/// clock from the sending, less 0.1 % and a millisecond.
pub(super) fn believed_end(clock: &Clock, sent_at: Instant, remaining_ms: u64) -> Instant {
    let counted_us = (remaining_ms * 999).saturating_sub(1_000);
    let start_us = clock.read_us(sent_at);
    // Its clock is off by at most 500 millionths; find the true moment at which it shows the end.
    let mut end = sent_at.plus_us(counted_us);
    while clock.read_us(end) > start_us + counted_us && end > sent_at {
        end = Instant(end.0 - 50);
    }
    while clock.read_us(end.plus_us(50)) < start_us + counted_us {
        end = end.plus_us(50);
    }
    end
}

fn number_of(owner: &str) -> u32 {
    owner.trim_start_matches('o').parse().unwrap_or(0)
}
