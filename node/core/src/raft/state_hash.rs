//! Comparing states: every so many entries each node's machine is hashed, the hashes travel with the
//! heartbeats, and a member whose hash differs from the quorum's stops. A bug, or a flipped bit in
//! memory, shall not spread through answers for months.

use std::collections::{BTreeMap, VecDeque};

use super::message::StateHash;
use super::{Fatal, Raft, Role};
use crate::quorum;
use crate::types::{Index, NodeId};

/// How many own hashes are kept, so that a member ahead or behind by a checkpoint is still compared.
const KEPT: usize = 4;

/// The latest hashes of the own state.
#[derive(Debug, Default)]
pub(super) struct HashHistory(VecDeque<StateHash>);

impl HashHistory {
    /// The newest.
    pub(super) fn latest(&self) -> Option<StateHash> {
        self.0.back().copied()
    }

    fn at(&self, index: Index) -> Option<u64> {
        self.0.iter().find(|hash| hash.index == index).map(|hash| hash.hash)
    }

    fn push(&mut self, hash: StateHash) {
        if self.latest().is_none_or(|latest| latest.index < hash.index) {
            self.0.push_back(hash);
        }
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }
}

impl Raft {
    /// The own machine was hashed.
    pub(super) fn note_own_hash(&mut self, hash: StateHash) {
        self.hashes.push(hash);
        self.agree_on_hash();
    }

    /// Leader: looks for a hash that a majority shares.
    pub(super) fn agree_on_hash(&mut self) {
        let Some(own) = self.hashes.latest() else { return };
        let (Role::Leader(leader), Some(membership)) = (&self.role, self.membership()) else {
            return;
        };
        let mut reported: BTreeMap<NodeId, StateHash> =
            leader.members.iter().filter_map(|(id, p)| Some((*id, p.hash?))).collect();
        reported.insert(self.options.id, own);
        let agreed = reported.values().copied().find(|candidate| {
            quorum::agreed(&membership.voters, &membership.outgoing, |id| {
                reported.get(&id) == Some(candidate)
            })
        });
        if agreed.is_some() {
            if let Role::Leader(leader) = &mut self.role {
                leader.quorum_hash = agreed;
            }
            self.compare_hash(agreed);
        }
    }

    /// Stops this node if its state at that index is another one.
    pub(super) fn compare_hash(&mut self, quorum_hash: Option<StateHash>) {
        let Some(theirs) = quorum_hash else { return };
        if self.hashes.at(theirs.index).is_some_and(|ours| ours != theirs.hash) {
            self.fail(Fatal::StateDiverged { index: theirs.index });
        }
    }
}
