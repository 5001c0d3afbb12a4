//! The end of a run, for lockers: they come to rest, nothing is left behind, and every name can be had.

use dsync_core::locks::{HolderView, LockView};
use dsync_core::machine::Machine;

use super::agent::Request;
use super::job::Job;
use super::plan::PREFIX;
use super::{Lockers, Phase, wake_in};
use crate::simulator::world::Shared;

/// How long an errand waits for its lock, in milliseconds: longer than all others together need.
const ERRAND_WAIT_MS: u64 = 5_000;

/// How often each locker asks and flees.
const FLIGHTS: usize = 3;

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

    /// Everybody asks for a lock without a lease at two nodes, hangs up on both, and is never heard of again;
    /// several times. What is left of it then is for ever.
    pub(in crate::simulator) fn ask_and_flee(&mut self, shared: &mut Shared) {
        self.phase = Phase::Fleeing;
        for number in (0..self.agents.len()).cycle().take(FLIGHTS * self.agents.len()) {
            self.replace(number, shared);
            let items = shared.plan.lockers.items(&mut shared.rng);
            let job = Job::Acquire { items, ttl_ms: 0, wait_ms: ERRAND_WAIT_MS };
            let id = self.agents[number].next_id(false, &mut shared.rng);
            self.agents[number].request = Some(Request { job, id, copies: 0, call: None });
            self.call(number, shared);
            self.call(number, shared);
            self.agents[number].request = None;
        }
    }

    /// Everybody takes each name whole, once, and gives it back. `forced` are taken away first.
    pub(in crate::simulator) fn take_turns(&mut self, forced: &[String], shared: &mut Shared) {
        self.phase = Phase::Quiet;
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
            self.sort(&lock, machine, shared, &mut left);
        }
        left
    }

    fn sort(&self, lock: &LockView, machine: &Machine, shared: &Shared, left: &mut LeftBehind) {
        for holder in &lock.holders {
            if holder.claim || !self.may_have_been_told(holder, machine, shared) {
                left.ghosts.push(format!("{}: {holder:?}", lock.name));
            } else {
                left.held.push(lock.name.clone());
            }
        }
        left.held.dedup();
    }

    /// A client has heard of it; or it was to be told by a process that has died since; or it was
    /// renewed with all that its owner has.
    fn may_have_been_told(&self, holder: &HolderView, machine: &Machine, shared: &Shared) -> bool {
        let tellers = machine.locks().tellers(holder.hold);
        let may_have = match tellers {
            Some(tellers) => tellers.iter().any(|it| !shared.checkers.uptimes.is_running(it.boot)),
            None => self.renewed_all.contains(&holder.owner.name),
        };
        may_have || self.told.contains(&holder.hold)
    }
}
