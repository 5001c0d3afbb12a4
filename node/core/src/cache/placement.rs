//! Who is the home of which key, as of one epoch of the ring.

use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::value::Key;
use crate::types::{BootId, NodeId};

/// One process of one node. Sessions belong to processes: one that starts again remembers no copies,
/// and must not be taken for the one before (R12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Process {
    /// The node.
    pub node: NodeId,
    /// Its start.
    pub boot: BootId,
}

/// One uninterrupted time of a process as a home. A home that was taken out of the ring and returns
/// remembers nothing, and is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation {
    /// The process.
    pub process: Process,
    /// How often it has returned to the ring.
    pub returns: u32,
}

impl<P: Placement> Placement for Arc<P> {
    fn epoch(&self) -> u64 {
        P::epoch(self)
    }

    fn home(&self, key: &Key) -> Option<Incarnation> {
        P::home(self, key)
    }

    fn homes(&self) -> Vec<Incarnation> {
        P::homes(self)
    }

    fn settled(&self) -> bool {
        P::settled(self)
    }
}

/// The ring as of one epoch. Epochs rise; the same epoch is the same placement on every node.
pub trait Placement: Clone + Debug {
    /// The epoch.
    fn epoch(&self) -> u64;
    /// The key's home; `None`: nobody is in service.
    fn home(&self, key: &Key) -> Option<Incarnation>;
    /// All that are in service, in order.
    fn homes(&self) -> Vec<Incarnation>;
    /// Nobody who lost keys by this epoch has any of them left: their next homes may serve them.
    fn settled(&self) -> bool;
}
