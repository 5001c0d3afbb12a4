//! A model of coherent caches for the checker of the `stateright` crate: two or three nodes, one key, and
//! every order of events that the bounds allow.
//!
//! The nodes are the product's own [`Coherence`], not a description of it. Around them: a network that
//! loses, doubles and reorders; one clock, so that what is checked is the protocol and not the drift; a
//! leader that grants home leases; a ring whose changes reach each node when they like; processes that die
//! and start again.
//!
//! Gets are everywhere, all the time: after every step each node's own copy, if it may be served, is taken
//! as read ([`State::floor`]). Gets that need an answer and writes are steps of their own. What is checked
//! is per-key linearizability, with the versions as the witness: whatever begins after something of
//! version *v* was read or answered reads *v*, something later, or nothing.

mod actions;
mod canonical;
mod leader;
mod network;
mod node;
mod ring;
mod state;
mod world;

use dsync_core::cache::{Bug, Condition, Process, Rules};
use dsync_core::types::{BootId, NodeId};
use stateright::{Model, Property};

pub use state::State;
pub use world::Action;

use state::Parts;
use world::World;

/// What a model may do.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Nodes; the first one is the home at the start.
    pub nodes: usize,
    /// Nodes that write, in turn, one write at a time each.
    pub writers: Vec<usize>,
    /// Nodes that get, one unanswered get at a time each (two with `joiners`).
    pub readers: Vec<usize>,
    /// Writes in all.
    pub writes: u32,
    /// Gets in all that find no copy.
    pub gets: u32,
    /// Lengths of leases: few and short numbers.
    pub rules: Rules,
    /// Nodes that can become the home, beside the first.
    pub heirs: Vec<usize>,
    /// Home leases run out, and are asked for and granted as time goes on; else the first one lasts.
    pub home_leases: bool,
    /// Homes that the leader may give up, once their grant is over.
    pub failovers: u32,
    /// Times that the key moves to another living home.
    pub moves: u32,
    /// Processes that die and start again.
    pub restarts: u32,
    /// Leaders that take office after the first.
    pub elections: u32,
    /// Messages that arrive twice.
    pub duplicates: u32,
    /// Most renewals under way from one process to another, and most answers to them the other way. With
    /// more, any one of them is lost.
    pub renewals_max: usize,
    /// Most other messages under way. With more, any one of them is lost.
    pub in_flight_max: usize,
    /// The second write is a delete.
    pub deletes: bool,
    /// The second and later writes want to replace what their node has seen last.
    pub conditional: bool,
    /// A get may join another one of the same node.
    pub joiners: bool,
    /// A rule that is left out of the nodes.
    pub bug: Option<Bug>,
    /// A rule that is left out around them.
    pub fault: Option<Fault>,
}

/// A rule that leader and processes keep, left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A process that starts again is taken for the one before (R12).
    SameIncarnation,
    /// A key's next home does not wait for the old one (R11).
    NextHomeDoesNotWait,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            nodes: 2,
            writers: vec![0],
            readers: vec![1],
            writes: 2,
            gets: 2,
            rules: Rules {
                session_ms: 2,
                home_lease_ms: 3,
                drift_ppm: 0,
                rounding_ms: 0,
                patience_ms: 1_000,
                ..Rules::default()
            },
            heirs: vec![1],
            home_leases: false,
            failovers: 0,
            moves: 0,
            restarts: 0,
            elections: 0,
            duplicates: 0,
            renewals_max: 1,
            in_flight_max: 2,
            deletes: false,
            conditional: false,
            joiners: false,
            bug: None,
            fault: None,
        }
    }
}

impl Bounds {
    /// The process of a node that has started so many times again.
    #[must_use]
    pub fn process(node: usize, starts: u64) -> Process {
        let node = node as u64;
        Process { node: NodeId(node), boot: BootId(node * 16 + starts) }
    }

    /// What a writer asks for that has last seen this.
    #[must_use]
    pub fn condition(&self, seen: Option<dsync_core::cache::Version>) -> Condition {
        match (self.conditional, seen) {
            (true, Some(version)) => Condition::Version(version),
            _ => Condition::Any,
        }
    }
}

/// Coherent caches within bounds.
#[derive(Debug, Default)]
pub struct CacheModel {
    bounds: Bounds,
    parts: Parts,
}

impl CacheModel {
    /// A model.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, parts: Parts::default() }
    }
}

impl Model for CacheModel {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.parts.pack(World::new(&self.bounds))]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        actions::actions(&self.parts.unpack(state), &self.bounds, actions);
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut world = self.parts.unpack(last);
        world.act(&self.bounds, &action);
        let state = self.parts.pack(world);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(COHERENT, |_, state: &State| state.violation().is_none()),
            // A model in which nothing happens would keep every rule.
            Property::sometimes(USEFUL, |_, state: &State| state.last_write_served()),
        ]
    }
}

/// Nothing stale is ever read or answered.
pub const COHERENT: &str = "nothing stale is read or answered";
/// Copies are made, and replaced.
pub const USEFUL: &str = "a sharer serves the last write";
