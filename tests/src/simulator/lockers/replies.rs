//! What an answer changes for the agent that gets it.

use dsync_core::locks::{
    AcquireOutcome, HoldId, HoldOutcome, LockItem, LockOutcome, Mode, RenewAllOutcome,
};
use dsync_core::machine::Outcome;
use dsync_core::types::Index;
use dsync_core::waits::WaitOutcome;

use super::Lockers;
use super::agent::{Agent, Held};
use super::calls::Call;
use super::job::Job;
use crate::simulator::ask::Answer;
use crate::simulator::clients::believed_end;
use crate::simulator::world::Shared;

/// A wait after which a grant is renewed before it is relied on.
const LONG_WAIT_MS: u64 = 50;

impl Lockers {
    /// Remembers which holds somebody has heard of, even if only a closed connection did.
    pub(super) fn note_told(&mut self, answer: &Answer) {
        match answer {
            Answer::Waited { outcome: WaitOutcome::Granted { hold, .. }, .. }
            | Answer::Applied {
                outcome: Outcome::Lock(LockOutcome::Acquire(AcquireOutcome::Granted { hold, .. })),
                ..
            } => drop(self.told.insert(*hold)),
            Answer::Applied { outcome: Outcome::Lock(LockOutcome::RenewAll(outcome)), .. } => {
                self.told.extend(outcome.kept.iter().map(|(hold, _)| *hold));
            }
            _ => {}
        }
    }

    /// The answer for which an agent waits.
    pub(super) fn reply(&mut self, call: &Call, answer: &Answer, shared: &mut Shared) {
        let number = call.number;
        let Some(request) = self.agents[number].request.clone() else { return };
        match answer {
            Answer::Unknown | Answer::Failed | Answer::Elsewhere => {
                return self.unanswered(number, shared);
            }
            Answer::Waited { outcome: WaitOutcome::Superseded | WaitOutcome::Void, .. } => {
                return self.unanswered(number, shared);
            }
            Answer::Waited { outcome, index, waited_ms, .. } => {
                self.waited(call, &request.job, outcome, (*index, *waited_ms), shared);
            }
            Answer::Applied {
                outcome: Outcome::Lock(LockOutcome::Hold(outcome)), index, ..
            } => {
                self.about_a_hold(call, &request.job, outcome, *index, shared);
            }
            Answer::Applied { outcome: Outcome::Lock(LockOutcome::RenewAll(outcome)), .. } => {
                self.renewed_all(call, outcome, shared);
            }
            Answer::Applied { .. } | Answer::View(_) | Answer::Outcome(_) => {}
        }
        self.agents[number].request = None;
        if !request.job.is_wish() && self.agents[number].holds.is_empty() {
            self.finish_errand(number, &request.job);
        }
        self.rest(number, shared);
    }

    /// An errand is done once nothing is held because of it any more.
    fn finish_errand(&mut self, number: usize, done: &Job) {
        if matches!(done, Job::Release { .. } | Job::Force { .. }) {
            self.agents[number].errands.pop();
        }
    }

    fn waited(
        &mut self,
        call: &Call,
        job: &Job,
        outcome: &WaitOutcome,
        (index, waited_ms): (Index, u64),
        shared: &mut Shared,
    ) {
        let agent = &mut self.agents[call.number];
        match outcome {
            WaitOutcome::Granted { hold, tokens, remaining_ms } => {
                shared.stats.grants += 1;
                // As the protocol says to count it, however long the wait was.
                let remaining_ms = remaining_ms.map(|ms| ms + waited_ms);
                self.granted(call, job, (*hold, tokens, remaining_ms), index, shared);
            }
            WaitOutcome::TimedOut => shared.stats.time_outs += 1,
            WaitOutcome::Deadlock { .. } => {
                shared.stats.deadlocks += 1;
                agent.yields = true;
            }
            // The hold has ended, or only what an earlier copy got: it is renewed to find out.
            WaitOutcome::Ended => {
                if let Job::Upgrade { hold, .. } = job {
                    agent.unproven = Some(*hold);
                }
            }
            WaitOutcome::Revoked { .. } => {
                if let Job::Upgrade { hold, .. } = job {
                    self.lost(call.number, *hold, shared);
                }
            }
            _ => {}
        }
    }

