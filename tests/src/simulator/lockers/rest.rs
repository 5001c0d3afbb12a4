//! The end of a run, for lockers: they come to rest, nothing is left behind, and every name can be had.

use dsync_core::locks::{HolderView, LockView};

use super::job::Job;
use super::plan::PREFIX;
use super::{Lockers, Phase, wake_in};
use crate::simulator::world::Shared;

/// How long an errand waits for its lock, in milliseconds: longer than all others together need.
const ERRAND_WAIT_MS: u64 = 5_000;

/// What the machine still has of the lockers.
#[derive(Debug, Default)]
pub(in crate::simulator) struct LeftBehind {
    /// Waits for which nobody waits.
    pub(in crate::simulator) waits: Vec<String>,
    /// Holds that nobody was told of, though nothing kept anybody from telling.
    pub(in crate::simulator) ghosts: Vec<String>,
    /// Names with holds that somebody may have been told of.
    pub(in crate::simulator) held: Vec<String>,
}

impl Lockers {
    /// Everybody finishes what it is about, gives back what it has, and asks only these nodes.
    pub(in crate::simulator) fn come_to_rest(&mut self, slots: &[usize], shared: &mut Shared) {
        self.phase = Phase::Quiet;
        self.slots = slots.to_vec();
        self.prolong_all(shared);
        self.wake_all(shared);
    }

    /// Nobody has, wants or awaits anything.
    pub(in crate::simulator) fn are_at_rest(&self) -> bool {
        let idle = |agent: &super::Agent| {
            agent.request.is_none() && agent.holds.is_empty() && agent.errands.is_empty()
        };
        self.agents.iter().all(idle) && self.calls.values().all(|call| call.closed)
    }

    /// Everybody takes each name whole, once, and gives it back. `forced` are taken away first.
    pub(in crate::simulator) fn take_turns(&mut self, forced: &[String], shared: &mut Shared) {
        let plan = &shared.plan.lockers;
        let rounds: Vec<Job> = (0..plan.names())
            .map(|number| Job::Acquire {
                items: vec![plan.whole(number)],
                ttl_ms: 0,
                wait_ms: ERRAND_WAIT_MS,
            })
            .collect();
        let force = |name: &String| Job::Force { name: name.clone(), now: true };
        for agent in &mut self.agents {
            agent.errands.clone_from(&rounds);
        }
        if let Some(first) = self.agents.first_mut() {
            first.errands.extend(forced.iter().map(force));
        }
        self.wake_all(shared);
    }

    fn wake_all(&self, shared: &mut Shared) {
        for number in 0..self.agents.len() {
            let in_us = shared.rng.below(20_000);
            wake_in(number, in_us, shared);
        }
    }

    /// What the newest state has of them.
    pub(in crate::simulator) fn left_behind(&self, shared: &Shared) -> LeftBehind {
        let mut left = LeftBehind::default();
        let Some(machine) = shared.checkers.witness.newest() else { return left };
        for lock in machine.locks().after(PREFIX, "") {
            left.waits
                .extend(lock.waiters.iter().map(|waiter| format!("{}: {waiter:?}", lock.name)));
            self.sort(&lock, shared, &mut left);
        }
        left
    }

    fn sort(&self, lock: &LockView, shared: &Shared, left: &mut LeftBehind) {
        for holder in &lock.holders {
            if holder.claim || !self.may_have_been_told(holder, shared) {
                left.ghosts.push(format!("{}: {holder:?}", lock.name));
            } else {
                left.held.push(lock.name.clone());
            }
        }
        left.held.dedup();
    }

    /// A client has heard of it; or its last word was lost, because a node that it had asked died, or
    /// was not there; or it asked twice. (Known: who asks twice and hears neither answer keeps the
    /// hold, since neither node can know that the other one's answer was not heard. Decision 0006.)
    fn may_have_been_told(&self, holder: &HolderView, shared: &Shared) -> bool {
        let given_up = self.given_up.get(&holder.owner.name).into_iter().flatten();
        let mut lost = given_up.filter(|(slot, at)| !shared.checkers.uptimes.covers(*slot, *at));
        let twice = self.repeated.contains(&holder.owner.name);
        self.told.contains(&holder.hold) || lost.next().is_some() || twice
    }
}
