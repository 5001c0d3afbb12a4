//! One node of the model: the product's caches, and what its clients wait for.

use std::collections::BTreeMap;

use dsync_core::cache::{Coherence, Incarnation, MapStore, Process, Version};

use super::ring::OneHome;
use super::{Bounds, Fault};

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// The code under test.
    pub caches: Coherence<OneHome, MapStore>,
    /// Its process.
    pub process: Process,
    /// How often it has started again.
    pub starts: u64,
    /// How often this process has been taken into the ring.
    pub entries: u32,
    /// The ring that it has installed.
    pub ring: (u64, bool),
    /// Unanswered requests by ticket.
    pub open: BTreeMap<u64, Open>,
    /// The last version that it was told of; kept only if writes are conditional.
    pub seen: Option<Version>,
    /// What a get would find without a message.
    pub readable: Option<Version>,
}

/// An unanswered request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Open {
    /// The highest version that anybody had read when it began.
    pub floor: Version,
    /// A write; else a get.
    pub write: bool,
}

impl Node {
    /// A process that starts.
    pub fn new(node: usize, starts: u64, bounds: &Bounds) -> Self {
        let same = bounds.fault == Some(Fault::SameIncarnation);
        let process = Bounds::process(node, if same { 0 } else { starts });
        let caches = Coherence::new(process, bounds.rules, MapStore::default());
        Self {
            caches: caches.with_bug(bounds.bug),
            process,
            starts,
            entries: 0,
            ring: (0, true),
            open: BTreeMap::new(),
            seen: None,
            readable: None,
        }
    }

    /// A request begins: its ticket.
    pub fn begin(&mut self, floor: Version, write: bool) -> u64 {
        let ticket = (1..).find(|ticket| !self.open.contains_key(ticket)).unwrap_or(0);
        self.open.insert(ticket, Open { floor, write });
        ticket
    }

    /// Requests of a kind that wait.
    pub fn waiting(&self, write: bool) -> usize {
        self.open.values().filter(|open| open.write == write).count()
    }

    /// Takes its place in the ring: as another home than whatever it was before.
    pub fn enter(&mut self) -> Incarnation {
        self.entries += 1;
        Incarnation { process: self.process, returns: self.entries - 1 }
    }
}
