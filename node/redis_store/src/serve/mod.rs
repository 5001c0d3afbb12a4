//! A topic as one node serves it: what its clients push and settle at the same time goes into one script,
//! and who waits for messages waits here.
//!
//! # Problem
//!
//! A script that waits for the disk costs the same for one message as for a hundred, and a command of Redis
//! that waits holds up everybody else of the connection.
//!
//! # Idea
//!
//! *Merging* (`lane.rs`): pushes that come while a script is under way go into the next one, which is sent when
//! the last one is back. No timer: a lone client waits for nobody, and the busier it is, the more goes into one
//! script. Settles likewise.
//!
//! *Waiting* (`line.rs`): requests for messages stand in one line a part. Every answer of Redis says how much can
//! be delivered and when the next thing ends, so the line asks when there is something to be had, and once a second
//! for what came through another node. An empty answer writes nothing.
//!
//! *Given back*: what was delivered to a client that has gone meanwhile is given back at once, uncounted.

mod delivered;
mod lane;
mod line;
mod reads;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use dsync_core::queue::{
    GiveBack, PushItem, PushOutcome, QueueOperation, QueueOutcome, Receipt, Receiver, Rules,
    SettleItem, SettleOutcome, SubQueue,
};
use dsync_core::types::BootId;
use tokio::sync::Notify;
use tokio::time::Instant;

pub use delivered::Delivered;
pub use line::Times;

use crate::answer::{Done, Status};
use crate::problem::{RedisProblem, StoreError};
use crate::server::Durability;
use crate::store::{RedisStore, Terms};
use crate::topic::{Batch, RedisTopic, Stream};
use lane::{Lane, Pushes, Settles};
use line::Line;

/// How long a give-back is tried. Longer than most deliveries live is of no use.
const GIVE_BACK_FOR: std::time::Duration = std::time::Duration::from_secs(30);

/// See the module.
#[derive(Debug)]
pub struct ServedTopic {
    pushes: Arc<Lane<Pushes>>,
    settles: Arc<Lane<Settles>>,
    main: Arc<Line>,
    dead: Arc<Line>,
    shared: Arc<Shared>,
}

/// What became of one message to be pushed, and what that survives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// What became of it.
    pub outcome: PushOutcome,
    /// What the message survives, if it was taken.
    pub durability: Durability,
}

/// What all parts need.
#[derive(Debug)]
struct Shared {
    store: Arc<RedisStore>,
    topic: RedisTopic,
    name: String,
    boot: BootId,
    rules: Mutex<Rules>,
    /// Of the last batch of each stream.
    numbers: [AtomicU64; 5],
    /// Of the main part and of the dead.
    wakes: [Wake; 2],
}

/// How the line of a part is told that it should ask.
#[derive(Debug, Default)]
struct Wake {
    notify: Notify,
    /// When, by Redis' clock, it will ask by itself; 0: nobody waits.
    asks_at: AtomicU64,
}

impl ServedTopic {
    /// A topic that exists. `boot`: of this process; random, since receipts are made of it.
    #[must_use]
    pub fn new(
        store: Arc<RedisStore>,
        topic: RedisTopic,
        name: &str,
        boot: BootId,
        rules: Rules,
    ) -> Self {
        let (name, rules) = (name.to_owned(), Mutex::new(rules));
        let (numbers, wakes) = Default::default();
        let shared = Arc::new(Shared { store, topic, name, boot, rules, numbers, wakes });
        Self {
            pushes: Arc::new(Lane::new(shared.clone())),
            settles: Arc::new(Lane::new(shared.clone())),
            main: Arc::new(Line::new(shared.clone(), SubQueue::Main)),
            dead: Arc::new(Line::new(shared.clone(), SubQueue::Dead)),
            shared,
        }
    }

