//! The topics that are in Redis, as this node's clients use them.
//!
//! # Who knows what
//!
//! The log knows which topics are in Redis ([`dsync_core::queue::RegistryOperation`] has the protocol), Redis
//! holds the messages, and any node serves any topic: every change is one script. So a request needs the log
//! only to make a topic or to take it away, and goes on while the cluster has no leader.
//!
//! # A topic that has just been made, deleted, or made again
//!
//! This node's state may lag. A topic that it does not know, it looks for after a read barrier (who receives) or
//! tries to make (who pushes); one that Redis says is another ([`RedisProblem::TopicMoved`]) is an error that
//! passes. One that was closed, by a node that died before it told the log, is taken out of the log by the next
//! one that meets it ([`InRedis::finish_closing`]).

mod push;
mod topic;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use dsync_core::machine::{Operation, Outcome};
use dsync_core::queue::{
    CreateInRedis, Making, QueueRefusal, RedisTopic, RegistryOperation, RegistryOutcome,
    TopicChange, TopicId,
};
use dsync_core::types::{BootId, RedisId};
use dsync_redis_store::{Marker, RedisProblem, RedisStore, RedisTopic as Keys, ServedTopic};
use tokio::sync::watch;

use super::{NotDone, QueueError, Shared};
use crate::handle::SubmitError;
pub use topic::TopicInRedis;

/// See the module.
#[derive(Debug)]
pub(super) struct InRedis {
    shared: Arc<Shared>,
    /// `None`: this node was started without a Redis.
    store: Option<Arc<RedisStore>>,
    /// Each as it was made in a Redis. Those of before stay until the process ends: they are few.
    served: Mutex<BTreeMap<(TopicId, RedisId), Arc<ServedTopic>>>,
    stopping: watch::Sender<bool>,
}

impl InRedis {
    pub(super) fn new(shared: Arc<Shared>, store: Option<Arc<RedisStore>>) -> Self {
        let (served, stopping) = (Mutex::default(), watch::Sender::new(false));
        Self { shared, store, served, stopping }
    }

    /// Whether this node can reach one at all.
    pub(super) fn is_configured(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn problems(&self) -> BTreeMap<&'static str, u64> {
        self.store.as_ref().map_or_else(BTreeMap::new, |store| store.problems())
    }

