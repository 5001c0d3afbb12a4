//! A state as the checker keeps it, by the million.
//!
//! Nodes and bags of messages are large, and few of them are different: a step changes one node or two,
//! and each is met again and again beside others. So each different one is kept once, and a state has its
//! number.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::sync::{Arc, Mutex, PoisonError};

use super::network::Network;
use super::node::Node;
use super::world::{Rest, World};

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    nodes: Vec<usize>,
    network: usize,
    rest: Rest,
}

impl State {
    /// The broken rule.
    #[must_use]
    pub fn violation(&self) -> Option<&'static str> {
        self.rest.violation
    }

    /// True if all writes are done, and a sharer serves what they left.
    #[must_use]
    pub fn last_write_served(&self) -> bool {
        self.rest.last_write_served
    }
}

/// All different nodes and bags of messages met so far.
#[derive(Debug, Default)]
pub struct Parts {
    nodes: Shelf<Node>,
    networks: Shelf<Network>,
}

impl Parts {
    /// Puts the parts away.
    pub fn pack(&self, world: World) -> State {
        State {
            nodes: world.nodes.into_iter().map(|node| self.nodes.number(node)).collect(),
            network: self.networks.number(world.network),
            rest: world.rest,
        }
    }

    /// Takes them out again.
    pub fn unpack(&self, state: &State) -> World {
        World {
            nodes: state.nodes.iter().map(|number| self.nodes.part(*number)).collect(),
            network: self.networks.part(state.network),
            rest: state.rest.clone(),
        }
    }
}

#[derive(Debug)]
struct Shelf<T>(Mutex<Places<T>>);

#[derive(Debug)]
struct Places<T> {
    parts: Vec<Arc<T>>,
    /// By hash.
    numbers: BTreeMap<u64, Vec<usize>>,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Mutex::new(Places { parts: Vec::new(), numbers: BTreeMap::new() }))
    }
}

impl<T: Clone + Eq + Hash> Shelf<T> {
    fn number(&self, part: T) -> usize {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(&part);
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Places { parts, numbers } = &mut *places;
        let alike = numbers.entry(hash).or_default();
        if let Some(known) = alike.iter().find(|number| *parts[**number] == part) {
            return *known;
        }
        alike.push(parts.len());
        parts.push(Arc::new(part));
        parts.len() - 1
    }

    fn part(&self, number: usize) -> T {
        let places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let part = Arc::clone(&places.parts[number]);
        drop(places);
        T::clone(&part)
    }
}
