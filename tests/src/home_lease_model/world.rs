//! The nodes, the log and what is under way, and each step that they can take.

use std::collections::{BTreeMap, BTreeSet};

use dsync_core::cache::{
    HomeLeaseMessage, HomeLeaseOutput, HomeLeases, Incarnation, Moment, Process, RingOperation,
    RingTable, RingTurn, Rules,
};
use dsync_core::types::{BootId, ClusterTime, Index, LocalTime, NodeId, NodeName, Term};

use super::{Bounds, Fault, LEASE_MS};

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    now: u64,
    term: u64,
    nodes: Vec<Node>,
    /// The ring after each committed entry.
    log: Vec<RingTable>,
    /// Asked of the log: by the leader of the term that it names.
    proposed: Vec<RingOperation>,
    messages: BTreeSet<(usize, usize, HomeLeaseMessage)>,
    /// Until when each home may serve; its process need not live for that.
    leases: BTreeMap<Incarnation, u64>,
    asks: u32,
    starts: u64,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    leases: HomeLeases,
    /// The term that it takes itself to lead.
    leads: Option<u64>,
    /// Entries that it has applied.
    applied: usize,
    rounds: BTreeMap<u64, Round>,
}

/// A linearizable read under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Round {
    term: u64,
    /// Committed when it began.
    commit: usize,
    confirmed: bool,
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// The clock moves on.
    Tick,
    /// The home asks this node.
    Ask(usize),
    /// A message arrives. (One that never does is lost.)
    Deliver(usize),
    /// A leader looks at the clock.
    Look(usize),
    /// A majority confirms a node's round.
    Confirm(usize, u64),
    /// The node hears of it.
    Hear(usize, u64),
    /// A node applies what is committed.
    Apply(usize),
    /// What was proposed is committed, by the leader of the highest term.
    Commit(usize),
    /// A node becomes the leader of the next term; with what the last one had appended.
    Elect(usize, Option<usize>),
    /// The home's process dies and starts again.
    Restart,
    /// The home's process enters the ring.
    Enter,
}

fn rules() -> Rules {
    Rules {
        session_ms: 1,
        home_lease_ms: LEASE_MS,
        drift_ppm: 0,
        rounding_ms: 0,
        return_delay_ms: 0,
        return_delay_ms_max: 0,
        ..Rules::default()
    }
}

fn started(node: usize, starts: u64, bounds: &Bounds) -> HomeLeases {
    HomeLeases::new(id(node), BootId(starts << 32)).with_bug(bounds.bug)
}

fn id(node: usize) -> NodeId {
    NodeId(node as u64)
}

