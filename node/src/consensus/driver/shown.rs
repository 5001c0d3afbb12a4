//! What others see of the driver: the machine that reads are answered from, the node's status, and
//! what the peers are told of this node.

use std::sync::Arc;

use super::Driver;
use crate::handle::NodeStatus;
use crate::peers::Introduction;

impl Driver {
    pub(super) fn publish_machine(&self) {
        self.parts.published_machine.store(Arc::new(self.parts.machine.clone()));
    }

    /// Shows the status if anything in it has changed.
    pub(super) fn publish_status(&mut self) {
        let shown = self.parts.published_status.load();
        let raft = self.parts.raft.status();
        let cluster_id = self.parts.machine.cluster_id().or(self.parts.raft.cluster_id());
        let outside = self.parts.founder.outside(&self.parts.raft);
        let registered = self.parts.proposer.registered() && self.parts.raft.boot_is_stated();
        let changes = self.parts.raft.held_boots_changes();
        if changes != self.held_changes {
            self.held_changes = changes;
            self.parts.peers.set_held(self.parts.raft.held_boots());
        }
        let same = shown.raft == raft
            && shown.cluster_id == cluster_id
            && shown.outside == outside
            && shown.registered == registered;
        if same {
            return;
        }
        if shown.raft.role != raft.role || shown.raft.term != raft.term {
            tracing::info!(role = ?raft.role, term = raft.term.0, "role changed");
        }
        let membership = self.parts.raft.membership().cloned();
        let next =
            NodeStatus { raft, cluster_id, membership, outside, registered, ..(**shown).clone() };
        self.parts.metrics.raft.record(&next);
        self.parts.published_status.store(Arc::new(next));
        self.introduce();
    }

    /// Tells the peers when this node holds a founding entry, and when it is founded for good.
    fn introduce(&mut self) {
        let raft = &self.parts.raft;
        let cluster_id = self.parts.machine.cluster_id().or(raft.cluster_id());
        let introduction = Introduction {
            cluster_id: cluster_id.filter(|_| raft.hard_state().founded),
            empty: raft.is_empty(),
            ..self.parts.introduction.clone()
        };
        if introduction != self.parts.introduction {
            self.parts.introduction = introduction.clone();
            self.parts.peers.set_introduction(introduction);
        }
    }
}