    pub(super) fn waiting(&self) -> usize {
        self.served().values().map(|topic| topic.waiting()).sum()
    }

    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// The topic, if this node's state says that it is in Redis; it is made there if that is not done.
    pub(super) async fn find(
        self: &Arc<Self>,
        name: &str,
        deadline: Instant,
    ) -> Result<Option<TopicInRedis>, QueueError> {
        let found = self.shared.machine.load().queues().redis_topic(name);
        match found {
            Some(topic) => self.made(name, topic, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    /// Makes a topic, or finds it.
    pub(super) async fn create(
        self: &Arc<Self>,
        principal: &str,
        name: &str,
        change: TopicChange,
        deadline: Instant,
    ) -> Result<(TopicInRedis, bool), QueueError> {
        let (principal, topic) = (principal.to_owned(), name.to_owned());
        let redis = new_id()?;
        let create = CreateInRedis { principal, topic, change, redis };
        let create = RegistryOperation::Create(Box::new(create));
        match self.submit(create, deadline).await? {
            RegistryOutcome::InRedis { topic, created } => {
                Ok((self.made(name, *topic, deadline).await?, created))
            }
            RegistryOutcome::Refused(refusal) => Err(refusal.into()),
            other => Err(unexpected(&other)),
        }
    }

    /// Writes the topic's marker, if the log does not know that it was written.
    async fn made(
        self: &Arc<Self>,
        name: &str,
        topic: RedisTopic,
        deadline: Instant,
    ) -> Result<TopicInRedis, QueueError> {
        let store = self.store()?;
        let marker = self.marker(topic.id, topic.redis)?;
        if let Making::Begun { before } = topic.making {
            let before = before.map(|redis| Marker { redis, ..marker });
            let (keys, until) = (Keys::new(&marker, name), deadline.into());
            store.create(&keys, &topic.settings, before.as_ref(), until).await?;
            self.tell_created(name, topic, deadline).await?;
        }
        let served = self.serve(name, &marker, store)?;
        let (name, registry) = (name.to_owned(), self.clone());
        Ok(TopicInRedis { name, id: topic.id, redis: topic.redis, served, registry })
    }

    async fn tell_created(
        &self,
        name: &str,
        topic: RedisTopic,
        deadline: Instant,
    ) -> Result<(), QueueError> {
        let RedisTopic { id, redis, .. } = topic;
        let created = RegistryOperation::Created { topic: name.to_owned(), id, redis };
        match self.submit(created, deadline).await? {
            RegistryOutcome::InRedis { topic: now, .. } if now.id == id && now.redis == redis => {
                Ok(())
            }
            RegistryOutcome::InRedis { .. } | RegistryOutcome::Refused(QueueRefusal::NoTopic) => {
                Err(RedisProblem::TopicMoved.into())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Takes a topic out of the log that was found empty and closed in Redis; then its keys out of Redis. False:
    /// it is out of the log already.
    pub(super) async fn finish_closing(
        &self,
        principal: &str,
        topic: &TopicInRedis,
        deadline: Instant,
    ) -> Result<bool, QueueError> {
        let (principal, name, id) = (principal.to_owned(), topic.name.clone(), topic.id);
        let closed = RegistryOperation::Closed { principal, topic: name.clone(), id };
        let was_there = match self.submit(closed, deadline).await? {
            RegistryOutcome::Deleted => true,
            RegistryOutcome::Refused(QueueRefusal::NoTopic) => false,
            other => return Err(unexpected(&other)),
        };
        let keys = Keys::new(&self.marker(topic.id, topic.redis)?, &name);
        if let Err(problem) = self.store()?.drop_closed(&keys, deadline.into()).await {
            // The next topic of the name takes them away.
            tracing::debug!(topic = name, %problem, "the keys of a deleted topic are left in Redis");
        }
        self.served().remove(&(topic.id, topic.redis));
        Ok(was_there)
    }

    /// Changes the registry. What is asked may be done twice with one effect.
    pub(super) async fn submit(
        &self,
        operation: RegistryOperation,
        deadline: Instant,
    ) -> Result<RegistryOutcome, QueueError> {
        let operation = Operation::QueueRegistry(operation);
        let applied =
            self.shared.driver.submit(operation, deadline).await.map_err(NotDone::from)?;
        match applied.outcome {
            Outcome::QueueRegistry(outcome) => Ok(outcome),
            Outcome::Void => Err(NotDone::Void.into()),
            other => Err(unexpected(&other)),
        }
    }

    fn serve(
        &self,
        name: &str,
        marker: &Marker,
        store: &Arc<RedisStore>,
    ) -> Result<Arc<ServedTopic>, NotDone> {
        let machine = self.shared.machine.load();
        let rules = machine.settings().map(|it| it.queues).ok_or(SubmitError::NotMember)?;
        let make = || {
            let (store, keys) = (store.clone(), Keys::new(marker, name));
            Arc::new(ServedTopic::new(store, keys, name, self.boot(), rules))
        };
        let mut served = self.served();
        Ok(served.entry((marker.topic, marker.redis)).or_insert_with(make).clone())
    }

    fn marker(&self, topic: TopicId, redis: RedisId) -> Result<Marker, NotDone> {
        let cluster = self.shared.machine.load().cluster_id().ok_or(SubmitError::NotMember)?;
        Ok(Marker { cluster, redis, topic })
    }

    fn store(&self) -> Result<&Arc<RedisStore>, NotDone> {
        self.store.as_ref().ok_or(NotDone::NoRedis)
    }

    fn boot(&self) -> BootId {
        self.shared.boot
    }

    fn served(&self) -> std::sync::MutexGuard<'_, BTreeMap<(TopicId, RedisId), Arc<ServedTopic>>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name for a Redis that has none.
pub(super) fn new_id() -> Result<RedisId, QueueError> {
    let mut bytes = [0; 16];
    let none = |error: getrandom::Error| RedisProblem::Other(format!("no random bits: {error}"));
    getrandom::fill(&mut bytes).map_err(none)?;
    Ok(RedisId(u128::from_le_bytes(bytes)))
}

/// An answer to another operation: a bug.
fn unexpected(outcome: &impl std::fmt::Debug) -> QueueError {
    tracing::error!(?outcome, "an operation on the registry was answered by something else");
    NotDone::from(SubmitError::Unknown).into()
}
