//! The ring as the caches read it: whose a key is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RingTable;
use crate::cache::placement::{Incarnation, Placement};
use crate::cache::value::Key;
use crate::ring::{Ring, VIRTUAL_NODES};
use crate::types::{Index, NodeName};

/// Who is the home of which key, as of one epoch. Clones share it. The default: nobody, of nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RingPlacement {
    shared: Arc<Shared>,
    settled: bool,
}

/// What is the same for all of an epoch.
#[derive(Debug, PartialEq, Eq)]
struct Shared {
    ring: Ring,
    homes: BTreeMap<NodeName, Incarnation>,
}

impl RingPlacement {
    /// As the table says. Costs a millisecond or so: see [`RingPlacement::after`].
    #[must_use]
    pub fn of(table: &RingTable) -> Self {
        let homes: BTreeMap<NodeName, Incarnation> =
            table.homes.values().map(|of| (of.name.clone(), of.home)).collect();
        let ring = Ring::new(table.epoch, homes.keys().cloned(), VIRTUAL_NODES);
        Self { shared: Arc::new(Shared { ring, homes }), settled: table.settled() }
    }

    /// As the table says, if that is anything else.
    #[must_use]
    pub fn after(&self, table: &RingTable) -> Option<Self> {
        let settled = table.settled();
        match self.shared.ring.epoch() == table.epoch {
            true if self.settled == settled => None,
            true => Some(Self { shared: Arc::clone(&self.shared), settled }),
            false => Some(Self::of(table)),
        }
    }
}

impl Default for RingPlacement {
    fn default() -> Self {
        let (ring, homes) = (Ring::new(Index(0), [], VIRTUAL_NODES), BTreeMap::new());
        Self { shared: Arc::new(Shared { ring, homes }), settled: true }
    }
}

impl Placement for RingPlacement {
    fn epoch(&self) -> u64 {
        self.shared.ring.epoch().0
    }

    fn home(&self, key: &Key) -> Option<Incarnation> {
        let name = self.shared.ring.owner(&key.0)?;
        self.shared.homes.get(name).copied()
    }

    fn homes(&self) -> Vec<Incarnation> {
        let mut homes: Vec<Incarnation> = self.shared.homes.values().copied().collect();
        homes.sort();
        homes
    }

    fn settled(&self) -> bool {
        self.settled
    }
}
