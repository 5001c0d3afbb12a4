//! Empty nodes find each other, and one of them proposes the cluster.

use bytes::Bytes;
use dsync_core::machine::FirstState;
use dsync_core::raft::{Input, Introduction};
use dsync_core::types::{ClusterId, LocalTime};
use dsync_core::wire;

use super::super::node::Node;
use super::super::queue::Parcel;
use super::super::world::Shared;
use super::{Outside, Process};

/// Empty nodes introduce themselves this often.
const INTRODUCE_MS: u64 = 200;

impl Process {
    /// Empty nodes look for others; the others tell them what they hold.
    pub(super) fn introduce(&mut self, node: &Node, now: LocalTime, shared: &mut Shared) {
        if self.bootstrap.is_none() || now < self.introduce_at {
            return;
        }
        self.introduce_at = now.plus(INTRODUCE_MS);
        let introduction = self.introduction(node);
        for to in (0..shared.plan.nodes).filter(|to| *to != node.slot) {
            let parcel = Parcel::Introduction(Box::new(introduction.clone()));
            shared.send((node.slot, to), &parcel);
        }
        self.propose_founding(now, shared);
    }

    pub(super) fn introduction(&self, node: &Node) -> Introduction {
        Introduction {
            name: node.name.clone(),
            node_id: self.raft.id(),
            boot_id: self.boot,
            holds: self.cluster_id(),
        }
    }

    /// The cluster it holds a log of: by entry 1, or by the machine when that is compacted away.
    fn cluster_id(&self) -> Option<ClusterId> {
        self.raft.cluster_id().or_else(|| self.machine.cluster_id())
    }

    fn propose_founding(&mut self, now: LocalTime, shared: &mut Shared) {
        let Some(bootstrap) = &self.bootstrap else { return };
        let cluster_id = ClusterId(u128::from(shared.rng.next()));
        let first = FirstState::V1 { settings: shared.plan.settings.clone(), token_base: 1 << 22 };
        let machine = Bytes::from(wire::encode(&first));
        if let Ok(founding) = bootstrap.proposal(cluster_id, machine) {
            self.raft.step(now, Input::Found(founding));
        }
    }

    /// Why this node does not take part, if it holds nothing.
    pub(crate) fn outside(&self) -> Option<Outside> {
        self.bootstrap.as_ref()?.proposal(ClusterId(1), Bytes::new()).err()
    }
}
