//! Queues, as this node's clients use them: what they push and settle is merged, who waits for messages
//! waits here.
//!
//! # Problem
//!
//! A command costs a sync on a majority of disks, whatever is in it. Two hundred clients that push one
//! message each must not cost two hundred of them, and a thousand workers that wait at an empty topic
//! must cost none.
//!
//! # Idea
//!
//! *Merging* (`merge.rs`): what is pushed to one topic while a command is under way goes into the next
//! one, which is sent when the last one is back. No timer: a lone client waits for nobody, and the busier
//! it is, the more goes into one command. Settles likewise.
//!
//! *Waiting* (`receive.rs`): requests for messages stand in one line a topic. When the state of this node
//! shows that something can be delivered, one command names all of them, and each is answered from that
//! command's entry as it is applied here. The driver says where something has become ready
//! ([`Queues::ready`]), so nobody polls, and an empty topic costs no entry.
//!
//! # What is given back
//!
//! What was delivered to a client that has gone meanwhile is given back at once, uncounted
//! (`delivered.rs`): the guard around it does that unless it is told that an answer is about to be written.
//! A node that dies gives nothing back: then the visibility ends it.

mod delivered;
mod merge;
mod receive;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dsync_core::machine::{Machine, Operation, RequestId};
use dsync_core::queue::{
    GiveBack, PushItem, PushOutcome, QueueOperation, Receipt, Received, SettleItem, SettleOutcome,
    SubQueue,
};
use dsync_core::types::{BootId, Index};

pub use delivered::Delivered;
pub use receive::{ReceiveError, Wanted};

use crate::handle::{SubmitError, WeakDriver};
use merge::{Lanes, Part, PushLane, SettleLane};
use receive::Lines;

/// How long a give-back is tried. Longer than most deliveries live is of no use.
const GIVE_BACK_FOR: Duration = Duration::from_secs(30);

/// What came of an item: in which entry, or why there is no answer.
pub type ItemResult<O> = Result<(Index, O), NotDone>;

/// Why an item has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// Its command has no answer.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Its command came too late to be applied.
    #[error("void")]
    Void,
}

/// Who asks, and until when.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who it authenticated as.
    pub principal: String,
    /// The client's id for its request.
    pub request: Option<RequestId>,
    /// When to give up.
    pub deadline: Instant,
}

/// This node's side of the queues.
#[derive(Debug)]
pub struct Queues {
    pushes: Arc<Lanes<PushLane>>,
    settles: Arc<Lanes<SettleLane>>,
    lines: Arc<Lines>,
}

/// What all parts need.
#[derive(Clone, Debug)]
struct Shared {
    boot: BootId,
    machine: Arc<ArcSwap<Machine>>,
    driver: WeakDriver,
}

impl Queues {
    /// Nobody asks for anything yet.
    pub(crate) fn new(boot: BootId, machine: Arc<ArcSwap<Machine>>, driver: WeakDriver) -> Self {
        let shared = Arc::new(Shared { boot, machine, driver });
        Self {
            pushes: Arc::new(Lanes::new(shared.clone())),
            settles: Arc::new(Lanes::new(shared.clone())),
            lines: Arc::new(Lines::new(shared)),
        }
    }

    /// Pushes to a topic; a result for each, in their order. Goes on if this is dropped.
    pub async fn push(
        &self,
        topic: String,
        unlimited_deliveries: bool,
        items: Vec<PushItem>,
        asker: Asker,
    ) -> Vec<ItemResult<PushOutcome>> {
        let lane = PushLane { principal: asker.principal.clone(), topic, unlimited_deliveries };
        Part::send(&self.pushes, lane, items, asker).await
    }

    /// Settles deliveries of a topic; a result for each, in their order. Goes on if this is dropped.
    pub async fn settle(
        &self,
        topic: String,
        items: Vec<SettleItem>,
        asker: Asker,
    ) -> Vec<ItemResult<SettleOutcome>> {
        Part::send(&self.settles, SettleLane { topic }, items, asker).await
    }

    /// Waits for messages, and takes them. `None`: the wait is over. Dropped, it has received nothing.
    ///
    /// # Errors
    /// If the cluster does not answer, or what is asked for is refused.
    pub async fn receive(&self, wanted: Wanted) -> Result<Option<Delivered>, ReceiveError> {
        self.lines.receive(wanted).await
    }

    /// Something can be delivered there, in the state that is published. Only the driver calls it.
    pub fn ready(&self, topics: &BTreeSet<(Arc<str>, SubQueue)>) {
        self.lines.ready(topics);
    }

    /// The state was replaced: anything may be ready. Only the driver calls it.
    pub fn all_ready(&self) {
        self.lines.all_ready();
    }

    /// Deliveries to requests that were answered before, with an unknown outcome: nobody has seen them.
    /// Only the driver calls it.
    pub fn received_late(&self, received: Vec<Received>) {
        self.lines.received_late(received);
    }

    /// How many requests wait here for messages.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines.waiting()
    }

    /// The node stops: who waits for messages goes elsewhere.
    pub fn stop(&self) {
        self.lines.stop();
    }
}

impl Shared {
    /// Undoes deliveries that nobody has seen, as far as they still live. In the background.
    fn give_back(&self, topic: &str, receipts: Vec<Receipt>) {
        let driver = self.driver.clone();
        let give_back = GiveBack { topic: topic.to_owned(), receipts };
        let operation = Operation::queue(QueueOperation::GiveBack(give_back));
        let task = async move {
            let deadline = Instant::now() + GIVE_BACK_FOR;
            if let Err(error) = driver.submit(operation, deadline).await {
                tracing::debug!(%error, "deliveries to a client that has gone wait for their end");
            }
        };
        // Without a runtime the process ends, and every delivery of it ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(task);
        }
    }
}