    /// Other rules from now on.
    pub fn set_rules(&self, rules: Rules) {
        *self.shared.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    /// Pushes messages; a result for each, in their order. Goes on if this is dropped.
    pub async fn push(
        &self,
        items: Vec<PushItem>,
        deadline: Instant,
    ) -> Vec<Result<Pushed, StoreError>> {
        self.pushes.send(items, deadline).await
    }

    /// Settles deliveries; a result for each, in their order. Goes on if this is dropped.
    pub async fn settle(
        &self,
        items: Vec<SettleItem>,
        deadline: Instant,
    ) -> Vec<Result<SettleOutcome, StoreError>> {
        self.settles.send(items, deadline).await
    }

    /// Waits for messages, and takes them. `None`: the wait is over, and there were none. Dropped, it has
    /// received nothing.
    ///
    /// # Errors
    /// If what is asked for is refused, or Redis cannot be asked until the deadline.
    pub async fn receive(
        &self,
        sub_queue: SubQueue,
        receiver: Receiver,
        times: Times,
    ) -> Result<Option<Delivered>, StoreError> {
        let line = match sub_queue {
            SubQueue::Main => &self.main,
            SubQueue::Dead => &self.dead,
        };
        line.receive(receiver, times).await
    }

    /// Does what is neither a push nor a receive nor a settle, once. If its answer is lost it may have been done:
    /// asked again, it does what is left of it.
    ///
    /// # Errors
    /// If it is refused before anybody looks at the topic, or Redis does not do it.
    pub async fn apply(
        &self,
        operation: &QueueOperation,
        deadline: Instant,
    ) -> Result<QueueOutcome, StoreError> {
        let rules = self.shared.rules();
        let terms = Terms { rules: &rules, batch: None, deadline };
        let done = self.shared.store.apply(&self.shared.topic, operation, 0, terms).await?;
        self.shared.note(&done.status);
        Ok(done.outcome)
    }

    /// How many requests wait for messages.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.main.waiting() + self.dead.waiting()
    }
}

impl Shared {
    /// One operation, under a number of its own. Of a stream there is one at a time.
    async fn apply(
        &self,
        stream: Stream,
        operation: &QueueOperation,
        deadline: Instant,
    ) -> Result<Done, StoreError> {
        let number = self.numbers[stream as usize].fetch_add(1, Ordering::Relaxed) + 1;
        let rules = self.rules();
        let batch = Some(Batch { boot: self.boot, stream, number });
        let terms = Terms { rules: &rules, batch, deadline };
        let done = self.store.apply(&self.topic, operation, random()?, terms).await?;
        // What a receive says is for the line that asked, which hears it in its order.
        if !matches!(stream, Stream::Receive | Stream::ReceiveDead) {
            self.note(&done.status);
        }
        Ok(done)
    }

    /// Tells who waits of what can be had now, or sooner than they will ask.
    fn note(&self, status: &Status) {
        for (wake, ready) in self.wakes.iter().zip([status.deliverable, status.dead_deliverable]) {
            let asks_at = wake.asks_at.load(Ordering::Acquire);
            let sooner = status.next_due.is_some_and(|due| due.0 < asks_at);
            if ready > 0 || sooner {
                wake.notify.notify_one();
            }
        }
    }

    fn wake(&self, sub_queue: SubQueue) -> &Wake {
        match sub_queue {
            SubQueue::Main => &self.wakes[0],
            SubQueue::Dead => &self.wakes[1],
        }
    }

    fn rules(&self) -> Rules {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Undoes deliveries that nobody has seen, as far as they still live. In the background.
    fn give_back(self: &Arc<Self>, receipts: Vec<Receipt>) {
        let shared = self.clone();
        let task = async move {
            let give_back = GiveBack { topic: shared.name.clone(), receipts };
            let operation = QueueOperation::GiveBack(give_back);
            let rules = shared.rules();
            let deadline = Instant::now() + GIVE_BACK_FOR;
            // Without a number: several may be under way, and each can be done once only by itself.
            let terms = Terms { rules: &rules, batch: None, deadline };
            match shared.store.apply(&shared.topic, &operation, 0, terms).await {
                Ok(done) => shared.note(&done.status),
                Err(error) => {
                    tracing::debug!(%error, "deliveries to a client that has gone wait for their end");
                }
            }
        };
        // Without a runtime the process ends, and every delivery of it ends by itself.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(task);
        }
    }
}

/// The random part of a batch's receipts.
fn random() -> Result<u64, RedisProblem> {
    let none = |error: getrandom::Error| RedisProblem::Other(format!("no random bits: {error}"));
    getrandom::u64().map_err(none)
}
