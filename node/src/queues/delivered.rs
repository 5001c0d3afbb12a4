//! Deliveries on their way to a client.

use std::sync::Arc;

use dsync_core::machine::Applied;
use dsync_core::queue::{DeliveryView, Receipt};
use dsync_core::types::{ClusterTime, Index};

use super::Shared;

/// Messages that were delivered to an open request. Dropped before [`Delivered::hand_over`], they are
/// given back.
#[derive(Debug)]
pub struct Delivered {
    shared: Arc<Shared>,
    topic: String,
    /// All of them, in the order in which they were delivered.
    receipts: Vec<Receipt>,
    /// Those that still live, with their messages.
    views: Vec<DeliveryView>,
    index: Index,
    stamp: ClusterTime,
}

impl Delivered {
    /// What an applied entry has delivered, as far as it still lives in the published state.
    pub(super) fn new(
        shared: &Arc<Shared>,
        topic: &str,
        receipts: Vec<Receipt>,
        applied: &Applied,
    ) -> Self {
        let machine = shared.machine.load();
        let views = receipts.iter().filter_map(|it| machine.queues().delivery(topic, it)).collect();
        let (shared, topic) = (shared.clone(), topic.to_owned());
        Self { shared, topic, receipts, views, index: applied.index, stamp: applied.stamp }
    }

    /// The messages.
    #[must_use]
    pub fn views(&self) -> &[DeliveryView] {
        &self.views
    }

    /// The entry that delivered them.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// Cluster time then.
    #[must_use]
    pub fn stamp(&self) -> ClusterTime {
        self.stamp
    }

    /// The answer is about to be written: from now on they are the client's.
    pub fn hand_over(mut self) {
        self.receipts.clear();
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        if !self.receipts.is_empty() {
            self.shared.give_back(&self.topic, std::mem::take(&mut self.receipts));
        }
    }
}