impl World {
    /// Node 0 leads, and the home is in service.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        let node = |node| Node {
            leases: started(node, 1, bounds),
            leads: (node == 0).then_some(1),
            applied: 0,
            rounds: BTreeMap::new(),
        };
        let mut ring = RingTable::default();
        ring.put_back(bounds.bug);
        let mut world = Self {
            now: 0,
            term: 1,
            nodes: (0..3).map(node).collect(),
            log: vec![ring],
            proposed: Vec::new(),
            messages: BTreeSet::new(),
            leases: BTreeMap::new(),
            asks: 0,
            starts: 1,
        };
        world.act(bounds, Action::Enter);
        (0..3).for_each(|node| world.act(bounds, Action::Apply(node)));
        world
    }

    /// What is checked.
    #[must_use]
    pub fn leases_are_in_service(&self) -> bool {
        let mut held = self.leases.iter().filter(|(_, over)| self.now < **over);
        held.all(|(home, _)| self.ring().is_in_service(*home))
    }

    /// A lease runs.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.leases.values().any(|over| self.now < *over)
    }

    /// Somebody had a lease, and is out of the ring.
    #[must_use]
    pub fn was_suspended(&self) -> bool {
        self.leases.keys().any(|home| !self.ring().is_in_service(*home))
    }

    /// Appends every step out of the world.
    pub fn actions(&self, bounds: &Bounds, actions: &mut Vec<Action>) {
        if self.now < bounds.until {
            actions.push(Action::Tick);
        }
        actions.extend((0..self.messages.len()).map(Action::Deliver));
        actions.extend((0..self.proposed.len()).map(Action::Commit));
        for (at, node) in self.nodes.iter().enumerate() {
            if node.leads.is_some() {
                actions.push(Action::Look(at));
            }
            if node.applied + 1 < self.log.len() {
                actions.push(Action::Apply(at));
            }
            for (round, of) in &node.rounds {
                let hears = node.leads == Some(of.term)
                    && (node.applied >= of.commit || bounds.fault == Some(Fault::OldState));
                match of.confirmed {
                    false if of.term == self.term => actions.push(Action::Confirm(at, *round)),
                    true if hears => actions.push(Action::Hear(at, *round)),
                    _ => {}
                }
            }
        }
        self.rarer_actions(bounds, actions);
    }

    fn rarer_actions(&self, bounds: &Bounds, actions: &mut Vec<Action>) {
        let home = self.home(bounds);
        if home.is_some() && self.asks < bounds.asks {
            let led = (0..2).filter(|node| self.nodes[*node].leads.is_some());
            actions.extend(led.map(Action::Ask));
        }
        if self.term < bounds.terms {
            for node in 0..2 {
                actions.push(Action::Elect(node, None));
                actions.extend((0..self.proposed.len()).map(|at| Action::Elect(node, Some(at))));
            }
        }
        if self.starts <= u64::from(bounds.restarts) {
            actions.push(Action::Restart);
        }
        if home.is_none() && self.log.len() < 6 {
            actions.push(Action::Enter);
        }
    }

    /// Takes one step.
    pub fn act(&mut self, bounds: &Bounds, action: Action) {
        match action {
            Action::Tick => self.tick(bounds),
            Action::Ask(to) => self.ask(bounds, to),
            Action::Deliver(message) => self.deliver(bounds, message),
            Action::Look(node) => self.with(bounds, node, None, HomeLeases::tick),
            Action::Confirm(node, round) => {
                if let Some(round) = self.nodes[node].rounds.get_mut(&round) {
                    round.confirmed = true;
                }
            }
            Action::Hear(node, round) => self.hear(bounds, node, round),
            Action::Apply(node) => self.nodes[node].applied = self.log.len() - 1,
            Action::Commit(at) => {
                let operation = self.proposed.remove(at);
                self.commit(bounds, self.term, &operation);
            }
            Action::Elect(node, appended) => self.elect(bounds, node, appended),
            Action::Restart => {
                self.starts += 1;
                let node = &mut self.nodes[bounds.home];
                node.leases = started(bounds.home, self.starts, bounds);
                node.rounds.clear();
                node.leads = None;
            }
            Action::Enter => self.commit(bounds, self.term, &RingOperation::Enter),
        }
    }

    /// Words about asks that are too old to be granted change nothing.
    fn tick(&mut self, bounds: &Bounds) {
        self.now += 1;
        if self.nodes[bounds.home].leads.is_none() {
            self.with(bounds, bounds.home, None, HomeLeases::tick);
        }
        let home = &self.nodes[bounds.home].leases;
        self.messages.retain(|(.., message)| match message {
            HomeLeaseMessage::Ask { ask, .. } | HomeLeaseMessage::Granted { ask } => {
                home.is_open(*ask)
            }
        });
    }

    fn ask(&mut self, bounds: &Bounds, to: usize) {
        let Some(home) = self.home(bounds) else { return };
        self.asks += 1;
        let sent_at = LocalTime(self.now);
        self.with(bounds, bounds.home, Some(to), |it, at, out| {
            it.ask(at, sent_at, home, out);
        });
    }

    fn deliver(&mut self, bounds: &Bounds, message: usize) {
        let Some((from, to, message)) = self.messages.iter().nth(message).copied() else { return };
        self.messages.remove(&(from, to, message));
        self.with(bounds, to, None, |it, at, out| it.receive(at, id(from), message, out));
    }

    fn hear(&mut self, bounds: &Bounds, node: usize, round: u64) {
        self.nodes[node].rounds.remove(&round);
        self.with(bounds, node, None, |it, at, out| {
            it.round_ended(at, round, true, out);
        });
    }

    /// What the last leader had appended comes with its own term, before anything of the next one.
    fn elect(&mut self, bounds: &Bounds, node: usize, appended: Option<usize>) {
        if let Some(at) = appended {
            let operation = self.proposed.remove(at);
            self.commit(bounds, self.term, &operation);
        }
        // No majority confirms a round of an earlier term any more, and a new leader has forgotten its own.
        for node in &mut self.nodes {
            node.rounds.retain(|_, round| round.confirmed);
        }
        self.term += 1;
        self.nodes[node].leads = Some(self.term);
        self.nodes[node].rounds.clear();
    }

    fn commit(&mut self, bounds: &Bounds, term: u64, operation: &RingOperation) {
        let mut ring = self.ring().clone();
        let index = Index(self.log.len() as u64);
        let turn = RingTurn { index, term: Term(term), now: ClusterTime(0), rules: rules() };
        let name = NodeName("home".to_owned());
        ring.apply(&turn, self.process(bounds), Some(&name), operation);
        if ring != *self.ring() {
            self.log.push(ring);
        }
    }

    fn with(
        &mut self,
        bounds: &Bounds,
        node: usize,
        leader: Option<usize>,
        act: impl FnOnce(&mut HomeLeases, &Moment<'_>, &mut Vec<HomeLeaseOutput>),
    ) {
        let mut out = Vec::new();
        let of = &mut self.nodes[node];
        let at = Moment {
            now: LocalTime(self.now),
            leads: of.leads.map(Term),
            leader: leader.map(id),
            ring: &self.log[of.applied],
            rules: rules(),
        };
        act(&mut of.leases, &at, &mut out);
        out.into_iter().for_each(|output| self.carry_out(bounds, node, output));
    }

    fn carry_out(&mut self, bounds: &Bounds, node: usize, output: HomeLeaseOutput) {
        match output {
            HomeLeaseOutput::Send { to, message } => {
                let to = usize::try_from(to.0).unwrap_or_default();
                self.messages.insert((node, to, message));
            }
            HomeLeaseOutput::BeginRound(round) => self.begin(bounds, node, round),
            HomeLeaseOutput::Granted { home, sent_at, .. } => {
                let over = self.leases.entry(home).or_default();
                *over = (sent_at.0 + LEASE_MS).max(*over);
            }
            HomeLeaseOutput::Propose(operation) => {
                if !self.proposed.contains(&operation) {
                    self.proposed.push(operation);
                }
            }
        }
    }

    fn begin(&mut self, bounds: &Bounds, node: usize, round: u64) {
        if bounds.fault == Some(Fault::NoRound) {
            return self.hear(bounds, node, round);
        }
        let of = &mut self.nodes[node];
        let Some(term) = of.leads else { return };
        let older = of.rounds.values().any(|older| older.term == term && older.confirmed);
        let confirmed = older && bounds.fault == Some(Fault::OlderRound);
        of.rounds.insert(round, Round { term, commit: self.log.len() - 1, confirmed });
    }

    fn ring(&self) -> &RingTable {
        &self.log[self.log.len() - 1]
    }

    fn process(&self, bounds: &Bounds) -> Process {
        Process { node: id(bounds.home), boot: BootId(self.starts) }
    }

    /// The home that the newest process of its node is, as that node has applied it.
    fn home(&self, bounds: &Bounds) -> Option<Incarnation> {
        let ring = &self.log[self.nodes[bounds.home].applied];
        ring.homes().find(|home| home.process == self.process(bounds))
    }
}
