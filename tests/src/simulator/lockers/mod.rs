//! The users of the complete lock service.
//!
//! # Problem
//!
//! The clients of `clients.rs` take one lock at a time and never wait on a connection. Most of what can
//! go wrong with locks needs more: a request for several names, a wait whose client hangs up, the same
//! request at two nodes, a node that dies between a grant and its answer.
//!
//! # Idea
//!
//! A *locker* is a place at which one sequential agent after another lives; an agent is an owner. It
//! takes one or several of very few names in any mode, with and without a lease, waits or not, renews,
//! upgrades, downgrades, asks again, forces, looks; hangs up in the middle and asks again elsewhere
//! under the same id, or asks elsewhere while the first call is still open; or goes away for good, and
//! another agent takes its place. What it is told goes through the checkers (`witness.rs`,
//! `beliefs.rs`), also what reaches a connection that it has closed by then.
//!
//! Reading order: `plan.rs` (who they are), `agent.rs` (what one does next), `job.rs` (how it says so),
//! `calls.rs` (connections and their ends), `replies.rs` (what an answer changes), `rest.rs` (the end:
//! nothing is left behind, and every name can be had).

mod agent;
mod calls;
mod job;
mod plan;
mod replies;
mod rest;

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::locks::HoldId;

use self::agent::{Agent, Request};
use self::calls::Call;
use self::job::Job;
pub(crate) use self::plan::LockerPlan;
use super::queue::Event;
use super::time::Clock;
use super::world::Shared;

/// Lockers' numbers as clients begin here.
const FIRST: usize = 1_000_000;

/// What the lockers are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Whatever comes to their minds.
    #[default]
    Storm,
    /// They finish and give back what they have, then nothing; errands are still done.
    Quiet,
    /// They hang up on whatever they have asked.
    Fleeing,
}

/// All lockers, their connections, and what is known of agents that are gone.
#[derive(Debug, Default)]
pub(crate) struct Lockers {
    agents: Vec<Agent>,
    calls: BTreeMap<u64, Call>,
    last_call: u64,
    last_owner: u64,
    phase: Phase,
    /// Nodes that are asked; empty: any.
    slots: Vec<usize>,
    /// Holds whose grant has reached a client's machine.
    told: BTreeSet<HoldId>,
    /// Owners that have asked to renew all they have, whatever that is.
    renewed_all: BTreeSet<String>,
}

impl Lockers {
    /// True for clients that live here.
    pub(super) fn has(client: usize) -> bool {
        client >= FIRST
    }

    /// Adds as many as the plan says.
    pub(super) fn add_all(&mut self, shared: &mut Shared) {
        for number in 0..shared.plan.lockers.count {
            let clock = Clock::new(shared.rng.below(1 << 40), shared.rng.below(1_001));
            self.agents.push(Agent::new(clock));
            self.replace(number, shared);
            let in_us = shared.rng.below(20_000);
            wake_in(number, in_us, shared);
        }
    }

    /// A new agent at this place.
    fn replace(&mut self, number: usize, shared: &mut Shared) {
        for held in std::mem::take(&mut self.agents[number].holds) {
            shared.checkers.beliefs.gives_up(held.hold);
        }
        self.last_owner += 1;
        self.agents[number].become_new(&mut shared.rng, self.last_owner);
    }

    /// A locker's turn.
    pub(super) fn wake(&mut self, client: usize, shared: &mut Shared) {
        let number = client - FIRST;
        match &self.agents[number].request {
            Some(request) if request.call.is_some() => {}
            Some(_) => self.call(number, shared),
            None => self.begin(number, shared),
        }
    }

    /// Picks something to do.
    fn begin(&mut self, number: usize, shared: &mut Shared) {
        let agent = &mut self.agents[number];
        agent
            .holds
            .iter()
            .filter(|held| held.until.is_some_and(|until| until <= shared.now))
            .for_each(|held| shared.checkers.beliefs.gives_up(held.hold));
        let job = match self.phase {
            Phase::Fleeing => return,
            Phase::Storm => agent.next_job(&shared.plan.lockers, &mut shared.rng),
            Phase::Quiet => match (agent.holds.first(), agent.errands.last()) {
                (Some(held), _) => Some(Job::Release { hold: held.hold }),
                (None, Some(errand)) => Some(errand.clone()),
                (None, None) => return,
            },
        };
        match job {
            Some(job) => self.request(number, job, shared),
            None => {
                self.replace(number, shared);
                self.rest(number, shared);
            }
        }
    }

    fn request(&mut self, number: usize, job: Job, shared: &mut Shared) {
        let agent = &mut self.agents[number];
        let id = agent.next_id(job.is_duty(), &mut shared.rng);
        agent.request = Some(Request { job, id, copies: 0, call: None });
        self.call(number, shared);
    }

    fn rest(&self, number: usize, shared: &mut Shared) {
        let us = shared.rng.around(shared.plan.lockers.think_ms * 1_000);
        wake_in(number, us, shared);
    }
}

fn wake_in(number: usize, us: u64, shared: &mut Shared) {
    shared.queue.push(shared.now.plus_us(us), Event::Wake { client: FIRST + number });
}
