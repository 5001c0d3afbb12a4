//! One topic in Redis.

use std::sync::Arc;
use std::time::Instant;

use dsync_core::queue::{
    MessageId, MessageView, Page, QueueOperation, QueueOutcome, QueueRefusal, Receiver, ReceiverId,
    SettleItem, SettleOutcome, StateKind, SubQueue, TopicId, TopicView,
};
use dsync_core::types::{ClusterTime, Index, RedisId};
use dsync_redis_store::{Delivered, RedisProblem, ServedTopic, StoreError, Times};

use super::InRedis;
use crate::handle::SubmitError;
use crate::queues::{Asker, ItemResult, NotDone, QueueError, Wanted};

/// A topic that is in Redis, and was made there.
#[derive(Clone, Debug)]
pub struct TopicInRedis {
    pub(super) name: String,
    pub(super) id: TopicId,
    pub(super) redis: RedisId,
    pub(super) served: Arc<ServedTopic>,
    pub(super) registry: Arc<InRedis>,
}

impl TopicInRedis {
    /// Settles deliveries. What is settled twice is stale the second time, so the id of a request is not needed.
    pub(in crate::queues) async fn settle(
        &self,
        items: Vec<SettleItem>,
        asker: &Asker,
    ) -> Vec<ItemResult<SettleOutcome>> {
        let results = self.served.settle(items, asker.deadline.into()).await;
        let index = self.applied();
        results.into_iter().map(|result| self.item(result, index, SettleOutcome::Refused)).collect()
    }

    /// Waits for messages, and takes them. `None`: there are none.
    pub(in crate::queues) async fn receive(
        &self,
        wanted: Wanted,
        number: u64,
    ) -> Result<Option<Delivered>, QueueError> {
        let receiver = Receiver {
            id: ReceiverId { boot: self.registry.boot(), number },
            consumer: wanted.consumer,
            max: wanted.max,
            max_bytes: wanted.max_bytes,
            visibility_ms: wanted.visibility_ms,
        };
        let wait_until = tokio::time::Instant::now() + wanted.wait;
        let times = Times { wait_until, deadline: wait_until + wanted.step };
        let mut stopping = self.registry.stopping.subscribe();
        tokio::select! {
            received = self.served.receive(wanted.sub_queue, receiver, times) => Ok(received?),
            _ = stopping.wait_for(|stopping| *stopping) => {
                Err(NotDone::from(SubmitError::Stopping).into())
            }
        }
    }

    /// Does what is neither a push nor a receive nor a settle.
    pub(in crate::queues) async fn apply(
        &self,
        operation: &QueueOperation,
        deadline: Instant,
    ) -> Result<QueueOutcome, QueueError> {
        let done = self.served.apply(operation, deadline.into()).await;
        let QueueOperation::DeleteTopic(delete) = operation else { return Ok(done?) };
        match done {
            Ok(QueueOutcome::Deleted) | Err(StoreError::Redis(RedisProblem::TopicClosed)) => {
                match self.registry.finish_closing(&delete.principal, self, deadline).await? {
                    true => Ok(QueueOutcome::Deleted),
                    false => Err(QueueRefusal::NoTopic.into()),
                }
            }
            other => Ok(other?),
        }
    }

    /// The topic, and Redis' clock then.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn view(&self, deadline: Instant) -> Result<(TopicView, ClusterTime), QueueError> {
        Ok(self.served.view(self.id, deadline.into()).await?)
    }

    /// One message, and Redis' clock then.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn message(
        &self,
        id: MessageId,
        deadline: Instant,
    ) -> Result<(Option<MessageView>, ClusterTime), QueueError> {
        Ok(self.served.message(id, deadline.into()).await?)
    }

    /// What a receive would deliver next, and Redis' clock then.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn peek(
        &self,
        sub_queue: SubQueue,
        max: usize,
        deadline: Instant,
    ) -> Result<(Vec<MessageView>, ClusterTime), QueueError> {
        Ok(self.served.peek(sub_queue, max as u64, deadline.into()).await?)
    }

    /// Messages in the order of their pushes, and Redis' clock then.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn list(
        &self,
        which: (SubQueue, Option<StateKind>),
        after: Option<MessageId>,
        max: usize,
        deadline: Instant,
    ) -> Result<(Page, ClusterTime), QueueError> {
        Ok(self.served.list(which, after, max as u64, deadline.into()).await?)
    }

    /// The log entry that answers from Redis are as new as, at least.
    pub(super) fn applied(&self) -> Index {
        self.registry.shared.machine.load().applied()
    }

    /// What became of an item, as of the log.
    pub(super) fn item<T, O>(
        &self,
        result: Result<T, StoreError>,
        index: Index,
        refused: impl FnOnce(QueueRefusal) -> O,
    ) -> ItemResult<O>
    where
        O: From<T>,
    {
        match result {
            Ok(done) => Ok((index, done.into())),
            Err(StoreError::Refused(refusal)) => Ok((index, refused(refusal))),
            Err(StoreError::Redis(problem)) => Err(problem.into()),
        }
    }
}
