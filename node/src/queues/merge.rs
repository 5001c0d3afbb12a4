//! What clients push and settle at the same time, in one command.
//!
//! A *lane* is what can be merged: pushes of one principal to one topic, settles of one topic. Each lane
//! has at most one command under way; what comes meanwhile waits for the next one. A command holds at
//! most as many items as a batch may have, and stays below the size that Raft takes; a request that does
//! not fit is cut, and goes on with the next command. So is the request at the end of a command, and
//! results go back when all of its items have one.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use dsync_core::encoding::encoded_bytes;
use dsync_core::machine::{Operation, Outcome, RequestItems};
use dsync_core::queue::{
    Push, PushItem, PushOutcome, QueueOperation, QueueOutcome, QueueRefusal, Settle, SettleItem,
    SettleOutcome,
};
use dsync_core::raft::COMMAND_BYTES_MAX;
use serde::Serialize;
use tokio::sync::oneshot;

use super::{Asker, ItemResult, NotDone, Shared};
use crate::handle::{Applied, SubmitError};

/// What a command has beside its items and their requests.
const REST_BYTES: u64 = 4 * 1024;

/// What can be merged with what.
pub(super) trait Lane: Clone + Debug + Ord + Send + Sync + 'static {
    type Item: Serialize + Debug + Send + 'static;
    type Outcome: Debug + Send + 'static;

    fn operation(&self, items: Vec<Self::Item>) -> QueueOperation;
    /// `None`: it is the outcome of another operation, a bug.
    fn outcomes(outcome: QueueOutcome) -> Option<Result<Vec<Self::Outcome>, QueueRefusal>>;
    fn refused(refusal: QueueRefusal) -> Self::Outcome;
}

/// Pushes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PushLane {
    pub(super) principal: String,
    pub(super) topic: String,
    pub(super) unlimited_deliveries: bool,
}

/// Settles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SettleLane {
    pub(super) topic: String,
}

/// All lanes of a kind that have something to do.
#[derive(Debug)]
pub(super) struct Lanes<L: Lane> {
    shared: Arc<Shared>,
    /// Of each lane with a command under way, what waits for the next.
    waiting: Mutex<BTreeMap<L, VecDeque<Part<L>>>>,
}

/// What is left to be done of one client's request.
#[derive(Debug)]
pub(super) struct Part<L: Lane> {
    items: VecDeque<L::Item>,
    results: Vec<ItemResult<L::Outcome>>,
    asker: Asker,
    reply: oneshot::Sender<Vec<ItemResult<L::Outcome>>>,
}

/// One command, and whose items are in it.
struct Batch<L: Lane> {
    operation: Operation,
    deadline: Instant,
    /// Each with how many of its items.
    parts: Vec<(Part<L>, usize)>,
}

impl<L: Lane> Part<L> {
    /// Has items done, merged with those of others. The results, in their order.
    pub(super) async fn send(
        lanes: &Arc<Lanes<L>>,
        lane: L,
        items: Vec<L::Item>,
        asker: Asker,
    ) -> Vec<ItemResult<L::Outcome>> {
        let (reply, results) = oneshot::channel();
        let count = items.len();
        lanes.add(lane, Self { items: items.into(), results: Vec::new(), asker, reply });
        let lost = || (0..count).map(|_| Err(SubmitError::Unknown.into())).collect();
        results.await.unwrap_or_else(|_| lost())
    }
}

