//! The nodes and what is around them, and each step that they can take.

use bytes::Bytes;
use dsync_core::cache::{
    Answer, CacheMessage, Incarnation, Key, Output, Placement, Process, Value, Version, Write,
    WriteOutcome,
};
use dsync_core::types::LocalTime;

use super::canonical::{FAR, NOW, normalise};
use super::leader::Leader;
use super::network::{Network, Packet};
use super::node::Node;
use super::ring::OneHome;
use super::{Bounds, Fault};

/// Everything. It is always [`NOW`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    pub(super) rest: Rest,
}

/// What is neither a node nor a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rest {
    pub(super) leader: Leader,
    pub(super) ring: OneHome,
    /// The highest version that anybody has read or been told of.
    pub(super) floor: Version,
    pub(super) used: Used,
    /// The broken rule.
    pub(super) violation: Option<&'static str>,
    /// All writes are done, and a copy of what they left can be read at a sharer.
    pub(super) last_write_served: bool,
}

/// What of the bounds is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Used {
    pub writes: u32,
    pub gets: u32,
    pub failovers: u32,
    pub moves: u32,
    pub restarts: u32,
    pub elections: u32,
    pub duplicates: u32,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The clock moves on, everywhere.
    Tick,
    /// A message arrives; true: it will do so again.
    Deliver(usize, bool),
    /// A message is lost, since there are too many.
    Lose(usize),
    /// A client gets.
    Get(usize),
    /// A client writes.
    Write(usize),
    /// A home asks the leader for its lease.
    AskLease(usize),
    /// The leader grants it.
    GrantLease(usize),
    /// The leader gives the home up; another node is next.
    FailOver(usize),
    /// The key moves to another node, while its home lives.
    Move(usize),
    /// The leader has heard that the former home let go, or its grant is over.
    Settle,
    /// A node applies the newest ring.
    Install(usize),
    /// A process dies, and starts again.
    Restart(usize),
    /// Another leader takes office.
    Elect,
}

fn key() -> Key {
    Key("k".to_owned())
}

