//! Connections: a request is sent, and its answer comes, or the client hangs up before it does.

use dsync_core::types::Index;
use dsync_core::waits::WaitOutcome;

use super::job::Job;
use super::{FIRST, Lockers, Phase};
use crate::checkers::{Question, demand};
use crate::simulator::ask::Answer;
use crate::simulator::queue::{Event, ProcessEvent};
use crate::simulator::time::Instant;
use crate::simulator::world::Shared;

/// Most copies of one request: then its agent does something else.
const COPIES_MAX: u32 = 5;
/// Who flees has hung up by then.
const FLEES_WITHIN_US: u64 = 60_000;
/// Beyond what a request's steps may take at its node: time for the network and the disks.
const SLACK_MS: u64 = 3_000;

/// One connection with a request on it.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) number: usize,
    slot: usize,
    pub(super) sent_at: Instant,
    pub(super) question: Question,
    wait_ms: u64,
    /// When its client hangs up.
    due: Instant,
    /// The client has hung up. What is on the wire still arrives at its machine.
    pub(super) closed: bool,
}

impl Lockers {
    /// Sends an agent's request, for the first time or again.
    pub(super) fn call(&mut self, number: usize, shared: &mut Shared) {
        let agent = &mut self.agents[number];
        let Some(request) = &mut agent.request else { return };
        self.last_call += 1;
        let op = self.last_call;
        request.copies += 1;
        request.call = Some(op);
        let question = Question {
            owner: agent.owner.clone(),
            operation: request.job.operation(&agent.owner),
            name: request.job.name(),
            after: shared.checkers.witness.answered_up_to(),
            copies: request.copies,
            newest: true,
            rivals: agent.gave_up,
        };
        let (job, ask) = (request.job.clone(), request.job.ask(&agent.owner, request.id.clone()));
        agent.let_go(&job, shared);
        if let Job::RenewAll { .. } = job {
            self.renewed_all.insert(agent.owner.name.clone());
        }
        let slot = if self.slots.is_empty() {
            shared.rng.index(shared.plan.nodes)
        } else {
            shared.rng.pick(&self.slots)
        };
        let (sent_at, wait_ms) = (shared.now, job.wait_ms());
        let due = self.hangs_up_at(wait_ms, shared);
        let call = Call { number, slot, sent_at, question, wait_ms, due, closed: false };
        self.calls.insert(op, call);
        let arrives = shared.now.plus_us(shared.client_latency_us());
        let event = ProcessEvent::Asked { client: FIRST + number, op, ask: Box::new(ask) };
        shared.ask_node(arrives, slot, event);
        shared.queue.push(due, Event::GiveUp { client: FIRST + number, op });
    }

    /// Some are hasty; the others stay for as long as their node may take.
    fn hangs_up_at(&self, wait_ms: u64, shared: &mut Shared) -> Instant {
        if self.phase == Phase::Fleeing {
            return shared.now.plus_us(shared.rng.below(FLEES_WITHIN_US));
        }
        let timeout_ms = shared.plan.clients.timeout_ms;
        let hasty = shared.plan.lockers.hasty_percent + shared.plan.lockers.twice_percent;
        if self.phase == Phase::Storm && shared.rng.percent(hasty) {
            return shared.now.plus_ms(5 + shared.rng.below(wait_ms + timeout_ms));
        }
        shared.now.plus_ms(patience_ms(wait_ms, shared))
    }

    /// Time is up for a call, unless it was prolonged.
    pub(in crate::simulator) fn give_up(&mut self, op: u64, shared: &mut Shared) {
        let Some(call) = self.calls.get(&op).filter(|call| !call.closed) else { return };
        if shared.now < call.due {
            return;
        }
        let (number, slot) = (call.number, call.slot);
        let answerable = shared.checkers.uptimes.covers(slot, call.sent_at);
        if self.phase == Phase::Quiet {
            let verdict = demand(
                !answerable,
                "once the cluster is healed every call is answered in time",
                || format!("{:?} by {call:?}", shared.now),
            );
            shared.judge(slot, verdict);
        }
        let request = self.agents[number].request.as_ref();
        let newest = request.is_some_and(|request| request.call == Some(op));
        let again = request.is_some_and(|request| request.copies < COPIES_MAX);
        let twice = newest
            && again
            && self.phase == Phase::Storm
            && shared.rng.percent(shared.plan.lockers.twice_percent * 3);
        if twice {
            self.prolong(op, shared);
            return self.call(number, shared);
        }
        self.hang_up(op, shared);
        if newest {
            self.unanswered(number, shared);
        }
    }

