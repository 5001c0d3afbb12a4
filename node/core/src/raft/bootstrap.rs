//! Who may propose a founding, and whether anybody may.
//!
//! The number of founders is given, never guessed: a node that finds two of three names must not found
//! a cluster of two. When exactly that many names have introduced themselves, all of them with empty
//! disks, the lowest by name proposes. More names than founders: no proposal, since nobody can know
//! which of them are meant. Any node that holds something: no proposal, since there is a cluster.
//!
//! Two nodes that see different sets may still both propose. Then the proposals meet, before either can
//! be confirmed by all whom it names, and both sides stop with `bootstrap_conflict` (`founding.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::membership::Founding;
use crate::types::{BootId, ClusterId, NodeId, NodeName};

/// What a node says of itself to those it meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its stable name.
    pub name: NodeName,
    /// Its disk.
    pub node_id: NodeId,
    /// Its process.
    pub boot_id: BootId,
    /// The cluster it holds a founding entry of; `None` for an empty disk.
    pub holds: Option<ClusterId>,
}

/// Why there is no proposal (yet).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// Fewer names than founders have answered.
    #[error("waiting for founders: {met} of {wanted} have answered")]
    Missing {
        /// How many, this node included.
        met: usize,
        /// How many are needed.
        wanted: usize,
    },
    /// More names than founders.
    #[error(
        "{met} nodes answered but {wanted} founders were declared: start exactly the founders first"
    )]
    TooMany {
        /// How many, this node included.
        met: usize,
        /// How many are needed.
        wanted: usize,
    },
    /// A cluster exists.
    #[error("{name} belongs to a cluster already; this empty node waits to be taken in")]
    ClusterExists {
        /// Who said so.
        name: NodeName,
    },
    /// Another node proposes.
    #[error("waiting for the proposal of {name}")]
    NotLowest {
        /// Who.
        name: NodeName,
    },
}

/// The nodes that an empty node has met, itself included.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    own: Introduction,
    founders: usize,
    met: BTreeMap<NodeName, Introduction>,
}

impl Bootstrap {
    /// An empty node that knows how many founders there shall be.
    #[must_use]
    pub fn new(own: Introduction, founders: usize) -> Self {
        let met = BTreeMap::from([(own.name.clone(), own.clone())]);
        Self { own, founders, met }
    }

    /// A node introduced itself. The latest word of a name counts: it may have been restarted.
    pub fn introduced(&mut self, introduction: Introduction) {
        if introduction.name != self.own.name {
            self.met.insert(introduction.name.clone(), introduction);
        }
    }

    /// The proposal to hold, if it is this node's to make.
    ///
    /// # Errors
    /// Says what it waits for.
    pub fn proposal(&self, cluster_id: ClusterId, machine: Bytes) -> Result<Founding, NotYet> {
        let (met, wanted) = (self.met.len(), self.founders);
        if let Some(member) = self.met.values().find(|one| one.holds.is_some()) {
            return Err(NotYet::ClusterExists { name: member.name.clone() });
        }
        if met < wanted {
            return Err(NotYet::Missing { met, wanted });
        }
        if met > wanted {
            return Err(NotYet::TooMany { met, wanted });
        }
        match self.met.keys().next() {
            Some(lowest) if *lowest != self.own.name => {
                Err(NotYet::NotLowest { name: lowest.clone() })
            }
            _ => Ok(Founding { cluster_id, founders: self.founders_by_id(), machine }),
        }
    }

    fn founders_by_id(&self) -> BTreeMap<NodeId, NodeName> {
        self.met.values().map(|one| (one.node_id, one.name.clone())).collect()
    }
}
