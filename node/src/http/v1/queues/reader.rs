//! What is read of one topic, wherever its messages are.

use std::time::Instant;

use axum::response::Response;
use dsync_core::queue::{
    MessageId, MessageView, Page, Recount, StateKind, Store, SubQueue, TopicView,
};
use dsync_core::types::{ClusterTime, Index};

use super::asking::no_topic;
use crate::http::params::Params;
use crate::http::problem::Fault;
use crate::http::v1::read::Snapshot;
use crate::http::{Site, locks_view};
use crate::queues::TopicInRedis;

/// A topic that can be read.
pub(super) struct Reader {
    topic: String,
    snapshot: Snapshot,
    /// `None`: it is in the log.
    in_redis: Option<TopicInRedis>,
    deadline: Instant,
}

/// Where an answer was read, and when.
pub(super) struct Position {
    /// Last log entry that it contains.
    pub(super) index: Index,
    /// Cluster time, or Redis' clock.
    pub(super) now: ClusterTime,
}

impl Reader {
    /// Finds the topic in the state that the `consistency` parameter asks for.
    pub(super) async fn open(site: &Site, params: &Params, topic: &str) -> Result<Self, Fault> {
        let snapshot = Snapshot::take(site, params).await?;
        let deadline = Instant::now() + site.limits.deadline;
        let in_redis = site.node.queues().topic_in_redis(topic, deadline).await?;
        if in_redis.is_none() && snapshot.state.machine.queues().topic(topic).is_none() {
            return Err(no_topic(topic));
        }
        Ok(Self { topic: topic.to_owned(), snapshot, in_redis, deadline })
    }

    /// Where it is.
    pub(super) fn store(&self) -> Store {
        if self.in_redis.is_some() { Store::Redis } else { Store::Raft }
    }

    /// The topic's settings, counts and counters.
    pub(super) async fn view(&self) -> Result<(TopicView, Position), Fault> {
        if let Some(topic) = &self.in_redis {
            let (view, now) = topic.view(self.deadline).await?;
            return Ok((view, self.in_redis_at(now)));
        }
        let view = self.snapshot.state.machine.queues().topic(&self.topic);
        Ok((view.ok_or_else(|| no_topic(&self.topic))?, self.in_log()))
    }

    /// One message.
    pub(super) async fn message(
        &self,
        id: MessageId,
    ) -> Result<(Option<MessageView>, Position), Fault> {
        if let Some(topic) = &self.in_redis {
            let (found, now) = topic.message(id, self.deadline).await?;
            return Ok((found, self.in_redis_at(now)));
        }
        Ok((self.snapshot.state.machine.queues().message(&self.topic, id), self.in_log()))
    }

    /// What a receive would deliver next.
    pub(super) async fn peek(
        &self,
        sub_queue: SubQueue,
        max: usize,
    ) -> Result<(Vec<MessageView>, Position), Fault> {
        if let Some(topic) = &self.in_redis {
            let (next, now) = topic.peek(sub_queue, max, self.deadline).await?;
            return Ok((next, self.in_redis_at(now)));
        }
        let queues = self.snapshot.state.machine.queues();
        Ok((queues.peek(&self.topic, sub_queue).take(max).collect(), self.in_log()))
    }

    /// Messages in the order of their pushes.
    pub(super) async fn list(
        &self,
        sub_queue: SubQueue,
        state: Option<StateKind>,
        after: Option<MessageId>,
        max: usize,
    ) -> Result<(Page, Position), Fault> {
        if let Some(topic) = &self.in_redis {
            let (page, now) = topic.list((sub_queue, state), after, max, self.deadline).await?;
            return Ok((page, self.in_redis_at(now)));
        }
        let queues = self.snapshot.state.machine.queues();
        Ok((queues.list(&self.topic, sub_queue, state, after, max), self.in_log()))
    }

    /// Every message counted one by one, in a thread of its own; in Redis, as each script has counted it.
    pub(super) async fn recount(&self) -> Result<(Recount, Position), Fault> {
        if self.in_redis.is_some() {
            let (TopicView { totals, main, dead, .. }, position) = self.view().await?;
            return Ok((Recount { totals, main, dead }, position));
        }
        let (machine, name) = (self.snapshot.state.machine.clone(), self.topic.clone());
        let counting = tokio::task::spawn_blocking(move || machine.queues().recount(&name)).await;
        let counted = counting.map_err(|_| Fault::internal())?;
        Ok((counted.ok_or_else(|| no_topic(&self.topic))?, self.in_log()))
    }

    /// Says in the answer's headers how stale it may be. What Redis says is never stale.
    pub(super) fn mark(&self, answer: Response) -> Response {
        if self.in_redis.is_some() { answer } else { self.snapshot.mark(answer) }
    }

    fn in_log(&self) -> Position {
        let (index, now) = locks_view::position(&self.snapshot.state);
        Position { index, now }
    }

    fn in_redis_at(&self, now: ClusterTime) -> Position {
        Position { index: self.snapshot.state.machine.applied(), now }
    }
}
