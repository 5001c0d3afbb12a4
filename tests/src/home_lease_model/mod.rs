//! A model of home leases for the checker of the `stateright` crate: leaders that come and go, a home, and
//! every order of events within bounds of time.
//!
//! The leases, the grants and the ring's members are the product's own code ([`HomeLeases`], [`RingTable`]).
//! Around them is what Raft promises, and no more: one leader a term, several nodes that take themselves for
//! it; a round is confirmed only before a later term begins; what a deposed leader has appended may be in
//! its successor's log, and what it has proposed may be handed on to it. Nodes apply, look at the clock, and
//! take in messages when they like: a pause is an order of events like any other. One clock, so that what is
//! checked is the protocol and not the drift.
//!
//! What is checked: **whoever holds a lease is in service.** Two homes of a key are thereby impossible, as the
//! log has one.

mod world;

use dsync_core::cache::Bug;
use stateright::{Model, Property};

pub use world::{Action, World};

/// How long a lease is.
pub const LEASE_MS: u64 = 2;

/// What a model may do.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The clock stops then.
    pub until: u64,
    /// Asks in all.
    pub asks: u32,
    /// Terms in all.
    pub terms: u64,
    /// The node of the home: 0 and 1 can lead, 2 cannot.
    pub home: usize,
    /// Processes of the home's node that die and start again.
    pub restarts: u32,
    /// A rule of the product that is left out.
    pub bug: Option<Bug>,
    /// A rule that is left out around it.
    pub fault: Option<Fault>,
}

/// What the shell and Raft see to, left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The leader grants without a quorum round.
    NoRound,
    /// The leader takes a round that was confirmed before it was asked.
    OlderRound,
    /// A confirmed round is reported before the state is as recent as it.
    OldState,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { until: 3, asks: 2, terms: 2, home: 2, restarts: 0, bug: None, fault: None }
    }
}

/// Home leases within bounds.
#[derive(Debug)]
pub struct HomeLeaseModel(pub Bounds);

impl Model for HomeLeaseModel {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.0)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        world.actions(&self.0, actions);
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        world.act(&self.0, action);
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAFE, |_, world: &World| world.leases_are_in_service()),
            Property::sometimes(GRANTED, |_, world: &World| world.has_lease()),
            Property::sometimes(SUSPENDED, |_, world: &World| world.was_suspended()),
        ]
    }
}

/// Whoever holds a lease is in service.
pub const SAFE: &str = "whoever holds a lease is in service";
/// Leases are granted.
pub const GRANTED: &str = "a home holds a lease";
/// Homes are suspended.
pub const SUSPENDED: &str = "a home is suspended";