impl<L: Lane> Lanes<L> {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, waiting: Mutex::default() }
    }

    fn add(self: &Arc<Self>, lane: L, part: Part<L>) {
        match self.lock().entry(lane) {
            std::collections::btree_map::Entry::Occupied(mut busy) => {
                busy.get_mut().push_back(part);
            }
            std::collections::btree_map::Entry::Vacant(idle) => {
                let lane = idle.key().clone();
                idle.insert(VecDeque::from([part]));
                tokio::spawn(self.clone().run(lane));
            }
        }
    }

    /// Sends one command after the other until nothing is left.
    async fn run(self: Arc<Self>, lane: L) {
        while let Some(batch) = self.next_batch(&lane) {
            let answer = self.shared.driver.submit(batch.operation, batch.deadline).await;
            self.answer(&lane, batch.parts, answer);
        }
    }

    fn next_batch(&self, lane: &L) -> Option<Batch<L>> {
        let items_max = self.shared.machine.load().settings().map(|it| it.queues.batch_max);
        let items_max = usize::try_from(items_max.unwrap_or(1)).unwrap_or(usize::MAX).max(1);
        let mut waiting = self.lock();
        let parts = waiting.get_mut(lane)?;
        let (mut items, mut taken, mut requests) = (Vec::new(), Vec::new(), Vec::new());
        let mut room = COMMAND_BYTES_MAX as u64 - REST_BYTES;
        let mut deadline = Instant::now();
        while let Some(mut part) = parts.pop_front() {
            if part.asker.deadline <= Instant::now() {
                part.give_up();
                continue;
            }
            deadline = deadline.max(part.asker.deadline);
            let (first, position) = (items.len(), part.results.len());
            room = room.saturating_sub(part.request_bytes());
            while let Some(item) = part.items.pop_front() {
                let bytes = encoded_bytes(&item);
                if items.len() == items_max || bytes > room && !items.is_empty() {
                    part.items.push_front(item);
                    break;
                }
                room = room.saturating_sub(bytes);
                items.push(item);
            }
            let count = items.len() - first;
            requests.extend(part.named(first, count, position));
            let is_cut = !part.items.is_empty();
            taken.push((part, count));
            if is_cut {
                break;
            }
        }
        if taken.is_empty() {
            waiting.remove(lane);
            return None;
        }
        let operation = Operation::Queue { requests, operation: lane.operation(items) };
        Some(Batch { operation, deadline, parts: taken })
    }

    fn answer(&self, lane: &L, parts: Vec<(Part<L>, usize)>, answer: Result<Applied, SubmitError>) {
        let mut outcomes = outcomes::<L>(answer, parts.iter().map(|(_, count)| count).sum());
        for (mut part, count) in parts {
            part.results.extend(outcomes.by_ref().take(count));
            if part.items.is_empty() {
                // A client that has gone is no reason to do anything.
                let _ = part.reply.send(part.results);
            } else if let Some(waiting) = self.lock().get_mut(lane) {
                waiting.push_front(part);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<L, VecDeque<Part<L>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Lane> Part<L> {
    /// Its turn did not come in time: what is left of it was never sent.
    fn give_up(mut self) {
        let left = self.items.len();
        self.results.extend((0..left).map(|_| Err(SubmitError::Overloaded.into())));
        let _ = self.reply.send(self.results);
    }

    fn request_bytes(&self) -> u64 {
        let id = self.asker.request.as_ref().map_or(0, encoded_bytes);
        if id > 0 { id + self.asker.principal.len() as u64 + 32 } else { 0 }
    }

    fn named(&self, first: usize, count: usize, position: usize) -> Option<RequestItems> {
        let (principal, request) = (self.asker.principal.clone(), self.asker.request.clone()?);
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (first, count, position) = (narrow(first), narrow(count), narrow(position));
        (count > 0).then_some(RequestItems { principal, request, first, count, position })
    }
}

/// One result for each of `count` items.
fn outcomes<L: Lane>(
    answer: Result<Applied, SubmitError>,
    count: usize,
) -> Box<dyn Iterator<Item = ItemResult<L::Outcome>> + Send> {
    let all = |error: NotDone| Box::new((0..count).map(move |_| Err(error)));
    let Applied { outcome, index, .. } = match answer {
        Ok(applied) => applied,
        Err(error) => return all(error.into()),
    };
    let outcome = match outcome {
        Outcome::Queue(outcome) => L::outcomes(outcome),
        Outcome::Void => return all(NotDone::Void),
        other => {
            tracing::error!(?other, "an operation of queues was answered by something else");
            return all(SubmitError::Unknown.into());
        }
    };
    match outcome {
        Some(Ok(outcomes)) if outcomes.len() == count => {
            Box::new(outcomes.into_iter().map(move |outcome| Ok((index, outcome))))
        }
        Some(Err(refusal)) => {
            Box::new((0..count).map(move |_| Ok((index, L::refused(refusal.clone())))))
        }
        _ => {
            tracing::error!("a merged operation of queues was answered by something else");
            all(SubmitError::Unknown.into())
        }
    }
}

impl Lane for PushLane {
    type Item = PushItem;
    type Outcome = PushOutcome;

    fn operation(&self, items: Vec<PushItem>) -> QueueOperation {
        QueueOperation::Push(Push {
            principal: self.principal.clone(),
            topic: self.topic.clone(),
            unlimited_deliveries: self.unlimited_deliveries,
            items,
        })
    }

    fn outcomes(outcome: QueueOutcome) -> Option<Result<Vec<PushOutcome>, QueueRefusal>> {
        match outcome {
            QueueOutcome::Pushed(outcomes) => Some(Ok(outcomes)),
            QueueOutcome::Refused(refusal) => Some(Err(refusal)),
            _ => None,
        }
    }

    fn refused(refusal: QueueRefusal) -> PushOutcome {
        PushOutcome::Refused(refusal)
    }
}

impl Lane for SettleLane {
    type Item = SettleItem;
    type Outcome = SettleOutcome;

    fn operation(&self, items: Vec<SettleItem>) -> QueueOperation {
        QueueOperation::Settle(Settle { topic: self.topic.clone(), items })
    }

    fn outcomes(outcome: QueueOutcome) -> Option<Result<Vec<SettleOutcome>, QueueRefusal>> {
        match outcome {
            QueueOutcome::Settled(outcomes) => Some(Ok(outcomes)),
            QueueOutcome::Refused(refusal) => Some(Err(refusal)),
            _ => None,
        }
    }

    fn refused(refusal: QueueRefusal) -> SettleOutcome {
        SettleOutcome::Refused(refusal)
    }
}
