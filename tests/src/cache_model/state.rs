//! One state of the model, and the steps out of it.

use std::collections::BTreeMap;

use bytes::Bytes;
use dsync_core::cache::{
    Answer, Coherence, Incarnation, Key, MapStore, Output, Placement, Process, Value, Version,
    Write, WriteOutcome,
};
use dsync_core::types::LocalTime;

use super::network::{Network, Packet};
use super::ring::OneHome;
use super::{Bounds, Fault};

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: Vec<Node>,
    network: Network,
    now: u64,
    ring: OneHome,
    /// When the leader takes the home's (and the former home's) grant to be over.
    grants_over: BTreeMap<Incarnation, u64>,
    /// Requests for home leases under way: when they were sent.
    lease_asked: BTreeMap<Incarnation, u64>,
    /// The highest version that anybody has read or been told of.
    floor: Version,
    used: Used,
    /// The broken rule.
    pub violation: Option<&'static str>,
    /// The newest version of which a sharer could serve a copy.
    copied: Version,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    caches: Coherence<OneHome, MapStore>,
    process: Process,
    starts: u64,
    epoch: u64,
    settled: bool,
    /// Unanswered requests, with the floor at their beginning; true: a write.
    open: BTreeMap<u64, (Version, bool)>,
    next_ticket: u64,
    /// The last version that it was told of.
    seen: Option<Version>,
}

/// What of the bounds is used up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Used {
    writes: u32,
    gets: u32,
    failovers: u32,
    moves: u32,
    restarts: u32,
    duplicates: u32,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The clock moves on, everywhere.
    Tick,
    /// A message arrives; true: it will do so again.
    Deliver(usize, bool),
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
}

/// Later than any clock of a model.
const LASTING: u64 = 1_000;

fn key() -> Key {
    Key("k".to_owned())
}

