//! Deliveries on their way to a client.

use std::sync::Arc;

use dsync_core::queue::{DeliveryView, Receipt};
use dsync_core::types::ClusterTime;

use super::Shared;

/// Messages that were delivered to an open request. Dropped before [`Delivered::hand_over`], they are given
/// back.
#[derive(Debug)]
pub struct Delivered {
    shared: Arc<Shared>,
    receipts: Vec<Receipt>,
    views: Vec<DeliveryView>,
    now: ClusterTime,
}

impl Delivered {
    pub(super) fn new(shared: &Arc<Shared>, views: Vec<DeliveryView>, now: ClusterTime) -> Self {
        let receipts = views.iter().map(|it| it.receipt).collect();
        Self { shared: shared.clone(), receipts, views, now }
    }

    /// The messages, in the order in which they were delivered.
    #[must_use]
    pub fn views(&self) -> &[DeliveryView] {
        &self.views
    }

    /// Redis' clock then.
    #[must_use]
    pub fn now(&self) -> ClusterTime {
        self.now
    }

    /// The answer is about to be written: from now on they are the client's.
    pub fn hand_over(mut self) {
        self.receipts.clear();
    }
}

impl Drop for Delivered {
    fn drop(&mut self) {
        if !self.receipts.is_empty() {
            self.shared.give_back(std::mem::take(&mut self.receipts));
        }
    }
}