    fn granted(
        &mut self,
        call: &Call,
        job: &Job,
        (hold, tokens, remaining_ms): (HoldId, &[u64], Option<u64>),
        index: Index,
        shared: &mut Shared,
    ) {
        let agent = &mut self.agents[call.number];
        let known = agent.held(hold).cloned();
        let (items, ttl_ms) = match (job, known) {
            (Job::Acquire { items, ttl_ms, .. }, _) => (items.clone(), *ttl_ms),
            (Job::Upgrade { name, .. }, Some(held)) => (exclusive(held.items, name), held.ttl_ms),
            _ => return,
        };
        for (item, token) in items.iter().zip(tokens) {
            let verdict = shared.checkers.beliefs.told(index, hold, item, *token);
            shared.judge(0, verdict);
        }
        if job.wait_ms() > 0 && shared.now >= call.sent_at.plus_ms(LONG_WAIT_MS) {
            agent.unproven = Some(hold);
        }
        agent.has(Held { hold, items, ttl_ms, until: None });
        self.believe(call, hold, remaining_ms, shared);
    }

    /// From now until what remains, counted from the sending of the request and what it waited, it believes
    /// in the hold.
    fn believe(
        &mut self,
        call: &Call,
        hold: HoldId,
        remaining_ms: Option<u64>,
        shared: &mut Shared,
    ) {
        let agent = &mut self.agents[call.number];
        let clock = agent.clock;
        let Some(held) = agent.held(hold) else { return };
        held.until = remaining_ms.map(|ms| believed_end(&clock, call.sent_at, ms));
        let (items, until) = (held.items.clone(), held.until);
        let owner = (agent.owner.name.as_str(), hold);
        let verdict = shared.checkers.beliefs.believes(shared.now, owner, &items, until);
        shared.judge(0, verdict);
    }

    fn about_a_hold(
        &mut self,
        call: &Call,
        job: &Job,
        outcome: &HoldOutcome,
        index: Index,
        shared: &mut Shared,
    ) {
        let Some(hold) = call.question.hold() else { return };
        match (outcome, job) {
            (HoldOutcome::Renewed { remaining_ms }, _) => {
                self.believe(call, hold, *remaining_ms, shared);
            }
            (HoldOutcome::Downgraded { token, remaining_ms }, Job::Downgrade { name, .. }) => {
                let held = self.agents[call.number].held(hold);
                let items = held.into_iter().flat_map(|held| &mut held.items);
                for item in items.filter(|item| item.name == *name) {
                    item.mode = Mode::Shared;
                    let verdict = shared.checkers.beliefs.told(index, hold, item, *token);
                    shared.judge(0, verdict);
                }
                self.believe(call, hold, *remaining_ms, shared);
            }
            (HoldOutcome::Refused(_) | HoldOutcome::Downgraded { .. }, _) => {}
            (HoldOutcome::Released | HoldOutcome::NotHeld | HoldOutcome::Revoked { .. }, _) => {
                self.lost(call.number, hold, shared);
            }
        }
    }

    fn renewed_all(&mut self, call: &Call, outcome: &RenewAllOutcome, shared: &mut Shared) {
        for (hold, remaining_ms) in &outcome.kept {
            let agent = &mut self.agents[call.number];
            if agent.held(*hold).is_none() {
                let hold = *hold;
                agent.holds.push(Held { hold, items: Vec::new(), ttl_ms: 0, until: None });
            }
            self.believe(call, *hold, *remaining_ms, shared);
        }
        for hold in outcome.lost.iter().chain(&outcome.revoked) {
            self.lost(call.number, *hold, shared);
        }
    }

    fn lost(&mut self, number: usize, hold: HoldId, shared: &mut Shared) {
        shared.checkers.beliefs.gives_up(hold);
        self.agents[number].forget(hold);
    }
}

impl Agent {
    /// What it stops relying on when it sends this, not when it is answered: it may never be.
    pub(super) fn let_go(&mut self, job: &Job, shared: &mut Shared) {
        match job {
            Job::Release { hold } => shared.checkers.beliefs.gives_up(*hold),
            Job::Downgrade { hold, name } => {
                shared.checkers.beliefs.shares(*hold, name);
                let items = self.held(*hold).into_iter().flat_map(|held| &mut held.items);
                items.filter(|item| item.name == *name).for_each(|item| item.mode = Mode::Shared);
            }
            _ => {}
        }
    }
}

fn exclusive(mut items: Vec<LockItem>, name: &str) -> Vec<LockItem> {
    for item in items.iter_mut().filter(|item| item.name == name) {
        item.mode = Mode::Exclusive;
    }
    items
}