impl State {
    /// The start: the first node is the home with a fresh lease, everybody knows.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        let home = Incarnation { process: Bounds::process(0, 0), returns: 0 };
        let mut state = Self {
            nodes: (0..usize::try_from(bounds.nodes).unwrap_or(2))
                .map(|node| Node::new(node, 0, bounds))
                .collect(),
            network: Network::default(),
            now: 0,
            ring: OneHome { epoch: 1, home, former: None, settled: true },
            grants_over: BTreeMap::new(),
            lease_asked: BTreeMap::new(),
            floor: Version::default(),
            used: Used::default(),
            violation: None,
            copied: Version::default(),
        };
        for node in 0..state.nodes.len() {
            state.install(bounds, node);
        }
        let lasting = if bounds.home_leases { 0 } else { LASTING };
        state.lease_asked.insert(home, lasting);
        state.grant(home);
        state
    }

    /// What can happen next.
    pub fn actions(&self, bounds: &Bounds, actions: &mut Vec<Action>) {
        if self.violation.is_some() {
            return;
        }
        if self.now < bounds.time_max {
            actions.push(Action::Tick);
        }
        for packet in 0..self.network.len() {
            actions.push(Action::Deliver(packet, false));
            if self.used.duplicates < bounds.duplicates {
                actions.push(Action::Deliver(packet, true));
            }
        }
        self.client_actions(bounds, actions);
        self.ring_actions(bounds, actions);
    }

    fn client_actions(&self, bounds: &Bounds, actions: &mut Vec<Action>) {
        let gets_max = 1 + usize::from(bounds.joiners);
        for node in bounds.readers.iter().copied() {
            let open = self.nodes[node].open.values().filter(|(_, write)| !write).count();
            let served = self.nodes[node].caches.clone().read(self.time(), &key()).is_some();
            if self.used.gets < bounds.gets && open < gets_max && !served {
                actions.push(Action::Get(node));
            }
        }
        for node in bounds.writers.iter().copied() {
            let idle = self.nodes[node].open.values().all(|(_, write)| !write);
            if self.used.writes < bounds.writes && idle {
                actions.push(Action::Write(node));
            }
        }
    }

    fn ring_actions(&self, bounds: &Bounds, actions: &mut Vec<Action>) {
        for (at, node) in self.nodes.iter().enumerate() {
            let me = self.incarnation(at);
            let in_ring = self.ring.homes().contains(&me);
            if in_ring && bounds.home_leases && !self.lease_asked.contains_key(&me) {
                actions.push(Action::AskLease(at));
            }
            if in_ring && self.lease_asked.contains_key(&me) {
                actions.push(Action::GrantLease(at));
            }
            if (node.epoch, node.settled) != (self.ring.epoch, self.ring.settled) {
                actions.push(Action::Install(at));
            }
            if self.used.restarts < bounds.restarts {
                actions.push(Action::Restart(at));
            }
            if me != self.ring.home && self.ring.settled {
                self.home_changes(bounds, at, actions);
            }
        }
        if !self.ring.settled && self.may_settle(bounds) {
            actions.push(Action::Settle);
        }
    }

    fn home_changes(&self, bounds: &Bounds, next: usize, actions: &mut Vec<Action>) {
        let waits = bounds.fault != Some(Fault::LeaderDoesNotWait);
        let over = self.grant_over(self.ring.home) || !waits;
        if self.used.failovers < bounds.failovers && over {
            actions.push(Action::FailOver(next));
        }
        if self.used.moves < bounds.moves {
            actions.push(Action::Move(next));
        }
    }

    fn may_settle(&self, bounds: &Bounds) -> bool {
        let Some(former) = self.ring.former else { return true };
        let node = self.nodes.iter().find(|node| node.process == former.process);
        let released = node.is_some_and(|node| node.caches.released() >= self.ring.epoch);
        released || self.grant_over(former) || bounds.fault == Some(Fault::NextHomeDoesNotWait)
    }

    fn grant_over(&self, home: Incarnation) -> bool {
        self.grants_over.get(&home).is_none_or(|over| self.now >= *over)
    }

    fn incarnation(&self, node: usize) -> Incarnation {
        let process = self.nodes[node].process;
        let known = self.ring.homes().into_iter().find(|home| home.process == process);
        known.unwrap_or(Incarnation { process, returns: 0 })
    }

    fn time(&self) -> LocalTime {
        LocalTime(self.now)
    }

    /// Takes one step.
    pub fn act(&mut self, bounds: &Bounds, action: Action) {
        match action {
            Action::Tick => self.tick(bounds),
            Action::Deliver(packet, again) => self.deliver(bounds, packet, again),
            Action::Get(node) => self.get(bounds, node),
            Action::Write(node) => self.write(bounds, node),
            Action::AskLease(node) => {
                let home = self.incarnation(node);
                self.lease_asked.insert(home, self.now);
            }
            Action::GrantLease(node) => self.grant(self.incarnation(node)),
            Action::FailOver(node) => {
                self.used.failovers += 1;
                self.change_home(bounds, node, false);
            }
            Action::Move(node) => {
                self.used.moves += 1;
                self.change_home(bounds, node, true);
            }
            Action::Settle => {
                // Whose grant ended without a word is out of the ring by the same entry.
                self.ring.settled = true;
                let former = self.ring.former.take();
                self.ring.former = former.filter(|former| !self.grant_over(*former));
            }
            Action::Install(node) => self.install(bounds, node),
            Action::Restart(node) => self.restart(bounds, node),
        }
        self.read_everywhere();
    }

    fn tick(&mut self, bounds: &Bounds) {
        self.now += 1;
        for node in 0..self.nodes.len() {
            let now = self.time();
            let out = self.nodes[node].caches.tick(now);
            self.carry_out(bounds, node, out);
        }
    }

    fn deliver(&mut self, bounds: &Bounds, packet: usize, again: bool) {
        self.used.duplicates += u32::from(again);
        let Packet { from, to, message } = self.network.take(packet, again);
        let Some(node) = self.nodes.iter().position(|node| node.process == to) else { return };
        let now = self.time();
        let out = self.nodes[node].caches.receive(now, from, message);
        self.carry_out(bounds, node, out);
    }

    fn get(&mut self, bounds: &Bounds, node: usize) {
        self.used.gets += 1;
        let ticket = self.open(node, false);
        let now = self.time();
        let out = self.nodes[node].caches.get(now, ticket, &key());
        self.carry_out(bounds, node, out);
    }

    fn write(&mut self, bounds: &Bounds, node: usize) {
        self.used.writes += 1;
        let ticket = self.open(node, true);
        let now = self.time();
        let body = Bytes::from(vec![u8::try_from(self.used.writes).unwrap_or(0)]);
        let value = Some(Value { body, content_type: String::new() });
        let condition = bounds.condition(self.nodes[node].seen);
        let write = Write { value, ttl_ms: None, condition };
        let out = self.nodes[node].caches.write(now, ticket, &key(), write);
        self.carry_out(bounds, node, out);
    }

    fn open(&mut self, node: usize, write: bool) -> u64 {
        let floor = self.floor;
        let node = &mut self.nodes[node];
        node.next_ticket += 1;
        node.open.insert(node.next_ticket, (floor, write));
        node.next_ticket
    }

    fn grant(&mut self, home: Incarnation) {
        let Some(sent_at) = self.lease_asked.remove(&home) else { return };
        let rules = Bounds::rules();
        let over = sent_at.max(self.now) + rules.stretched(rules.home_lease_ms);
        let known = self.grants_over.entry(home).or_default();
        *known = over.max(*known);
        let node = self.nodes.iter_mut().find(|node| node.process == home.process);
        if let Some(node) = node {
            node.caches.home_lease_granted(LocalTime(sent_at));
        }
    }

    fn change_home(&mut self, _bounds: &Bounds, next: usize, former_lives: bool) {
        let former = self.ring.home;
        self.ring = OneHome {
            epoch: self.ring.epoch + 1,
            home: self.incarnation(next),
            former: former_lives.then_some(former),
            settled: !former_lives,
        };
        self.lease_asked.retain(|home, _| self.ring.homes().contains(home));
    }

    fn install(&mut self, bounds: &Bounds, node: usize) {
        let (ring, now) = (self.ring.clone(), self.time());
        let at = &mut self.nodes[node];
        (at.epoch, at.settled) = (ring.epoch, ring.settled);
        let out = at.caches.install(now, &ring);
        self.carry_out(bounds, node, out);
    }

    fn restart(&mut self, bounds: &Bounds, node: usize) {
        self.used.restarts += 1;
        let starts = self.nodes[node].starts + 1;
        self.network.drop_for(self.nodes[node].process);
        self.nodes[node] = Node::new(node, starts, bounds);
    }

    fn carry_out(&mut self, bounds: &Bounds, node: usize, outputs: Vec<Output>) {
        let from = self.nodes[node].process;
        for output in outputs {
            match output {
                Output::Send { to, message } => {
                    self.network.send(Packet { from, to, message }, bounds.in_flight_max);
                }
                Output::Answer(answer) => self.told(node, answer),
                Output::Evicted(_) => {}
            }
        }
    }

    fn told(&mut self, node: usize, answer: Answer) {
        match answer {
            Answer::Got { ticket, found, .. } => {
                let Some((floor, _)) = self.nodes[node].open.remove(&ticket) else { return };
                let Some(found) = found else { return };
                if found.version < floor {
                    self.violation = Some("a get was answered with an old value");
                }
                self.saw(node, found.version);
            }
            Answer::Wrote { ticket, outcome } => {
                let Some((floor, _)) = self.nodes[node].open.remove(&ticket) else { return };
                let WriteOutcome::Done(version) = outcome else { return };
                if version <= floor {
                    self.violation = Some("a write was ordered before what had been read");
                }
                self.saw(node, version);
            }
            Answer::GetUnavailable { ticket } => {
                self.nodes[node].open.remove(&ticket);
            }
        }
    }

    fn saw(&mut self, node: usize, version: Version) {
        self.nodes[node].seen = self.nodes[node].seen.max(Some(version));
        self.floor = self.floor.max(version);
    }

    /// As if a client asked every node now. Two that may serve different versions are as bad as one that
    /// serves an old one: whoever asks both can see the new one first.
    fn read_everywhere(&mut self) {
        let now = self.time();
        let home = self.ring.home.process;
        let mut readable = Vec::new();
        for node in &mut self.nodes {
            let Some(copy) = node.caches.read(now, &key()) else { continue };
            readable.push(copy.version);
            if node.process != home {
                self.copied = self.copied.max(copy.version);
            }
        }
        if readable.iter().any(|version| *version < self.floor) {
            self.violation = Some("an old copy can be read");
        }
        let newest = readable.iter().copied().max().unwrap_or_default();
        if readable.iter().any(|version| *version < newest) {
            self.violation = Some("two nodes serve different versions");
        }
        self.floor = self.floor.max(newest);
    }

    /// A copy was served, and something newer after it.
    #[must_use]
    pub fn replaced_a_copy(&self) -> bool {
        self.copied > Version::default() && self.floor > self.copied
    }
}

impl Node {
    fn new(node: usize, starts: u64, bounds: &Bounds) -> Self {
        let same = bounds.fault == Some(Fault::SameIncarnation);
        let process = Bounds::process(node, if same { 0 } else { starts });
        let caches = Coherence::new(process, Bounds::rules(), MapStore::default());
        Self {
            caches: caches.with_bug(bounds.bug),
            process,
            starts,
            epoch: 0,
            settled: false,
            open: BTreeMap::new(),
            next_ticket: 0,
            seen: None,
        }
    }
}
