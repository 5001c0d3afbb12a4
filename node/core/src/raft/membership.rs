//! Who takes part: data in the log from its first entry on.
//!
//! A configuration counts from the moment it is appended, is undone with its entry, and is settled
//! when it commits. While two configurations are joint, every decision needs a majority of both
//! (Raft dissertation, section 4.3). The commands that change it are not in yet; the voting rules
//! hold from now on.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::types::{ClusterId, Index, NodeId, NodeName};

/// A configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Those whose majority decides.
    pub voters: BTreeSet<NodeId>,
    /// While joint: the voters of the configuration that is being left. Empty otherwise.
    pub outgoing: BTreeSet<NodeId>,
    /// Those who receive the log but do not count.
    pub learners: BTreeSet<NodeId>,
    /// The name of every node above. A node that is in no set has no name here.
    pub names: BTreeMap<NodeId, NodeName>,
}

/// The proposal that starts a cluster; entry 1 of every log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    /// Random identity of the cluster.
    pub cluster_id: ClusterId,
    /// The founders, all of them voters.
    pub founders: BTreeMap<NodeId, NodeName>,
    /// First state of the machine (settings, token base), opaque to Raft.
    pub machine: Bytes,
}

impl Membership {
    /// The founders' configuration.
    #[must_use]
    pub fn founding(founding: &Founding) -> Self {
        Self {
            voters: founding.founders.keys().copied().collect(),
            names: founding.founders.clone(),
            ..Self::default()
        }
    }

    /// True for a node that counts in either half.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.outgoing.contains(&id)
    }

    /// True for any member.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.is_voter(id) || self.learners.contains(&id)
    }

    /// Every member in id order, so that two runs send in the same order.
    pub fn members(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.names.keys().copied()
    }
}

/// The configurations that stand in the log, each with the entry that brought it.
#[derive(Clone, Debug, Default)]
pub(super) struct MembershipLog {
    /// Ascending by index. The first may come from a snapshot.
    configurations: Vec<(Index, Membership)>,
}

impl MembershipLog {
    /// Starts from a snapshot's configuration.
    pub(super) fn from_snapshot(index: Index, membership: Membership) -> Self {
        Self { configurations: vec![(index, membership)] }
    }

    /// The one in force: the latest, committed or not. `None` on a node without a log.
    pub(super) fn current(&self) -> Option<&Membership> {
        self.configurations.last().map(|(_, membership)| membership)
    }

    /// The one in force at `index`.
    pub(super) fn at(&self, index: Index) -> Option<&Membership> {
        self.configurations.iter().rev().find(|(at, _)| *at <= index).map(|(_, m)| m)
    }

    /// An entry with a configuration was appended.
    pub(super) fn push(&mut self, index: Index, membership: Membership) {
        debug_assert!(self.configurations.last().is_none_or(|(last, _)| *last < index));
        self.configurations.push((index, membership));
    }

    /// Entries from `from` on were cut away.
    pub(super) fn truncate(&mut self, from: Index) {
        self.configurations.retain(|(index, _)| *index < from);
    }

    /// Entries up to `index` are settled in a snapshot: older configurations are never needed again.
    pub(super) fn compact(&mut self, index: Index) {
        let keep = self.configurations.iter().rposition(|(at, _)| *at <= index).unwrap_or(0);
        self.configurations.drain(..keep);
    }
}
