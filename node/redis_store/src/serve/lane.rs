//! What clients push and settle at the same time, in one script.
//!
//! A lane has at most one script under way; what comes meanwhile waits for the next one. A script takes so many
//! items and bytes at most, since Redis does nothing else while it runs.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dsync_core::queue::{
    Push, PushItem, QueueOperation, QueueOutcome, QueueRefusal, Settle, SettleItem, SettleOutcome,
};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::{Pushed, Shared};
use crate::answer::{Done, Unreadable};
use crate::problem::{RedisProblem, StoreError};
use crate::topic::Stream;

/// What one script takes, but for a single item that is larger.
const ITEMS_MAX: usize = 128;
const BYTES_MAX: usize = 256 * 1024;

/// What can be merged.
pub(super) trait Kind: Debug + Send + Sync + 'static {
    type Item: Debug + Send + 'static;
    type Outcome: Debug + Send + 'static;
    const STREAM: Stream;

    fn bytes(item: &Self::Item) -> usize;
    fn operation(topic: String, items: Vec<Self::Item>) -> QueueOperation;
    /// `None`: it is the outcome of another operation, a bug.
    fn outcomes(done: Done) -> Option<Result<Vec<Self::Outcome>, QueueRefusal>>;
}

/// Pushes.
#[derive(Debug)]
pub(super) struct Pushes;

/// Settles.
#[derive(Debug)]
pub(super) struct Settles;

type ItemResult<K> = Result<<K as Kind>::Outcome, StoreError>;

/// See the module.
#[derive(Debug)]
pub(super) struct Lane<K: Kind> {
    shared: Arc<Shared>,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K: Kind> {
    waiting: VecDeque<Waiting<K>>,
    /// A task sends what waits.
    busy: bool,
}

#[derive(Debug)]
struct Waiting<K: Kind> {
    item: K::Item,
    deadline: Instant,
    reply: oneshot::Sender<ItemResult<K>>,
}

impl<K: Kind> Lane<K> {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, state: Mutex::new(State { waiting: VecDeque::new(), busy: false }) }
    }

    /// A result for each item, in their order.
    pub(super) async fn send(
        self: &Arc<Self>,
        items: Vec<K::Item>,
        deadline: Instant,
    ) -> Vec<ItemResult<K>> {
        let replies: Vec<_> = self.enqueue(items, deadline);
        let mut results = Vec::with_capacity(replies.len());
        for reply in replies {
            // An item goes with others, who may wait longer.
            let result = timeout_at(deadline, reply).await.ok().and_then(Result::ok);
            let open = || RedisProblem::Unanswered("not in time".to_owned()).into();
            results.push(result.unwrap_or_else(|| Err(open())));
        }
        results
    }

    fn enqueue(
        self: &Arc<Self>,
        items: Vec<K::Item>,
        deadline: Instant,
    ) -> Vec<oneshot::Receiver<ItemResult<K>>> {
        let mut state = self.lock();
        let mut replies = Vec::with_capacity(items.len());
        for item in items {
            let (reply, receiver) = oneshot::channel();
            state.waiting.push_back(Waiting { item, deadline, reply });
            replies.push(receiver);
        }
        if !state.busy && !state.waiting.is_empty() {
            state.busy = true;
            tokio::spawn(self.clone().work());
        }
        replies
    }

    /// Sends what waits, until nothing does.
    async fn work(self: Arc<Self>) {
        while let Some(batch) = self.next_batch() {
            let (items, rest): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|it| (it.item, (it.deadline, it.reply))).unzip();
            let deadline = rest.iter().map(|it| it.0).max().unwrap_or_else(Instant::now);
            let results = self.run(items, deadline).await;
            for (result, (_, reply)) in results.into_iter().zip(rest) {
                // Who does not wait any more does not hear it.
                let _ = reply.send(result);
            }
        }
    }

    fn next_batch(&self) -> Option<Vec<Waiting<K>>> {
        let mut state = self.lock();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while batch.len() < ITEMS_MAX {
            let Some(next) = state.waiting.front() else { break };
            bytes += K::bytes(&next.item);
            if bytes > BYTES_MAX && !batch.is_empty() {
                break;
            }
            batch.extend(state.waiting.pop_front());
        }
        if batch.is_empty() {
            state.busy = false;
            return None;
        }
        Some(batch)
    }

    async fn run(&self, items: Vec<K::Item>, deadline: Instant) -> Vec<ItemResult<K>> {
        let count = items.len();
        let operation = K::operation(self.shared.name.clone(), items);
        let all = |error: StoreError| (0..count).map(|_| Err(error.clone())).collect();
        match self.shared.apply(K::STREAM, &operation, deadline).await {
            Err(error) => all(error),
            Ok(done) => match K::outcomes(done) {
                Some(Ok(outcomes)) => outcomes.into_iter().map(Ok).collect(),
                Some(Err(refusal)) => all(refusal.into()),
                None => all(RedisProblem::from(Unreadable("what was asked")).into()),
            },
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kind for Pushes {
    type Item = PushItem;
    type Outcome = Pushed;
    const STREAM: Stream = Stream::Push;

    fn bytes(item: &PushItem) -> usize {
        item.body.len()
            + item.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
    }

    fn operation(topic: String, items: Vec<PushItem>) -> QueueOperation {
        // Who asks is of interest where topics are made, which a push does not do here.
        let principal = "anonymous".to_owned();
        QueueOperation::Push(Push { principal, topic, unlimited_deliveries: false, items })
    }

    fn outcomes(done: Done) -> Option<Result<Vec<Pushed>, QueueRefusal>> {
        let durability = done.status.durability;
        let pushed = |outcome| Pushed { outcome, durability };
        match done.outcome {
            QueueOutcome::Pushed(items) => Some(Ok(items.into_iter().map(pushed).collect())),
            QueueOutcome::Refused(refusal) => Some(Err(refusal)),
            _ => None,
        }
    }
}

impl Kind for Settles {
    type Item = SettleItem;
    type Outcome = SettleOutcome;
    const STREAM: Stream = Stream::Settle;

    fn bytes(_: &SettleItem) -> usize {
        0
    }

    fn operation(topic: String, items: Vec<SettleItem>) -> QueueOperation {
        QueueOperation::Settle(Settle { topic, items })
    }

    fn outcomes(done: Done) -> Option<Result<Vec<SettleOutcome>, QueueRefusal>> {
        match done.outcome {
            QueueOutcome::Settled(items) => Some(Ok(items)),
            QueueOutcome::Refused(refusal) => Some(Err(refusal)),
            _ => None,
        }
    }
}
