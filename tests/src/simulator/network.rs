//! The network: what is said may be lost, doubled, late, out of order, or not arrive at all in one or
//! both directions.
//!
//! Messages are addressed to node ids and travel to machines: what is meant for a wiped disk's old id
//! still reaches the machine that has the name, and the core there has to drop it.

use std::collections::BTreeMap;

use dsync_core::raft::{Envelope, Message};
use dsync_core::types::NodeId;

use super::queue::{Delivery, Event, Parcel, Queue};
use super::rng::Rng;
use super::swarm::NetworkPlan;
use super::time::Instant;

/// One direction between two machines.
#[derive(Clone, Debug, Default)]
struct Link {
    /// Cuts that it is part of: 0 is open.
    cuts: u32,
    /// Rises with every reset.
    epoch: u64,
    /// Arrival of the last message, for connections that keep their order.
    last_arrival: Instant,
}

/// All links, and the cuts in force.
#[derive(Debug)]
pub(crate) struct Network {
    plan: NetworkPlan,
    links: Vec<Vec<Link>>,
    cuts: BTreeMap<u64, Vec<(usize, usize)>>,
    next_cut: u64,
    machines: BTreeMap<NodeId, usize>,
}

impl Network {
    pub(crate) fn new(plan: NetworkPlan, machines: usize) -> Self {
        Self {
            plan,
            links: vec![vec![Link::default(); machines]; machines],
            cuts: BTreeMap::new(),
            next_cut: 0,
            machines: BTreeMap::new(),
        }
    }

    /// This id is (also) found at this machine.
    pub(crate) fn learn(&mut self, id: NodeId, slot: usize) {
        self.machines.insert(id, slot);
    }

    pub(crate) fn machine_of(&self, id: NodeId) -> Option<usize> {
        self.machines.get(&id).copied()
    }

    /// Puts a parcel on its way.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        queue: &mut Queue,
        (from, to): (usize, usize),
        parcel: &Parcel,
    ) {
        if self.links[from][to].cuts > 0 || rng.chance(self.plan.loss_ppm) {
            return;
        }
        let copies = 1 + u8::from(may_double(parcel) && rng.chance(self.plan.double_ppm));
        for _ in 0..copies {
            let at = self.arrival(now, rng, from, to);
            let epoch = self.links[from][to].epoch;
            let parcel = parcel.clone();
            queue.push(at, Event::Deliver(Delivery { from, to, epoch, parcel }));
        }
    }

    fn arrival(&mut self, now: Instant, rng: &mut Rng, from: usize, to: usize) -> Instant {
        let plan = &self.plan;
        let mut at = now.plus_us(plan.latency_us + rng.below(plan.jitter_us + 1));
        if rng.chance(plan.late_ppm) {
            at = at.plus_ms(rng.between(1, plan.late_ms));
        }
        let link = &mut self.links[from][to];
        if plan.in_order {
            at = at.max(link.last_arrival);
            link.last_arrival = at;
        }
        at
    }

    /// True if what was sent on that connection still arrives.
    pub(crate) fn arrives(&self, delivery: &Delivery) -> bool {
        let link = &self.links[delivery.from][delivery.to];
        link.cuts == 0 && link.epoch == delivery.epoch
    }

    /// Cuts links, one direction each, until the cut is mended.
    pub(crate) fn cut(&mut self, links: Vec<(usize, usize)>) -> u64 {
        for (from, to) in &links {
            self.links[*from][*to].cuts += 1;
        }
        self.next_cut += 1;
        self.cuts.insert(self.next_cut, links);
        self.next_cut
    }

    pub(crate) fn mend(&mut self, cut: u64) {
        for (from, to) in self.cuts.remove(&cut).unwrap_or_default() {
            self.links[from][to].cuts -= 1;
        }
    }

    /// True if nothing is cut.
    pub(crate) fn is_whole(&self) -> bool {
        self.cuts.is_empty()
    }

    /// Breaks the connection in both directions: what is under way is lost.
    pub(crate) fn reset(&mut self, a: usize, b: usize) {
        self.links[a][b].epoch += 1;
        self.links[b][a].epoch += 1;
    }

    /// Mends everything; from now on nothing is lost, doubled, late or slow.
    pub(crate) fn heal(&mut self) {
        for cut in self.cuts.keys().copied().collect::<Vec<_>>() {
            self.mend(cut);
        }
        self.plan.loss_ppm = 0;
        self.plan.double_ppm = 0;
        self.plan.late_ppm = 0;
        self.plan.latency_us = self.plan.latency_us.min(500);
        self.plan.jitter_us = self.plan.jitter_us.min(500);
    }
}

/// A forwarded command is sent once over a stream that delivers at most once: the proposer leans on
/// that when a refusal comes back. Everything else must bear to be doubled.
fn may_double(parcel: &Parcel) -> bool {
    let forwards = |envelope: &Envelope| matches!(envelope.message, Message::Forward { .. });
    !matches!(parcel, Parcel::Message(envelope, _) if forwards(envelope))
}
