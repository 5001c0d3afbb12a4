//! What can be read of a topic in Redis. Reading changes nothing but what has ended, and is never old.

use dsync_core::queue::{
    MessageId, MessageView, Page, Rules, StateKind, SubQueue, TopicId, TopicView,
};
use dsync_core::types::ClusterTime;
use tokio::time::Instant;

use super::ServedTopic;
use crate::problem::RedisProblem;
use crate::store::Terms;

impl ServedTopic {
    /// The topic, and Redis' clock then.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn view(
        &self,
        id: TopicId,
        deadline: Instant,
    ) -> Result<(TopicView, ClusterTime), RedisProblem> {
        let (shared, rules) = (&self.shared, self.shared.rules());
        let terms = terms(&rules, deadline);
        let (view, status) = shared.store.topic(&shared.topic, &shared.name, id, terms).await?;
        Ok((view, status.now))
    }

    /// One message.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn message(
        &self,
        id: MessageId,
        deadline: Instant,
    ) -> Result<(Option<MessageView>, ClusterTime), RedisProblem> {
        let (shared, rules) = (&self.shared, self.shared.rules());
        shared.store.message(&shared.topic, id, terms(&rules, deadline)).await
    }

    /// What a receive would deliver next, in that order; of each group its first message.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn peek(
        &self,
        sub_queue: SubQueue,
        max: u64,
        deadline: Instant,
    ) -> Result<(Vec<MessageView>, ClusterTime), RedisProblem> {
        let (shared, rules) = (&self.shared, self.shared.rules());
        shared.store.peek(&shared.topic, sub_queue, max, terms(&rules, deadline)).await
    }

    /// Messages of a part in the order of their pushes, those in one state if it is named: at most `max` that
    /// come after `after`.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn list(
        &self,
        which: (SubQueue, Option<StateKind>),
        after: Option<MessageId>,
        max: u64,
        deadline: Instant,
    ) -> Result<(Page, ClusterTime), RedisProblem> {
        let (shared, rules) = (&self.shared, self.shared.rules());
        shared.store.list(&shared.topic, which, after, max, terms(&rules, deadline)).await
    }
}

fn terms(rules: &Rules, deadline: Instant) -> Terms<'_> {
    Terms { rules, batch: None, deadline }
}
