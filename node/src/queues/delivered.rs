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
    index: Index,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Log(FromLog),
    /// It gives back by itself.
    Redis(dsync_redis_store::Delivered),
}

#[derive(Debug)]
struct FromLog {
    shared: Arc<Shared>,
    topic: String,
    /// All of them, in the order in which they were delivered.
    receipts: Vec<Receipt>,
    /// Those that still live, with their messages.
    views: Vec<DeliveryView>,
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
        let (shared, topic, stamp) = (shared.clone(), topic.to_owned(), applied.stamp);
        let source = Source::Log(FromLog { shared, topic, receipts, views, stamp });
        Self { index: applied.index, source }
    }

    /// What Redis has delivered.
    pub(super) fn from_redis(delivered: dsync_redis_store::Delivered, index: Index) -> Self {
        Self { index, source: Source::Redis(delivered) }
    }

    /// The messages.
    #[must_use]
    pub fn views(&self) -> &[DeliveryView] {
        match &self.source {
            Source::Log(log) => &log.views,
            Source::Redis(delivered) => delivered.views(),
        }
    }

    /// The entry that delivered them; from Redis, the newest that this node had applied.
    #[must_use]
    pub fn index(&self) -> Index {
        self.index
    }

    /// Cluster time then, or Redis' clock.
    #[must_use]
    pub fn stamp(&self) -> ClusterTime {
        match &self.source {
            Source::Log(log) => log.stamp,
            Source::Redis(delivered) => delivered.now(),
        }
    }

    /// The answer is about to be written: from now on they are the client's.
    pub fn hand_over(self) {
        match self.source {
            Source::Log(mut log) => log.receipts.clear(),
            Source::Redis(delivered) => delivered.hand_over(),
        }
    }
}

impl Drop for FromLog {
    fn drop(&mut self) {
        if !self.receipts.is_empty() {
            self.shared.give_back(&self.topic, std::mem::take(&mut self.receipts));
        }
    }
}