    /// The connection stays open beside another one.
    fn prolong(&mut self, op: u64, shared: &mut Shared) {
        let Some(call) = self.calls.get_mut(&op) else { return };
        call.due = shared.now.plus_ms(patience_ms(call.wait_ms, shared));
        let client = FIRST + call.number;
        shared.queue.push(call.due, Event::GiveUp { client, op });
    }

    /// Every open call has as long from now on as its node may take.
    pub(super) fn prolong_all(&mut self, shared: &mut Shared) {
        let open = self.calls.iter().filter(|(_, call)| !call.closed).map(|(op, _)| *op);
        for op in open.collect::<Vec<_>>() {
            self.prolong(op, shared);
        }
    }

    fn hang_up(&mut self, op: u64, shared: &mut Shared) {
        let Some(call) = self.calls.get_mut(&op) else { return };
        call.closed = true;
        shared.stats.hang_ups += 1;
        let (client, slot) = (FIRST + call.number, call.slot);
        let arrives = shared.now.plus_us(shared.client_latency_us());
        shared.ask_node(arrives, slot, ProcessEvent::HungUp { client, op });
    }

    /// An agent has its answer: the other copies of its request are of no use to it.
    fn hang_up_all_of(&mut self, number: usize, shared: &mut Shared) {
        let open = self.calls.iter().filter(|(_, call)| call.number == number && !call.closed);
        for op in open.map(|(op, _)| *op).collect::<Vec<_>>() {
            self.hang_up(op, shared);
        }
    }

    /// An answer reaches a client's machine.
    pub(in crate::simulator) fn answered(
        &mut self,
        op: u64,
        answer: &Answer,
        at: Index,
        shared: &mut Shared,
    ) {
        let Some(mut call) = self.calls.remove(&op) else { return };
        shared.stats.answers += 1;
        if let Answer::Waited { outcome: WaitOutcome::Superseded, .. } = answer {
            shared.stats.superseded += 1;
        }
        self.note_told(answer);
        let request = self.agents[call.number].request.as_mut();
        let newest = request.is_some_and(|it| it.call.take_if(|it| *it == op).is_some());
        call.question.newest = newest;
        if newest {
            let copies = self.agents[call.number].request.as_ref().map(|request| request.copies);
            call.question.copies = copies.unwrap_or(call.question.copies);
        }
        let verdict = shared.checkers.witness.answer(&call.question, answer, at);
        shared.judge(call.slot, verdict);
        if newest {
            self.hang_up_all_of(call.number, shared);
            self.reply(&call, answer, shared);
        }
    }

    /// No answer, or one that says nothing: the same again, mostly elsewhere; or something else.
    pub(super) fn unanswered(&mut self, number: usize, shared: &mut Shared) {
        shared.stats.failures += 1;
        let agent = &mut self.agents[number];
        let Some(request) = &mut agent.request else { return };
        request.call = None;
        let tired = request.copies >= COPIES_MAX || self.phase == Phase::Quiet;
        let fickle = shared.rng.percent(shared.plan.lockers.fickle_percent);
        if !request.job.is_duty() && (tired || fickle) {
            let endless = agent.holds.iter().any(|held| held.until.is_none());
            let wish = request.job.is_wish();
            agent.request = None;
            agent.gave_up |= wish;
            if wish && !endless && shared.rng.percent(50) {
                self.replace(number, shared);
            }
        }
        self.rest(number, shared);
    }
}

/// How long a node may take for a request: for its entry, the wait, leaving, and proving a grant.
fn patience_ms(wait_ms: u64, shared: &Shared) -> u64 {
    wait_ms + 4 * shared.plan.clients.timeout_ms + SLACK_MS
}
