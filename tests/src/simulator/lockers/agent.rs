//! One sequential agent: who it is, what it holds, and what it does next.

use dsync_core::locks::{HoldId, LockItem, Mode, Owner};
use dsync_core::machine::RequestId;

use super::job::Job;
use super::plan::LockerPlan;
use crate::simulator::rng::Rng;
use crate::simulator::time::{Clock, Instant};

/// Most holds of one agent: enough to wait for each other in a circle.
const HOLDS_MAX: usize = 2;

/// What an agent was told that it holds.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) hold: HoldId,
    /// Empty: a hold that it has heard of by a renewal of all.
    pub(super) items: Vec<LockItem>,
    pub(super) ttl_ms: u64,
    /// When it stops believing; `None`: no lease.
    pub(super) until: Option<Instant>,
}

/// What it is having done.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) job: Job,
    pub(super) id: Option<RequestId>,
    /// How often it was sent.
    pub(super) copies: u32,
    /// The call whose answer counts; `None`: it is to be sent again.
    pub(super) call: Option<u64>,
}

/// One agent. Its owner's name is its own, so everything under that name is its doing.
#[derive(Clone, Debug)]
pub(super) struct Agent {
    pub(super) clock: Clock,
    pub(super) owner: Owner,
    client: u64,
    sequence: u64,
    pub(super) holds: Vec<Held>,
    pub(super) request: Option<Request>,
    /// It was refused for a deadlock: something has to be given back.
    pub(super) yields: bool,
    /// It gave up asking for something, and a copy of that may come late.
    pub(super) gave_up: bool,
    /// A grant that ended a wait: renewed once before it is relied on.
    pub(super) unproven: Option<HoldId>,
    /// What is left to do once the cluster is healed.
    pub(super) errands: Vec<Job>,
}

impl Agent {
    pub(super) fn new(clock: Clock) -> Self {
        let owner = Owner { principal: "anonymous".to_owned(), name: String::new() };
        Self {
            clock,
            owner,
            client: 0,
            sequence: 0,
            holds: Vec::new(),
            request: None,
            yields: false,
            gave_up: false,
            unproven: None,
            errands: Vec::new(),
        }
    }

    /// Another agent takes its place: nothing that it had is known any more.
    pub(super) fn become_new(&mut self, rng: &mut Rng, number: u64) {
        self.owner.name = format!("k{number}");
        (self.client, self.sequence) = (rng.next(), 0);
        self.holds.clear();
        (self.request, self.yields, self.gave_up, self.unproven) = (None, false, false, None);
    }

    /// The next request's id: its number, a word, or, unless it has to be applied once, none.
    pub(super) fn next_id(&mut self, once: bool, rng: &mut Rng) -> Option<RequestId> {
        self.sequence += 1;
        let (client, sequence) = (self.client, self.sequence);
        match rng.below(10) {
            0 if !once => None,
            1 | 2 => Some(RequestId::Key(format!("{client:x}-{sequence}"))),
            _ => Some(RequestId::Numbered { client, sequence, low_water: sequence }),
        }
    }

    /// What it does next in the storm; `None`: it goes away without a word.
    pub(super) fn next_job(&mut self, plan: &LockerPlan, rng: &mut Rng) -> Option<Job> {
        if let Some(job) = self.pressing_job(rng) {
            return Some(job);
        }
        let room = self.holds.len() < HOLDS_MAX;
        if self.holds.is_empty() && rng.percent(90) || room && rng.percent(30) {
            let (ttl_ms, wait_ms) = (plan.ttl_ms(rng), plan.wait_ms(rng));
            return Some(Job::Acquire { items: plan.items(rng), ttl_ms, wait_ms });
        }
        let name = plan.whole(rng.index(plan.names())).name;
        if self.holds.is_empty() || rng.percent(8) {
            return Some(Job::Look { name });
        }
        if rng.percent(2) {
            return Some(Job::Force { name, now: rng.percent(50) });
        }
        if rng.percent(3) && self.holds.iter().all(|held| held.until.is_some()) {
            return None;
        }
        Some(self.job_with_a_hold(plan, rng))
    }

    fn pressing_job(&mut self, rng: &mut Rng) -> Option<Job> {
        if let Some(hold) = self.unproven.take().filter(|_| rng.percent(80)) {
            return Some(Job::Renew { hold, ttl_ms: None });
        }
        let unknown = self.holds.iter().find(|held| held.items.is_empty());
        if let Some(hold) = unknown.map(|held| held.hold) {
            return Some(Job::Release { hold });
        }
        let yields = std::mem::take(&mut self.yields);
        let hold = self.holds.first().filter(|_| yields)?.hold;
        Some(Job::Release { hold })
    }

    fn job_with_a_hold(&self, plan: &LockerPlan, rng: &mut Rng) -> Job {
        let held = &self.holds[rng.index(self.holds.len())];
        let hold = held.hold;
        let item = &held.items[rng.index(held.items.len())];
        let name = item.name.clone();
        match (rng.below(100), item.mode) {
            (0..15, _) => {
                let ttl_ms = rng.percent(50).then(|| plan.ttl_ms(rng));
                Job::Renew { hold, ttl_ms }
            }
            (15..22, _) => {
                let expected = self.holds.iter().map(|held| held.hold).collect();
                Job::RenewAll { expected }
            }
            (22..50, Mode::Shared) => Job::Upgrade { hold, name, wait_ms: plan.wait_ms(rng) },
            (22..40, Mode::Exclusive) => Job::Downgrade { hold, name },
            (50..62, _) => {
                let (items, ttl_ms) = (held.items.clone(), held.ttl_ms);
                Job::Acquire { items, ttl_ms, wait_ms: plan.wait_ms(rng) }
            }
            _ => Job::Release { hold },
        }
    }

    pub(super) fn held(&mut self, hold: HoldId) -> Option<&mut Held> {
        self.holds.iter_mut().find(|held| held.hold == hold)
    }

    pub(super) fn forget(&mut self, hold: HoldId) {
        self.holds.retain(|held| held.hold != hold);
        self.unproven.take_if(|it| *it == hold);
    }

    /// It is told of a hold, which may be one that it had.
    pub(super) fn has(&mut self, held: Held) {
        self.holds.retain(|it| it.hold != held.hold);
        self.holds.push(held);
    }
}