impl World {
    /// The start: the first node is the home with a fresh lease, everybody knows.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        let mut nodes: Vec<Node> =
            (0..bounds.nodes).map(|node| Node::new(node, 0, bounds)).collect();
        let home = nodes[0].enter();
        let mut state = Self {
            nodes,
            network: Network::default(),
            rest: Rest {
                leader: Leader::new(bounds),
                ring: OneHome { epoch: 1, home, former: None, settled: true },
                floor: Version::default(),
                used: Used::default(),
                violation: None,
                last_write_served: false,
            },
        };
        for node in 0..state.nodes.len() {
            state.install(bounds, node);
        }
        if bounds.home_leases {
            state.rest.leader.ask(home, LocalTime(NOW));
            state.grant(home);
        }
        state.look(bounds, NOW);
        normalise(&mut state, NOW);
        state
    }

    /// Takes one step.
    pub fn act(&mut self, bounds: &Bounds, action: &Action) {
        let mut now = NOW;
        match *action {
            Action::Tick => {
                now += 1;
                self.tick(bounds);
            }
            Action::Deliver(packet, again) => self.deliver(bounds, packet, again),
            Action::Lose(packet) => {
                self.network.take(packet, false);
            }
            Action::Get(node) => self.get(bounds, node),
            Action::Write(node) => self.write(bounds, node),
            Action::AskLease(node) => self.rest.leader.ask(self.place(node), LocalTime(NOW)),
            Action::GrantLease(node) => self.grant(self.place(node)),
            Action::FailOver(node) => {
                self.rest.used.failovers += 1;
                self.change_home(node, false);
            }
            Action::Move(node) => {
                self.rest.used.moves += 1;
                self.change_home(node, true);
            }
            Action::Settle => self.settle(),
            Action::Install(node) => self.install(bounds, node),
            Action::Restart(node) => self.restart(bounds, node),
            Action::Elect => {
                self.rest.used.elections += 1;
                self.rest.leader.succeed(bounds);
            }
        }
        self.look(bounds, now);
        let homes = self.rest.ring.homes();
        self.rest.leader.tick(LocalTime(now), &homes, bounds.rules.home_lease_ms);
        normalise(self, now);
    }

    /// The node's incarnation in the ring; if it has none, one that nobody knows.
    pub(super) fn place(&self, node: usize) -> Incarnation {
        let node = &self.nodes[node];
        let known = self.rest.ring.homes().into_iter().find(|home| home.process == node.process);
        known.unwrap_or(Incarnation { process: node.process, returns: node.entries })
    }

    /// True if the message can still change anything. (Those of a dead process that would only make
    /// others wait are taken as lost, too.)
    pub(super) fn expects(&self, packet: &Packet) -> bool {
        let of = |process: Process| self.nodes.iter().find(|node| node.process == process);
        let home = packet.message.home();
        let gone = !self.rest.ring.homes().contains(&home)
            && of(home.process).is_none_or(|node| !node.caches.is_home(home));
        let sends =
            matches!(packet.message, CacheMessage::Write { .. }) || of(packet.from).is_some();
        let Some(to) = of(packet.to).filter(|_| !gone && sends) else { return false };
        if let CacheMessage::Invalidate { session, number, .. } = packet.message {
            let home = of(home.process);
            return home.is_some_and(|node| node.caches.waits_for(packet.to, session, number));
        }
        !to.caches.ignores(packet.from, &packet.message)
    }

    fn tick(&mut self, bounds: &Bounds) {
        for node in 0..self.nodes.len() {
            let out = self.nodes[node].caches.tick(LocalTime(NOW + 1));
            self.carry_out(bounds, LocalTime(NOW + 1), node, out);
        }
    }

    fn deliver(&mut self, bounds: &Bounds, packet: usize, again: bool) {
        self.rest.used.duplicates += u32::from(again);
        if let Some(packet) = self.network.take(packet, again) {
            self.hand_over(bounds, LocalTime(NOW), packet);
        }
    }

    fn hand_over(&mut self, bounds: &Bounds, now: LocalTime, packet: Packet) {
        let Packet { from, to, message } = packet;
        let Some(node) = self.nodes.iter().position(|node| node.process == to) else { return };
        let out = self.nodes[node].caches.receive(now, from, message);
        self.carry_out(bounds, now, node, out);
    }

    fn get(&mut self, bounds: &Bounds, node: usize) {
        self.rest.used.gets += 1;
        let ticket = self.nodes[node].begin(self.rest.floor, false);
        let out = self.nodes[node].caches.get(LocalTime(NOW), ticket, &key());
        self.carry_out(bounds, LocalTime(NOW), node, out);
    }

    /// All values are alike: what tells them apart is their version.
    fn write(&mut self, bounds: &Bounds, node: usize) {
        self.rest.used.writes += 1;
        let ticket = self.nodes[node].begin(self.rest.floor, true);
        let delete = bounds.deletes && self.rest.used.writes == 2;
        let value = Value { body: Bytes::new(), content_type: String::new() };
        let condition = bounds.condition(self.nodes[node].seen);
        let write = Write { value: (!delete).then_some(value), ttl_ms: None, condition };
        let out = self.nodes[node].caches.write(LocalTime(NOW), ticket, &key(), write);
        self.carry_out(bounds, LocalTime(NOW), node, out);
    }

    fn grant(&mut self, home: Incarnation) {
        let homes = self.rest.ring.homes();
        let granted = self.rest.leader.grant(home, LocalTime(NOW), &homes);
        let node = self.nodes.iter_mut().find(|node| node.process == home.process);
        if let (Some(sent_at), Some(node)) = (granted, node) {
            node.caches.home_lease_granted(home, sent_at);
        }
    }

    fn change_home(&mut self, next: usize, former_lives: bool) {
        let former = self.rest.ring.home;
        let known = self.rest.ring.homes().contains(&self.place(next));
        let home = if known { self.place(next) } else { self.nodes[next].enter() };
        self.rest.ring = OneHome {
            epoch: self.rest.ring.epoch + 1,
            home,
            former: former_lives.then_some(former),
            settled: !former_lives,
        };
    }

    /// Whose grant ended without a word is out of the ring by the same entry.
    fn settle(&mut self) {
        self.rest.ring.settled = true;
        let former = self.rest.ring.former.take();
        self.rest.ring.former =
            former.filter(|former| !self.rest.leader.is_over(*former, LocalTime(NOW)));
    }

    fn install(&mut self, bounds: &Bounds, node: usize) {
        let ring = self.rest.ring.clone();
        let at = &mut self.nodes[node];
        at.ring = (ring.epoch, ring.settled);
        let out = at.caches.install(LocalTime(NOW), &ring);
        if !bounds.home_leases && ring.homes().iter().any(|home| home.process == at.process) {
            let home = self.place(node);
            self.nodes[node].caches.home_lease_granted(home, LocalTime(NOW + FAR));
        }
        self.carry_out(bounds, LocalTime(NOW), node, out);
    }

    fn restart(&mut self, bounds: &Bounds, node: usize) {
        self.rest.used.restarts += 1;
        let starts = self.nodes[node].starts + 1;
        let entries = self.nodes[node].entries;
        self.nodes[node] = Node::new(node, starts, bounds);
        if bounds.fault == Some(Fault::SameIncarnation) {
            self.nodes[node].entries = entries;
        }
    }

    /// A home's last word about a request arrives at once: later or never would only end the request
    /// later. Renewals of nodes that never read are lost: they have no copies.
    fn carry_out(&mut self, bounds: &Bounds, now: LocalTime, node: usize, outputs: Vec<Output>) {
        let from = self.nodes[node].process;
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    let last_word = matches!(
                        message,
                        CacheMessage::Written { .. } | CacheMessage::Refused { .. }
                    );
                    let packet = Packet { from, to, message };
                    let renewal = matches!(packet.message, CacheMessage::Renew { .. });
                    if last_word {
                        self.hand_over(bounds, now, packet);
                    } else if !renewal || bounds.readers.contains(&node) {
                        self.network.send(packet);
                    }
                }
                Output::Answer(answer) => self.told(bounds, node, answer),
                Output::Evicted(_) => {}
            }
        }
    }

    fn told(&mut self, bounds: &Bounds, node: usize, answer: Answer) {
        let (ticket, version, write) = match answer {
            Answer::Got { ticket, found, .. } => (ticket, found.map(|found| found.version), false),
            Answer::Wrote { ticket, outcome: WriteOutcome::Done(version) } => {
                (ticket, Some(version), true)
            }
            Answer::Wrote { ticket, .. } | Answer::GetUnavailable { ticket } => {
                (ticket, None, false)
            }
        };
        let Some(open) = self.nodes[node].open.remove(&ticket) else { return };
        let Some(version) = version else { return };
        if write && version <= open.floor {
            self.rest.violation = Some("a write was ordered before what had been read");
        } else if version < open.floor {
            self.rest.violation = Some("a get was answered with an old value");
        }
        if bounds.conditional {
            self.nodes[node].seen = self.nodes[node].seen.max(Some(version));
        }
        self.rest.floor = self.rest.floor.max(version);
    }

    /// As if a client asked every node now. Two that may serve different versions are as bad as one that
    /// serves an old one: whoever asks both can see the new one first.
    fn look(&mut self, bounds: &Bounds, now: u64) {
        for node in &mut self.nodes {
            let copy = node.caches.read(LocalTime(now), &key());
            node.readable = copy.map(|copy| copy.version);
        }
        let readable = || self.nodes.iter().filter_map(|node| node.readable);
        let newest = readable().max().unwrap_or_default();
        if readable().any(|version| version < self.rest.floor) {
            self.rest.violation = Some("an old copy can be read");
        } else if readable().any(|version| version < newest) {
            self.rest.violation = Some("two nodes serve different versions");
        }
        self.rest.floor = self.rest.floor.max(newest);
        let home = self.rest.ring.home.process;
        let done = self.nodes.iter().all(|node| node.waiting(true) == 0);
        let mut sharers = self.nodes.iter().filter(|node| node.process != home);
        self.rest.last_write_served = self.rest.used.writes == bounds.writes
            && done
            && sharers.any(|node| node.readable.is_some());
    }
}
