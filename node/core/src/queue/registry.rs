//! Which topics are in Redis: what the log says of them.
//!
//! # Problem
//!
//! A topic is in the log or in Redis, and every node has to agree which, for as long as the topic lives; else a
//! message that was pushed to one is looked for in the other. And a Redis that was exchanged for an empty one
//! must not be taken for a cluster whose queues are empty.
//!
//! # Idea
//!
//! The log holds the names of the topics that are in Redis, each with its creation and the Redis it was put in.
//! The marker of a topic in Redis is made of both, and every script compares it. So what Redis has lost, the log
//! still knows of.
//!
//! *Making* takes two entries, since neither store can write in the other's transaction. The first one says that
//! the topic is being made ([`Making::Begun`]): from now on the name is taken. Then its marker is written to
//! Redis, once or several times, by whoever needs the topic. The second one says that this was done
//! ([`Making::Done`]): from now on nobody writes a marker any more, and one that is missing is a loss.
//!
//! *Deleting*: the script that proves a topic empty closes its marker, and so every other script stops. Then the
//! log forgets the name. Whoever dies in between leaves a closed marker that says so to the next one.
//!
//! *Adopting* another Redis takes a person, who knows what has become of the first. Every topic is then being
//! made anew; where the marker of before still stands (a backup was restored), its messages stay.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use super::checks;
use super::event::QueueWhat;
use super::outcome::QueueRefusal;
use super::push::room;
use super::request::{SubQueue, TopicId};
use super::settings::{TopicChange, TopicSettings};
use super::table::{QueueTable, note};
use super::turn::Turn;
use crate::types::RedisId;

/// Where a topic's messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// In the Raft log, and in every node's memory.
    Raft,
    /// In Redis.
    Redis,
}

/// How far a topic is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Making {
    /// Its marker may be missing in Redis, and may be written. `before`: the Redis whose marker may stand
    /// there instead, and is replaced.
    Begun {
        /// The Redis before the one that was adopted.
        before: Option<RedisId>,
    },
    /// Its marker was written: one that is missing now is a loss.
    Done,
}

/// A topic that is in Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RedisTopic {
    /// Its creation.
    pub id: TopicId,
    /// The Redis that it was put in.
    pub redis: RedisId,
    /// How far it is made.
    pub making: Making,
    /// What it was made with; what was changed later only Redis knows.
    pub settings: TopicSettings,
}

/// What the log says of topics in Redis.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry {
    pub(super) facts: RegistryFacts,
    pub(super) topics: RedBlackTreeMapSync<Arc<str>, RedisTopic>,
}

/// What is there once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryFacts {
    /// Where new topics are made; `None`: nobody has said so, and no topic is in Redis.
    pub default_store: Option<Store>,
    /// The Redis that the cluster has taken for its queues.
    pub redis: Option<RedisId>,
}

/// What is done to the registry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryOperation {
    /// Begins to make a topic in Redis; if it is there, says so.
    Create(Box<CreateInRedis>),
    /// The topic's marker was written to Redis.
    Created {
        /// The topic.
        topic: String,
        /// Its creation.
        id: TopicId,
        /// In which Redis.
        redis: RedisId,
    },
    /// The topic's marker in Redis was closed, by the script that found it empty.
    Closed {
        /// Who asks.
        principal: String,
        /// The topic.
        topic: String,
        /// Its creation.
        id: TopicId,
    },
    /// Takes another Redis for the queues: every topic is made in it.
    Adopt {
        /// Who asks.
        principal: String,
        /// The one that is replaced: who names another one does not know how things stand.
        before: RedisId,
        /// Random, drawn by whoever asks.
        redis: RedisId,
    },
    /// Where new topics are made from now on.
    SetDefaultStore {
        /// Who asks.
        principal: String,
        /// There.
        store: Store,
    },
}

/// See [`RegistryOperation::Create`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CreateInRedis {
    /// Who asks.
    pub principal: String,
    /// The topic.
    pub topic: String,
    /// What is to be other than the default.
    pub change: TopicChange,
    /// Random, drawn by whoever asks: the name of the Redis, if it has none yet.
    pub redis: RedisId,
}

/// What became of a [`RegistryOperation`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RegistryOutcome {
    /// The topic is in Redis, and this is what the log says of it.
    InRedis {
        /// The topic.
        topic: Box<RedisTopic>,
        /// It was made by this entry.
        created: bool,
    },
    /// The topic is gone.
    Deleted,
    /// What the log says of Redis.
    Facts(RegistryFacts),
    /// Not taken; nothing changed.
    Refused(QueueRefusal),
}

impl QueueTable {
    /// Does what is asked of the registry.
    pub fn register(&mut self, turn: &mut Turn, operation: &RegistryOperation) -> RegistryOutcome {
        self.act_on_registry(turn, operation).unwrap_or_else(RegistryOutcome::Refused)
    }

    fn act_on_registry(
        &mut self,
        turn: &mut Turn,
        operation: &RegistryOperation,
    ) -> Result<RegistryOutcome, QueueRefusal> {
        match operation {
            RegistryOperation::Create(create) => self.create_in_redis(turn, create),
            RegistryOperation::Created { topic, id, redis } => self.created(topic, *id, *redis),
            RegistryOperation::Closed { principal, topic, id } => {
                self.closed(turn, principal, topic, *id)
            }
            RegistryOperation::Adopt { principal, before, redis } => {
                self.adopt(turn, principal, *before, *redis)
            }
            RegistryOperation::SetDefaultStore { principal, store } => {
                checks::check_name("principal", principal, &turn.rules)?;
                if self.registry.facts.default_store != Some(*store) {
                    self.registry.facts.default_store = Some(*store);
                    note(turn, QueueWhat::DefaultStoreChanged, principal, "", 0);
                }
                Ok(RegistryOutcome::Facts(self.registry.facts))
            }
        }
    }

    fn create_in_redis(
        &mut self,
        turn: &mut Turn,
        asked: &CreateInRedis,
    ) -> Result<RegistryOutcome, QueueRefusal> {
        checks::check_name("topic", &asked.topic, &turn.rules)?;
        checks::check_name("principal", &asked.principal, &turn.rules)?;
        asked.change.check(&turn.rules)?;
        if let Some(there) = self.registry.topics.get(asked.topic.as_str()) {
            return Ok(RegistryOutcome::InRedis { topic: Box::new(*there), created: false });
        }
        let facts = self.registry.facts;
        if self.topics.contains_key(asked.topic.as_str())
            || facts.default_store == Some(Store::Raft)
        {
            return Err(QueueRefusal::OtherStore(Store::Raft));
        }
        self.room_for_topic(turn)?;
        let redis = facts.redis.unwrap_or(asked.redis);
        self.registry.facts =
            RegistryFacts { default_store: Some(Store::Redis), redis: Some(redis) };
        let settings = turn.rules.new_topic.with(&asked.change);
        let (id, making) = (turn.next_topic(), Making::Begun { before: None });
        let topic = RedisTopic { id, redis, making, settings };
        let name: Arc<str> = Arc::from(asked.topic.as_str());
        self.registry.topics.insert_mut(name.clone(), topic);
        // Whoever waits in the log for a topic of this name waits at the wrong place.
        turn.wake(&name, SubQueue::Main);
        turn.wake(&name, SubQueue::Dead);
        note(turn, QueueWhat::TopicCreated, &asked.principal, &asked.topic, 0);
        Ok(RegistryOutcome::InRedis { topic: Box::new(topic), created: true })
    }

    /// What was done for another life of the name, or for a Redis that is not the cluster's any more, says
    /// nothing.
    fn created(
        &mut self,
        name: &str,
        id: TopicId,
        redis: RedisId,
    ) -> Result<RegistryOutcome, QueueRefusal> {
        let topic = self.registry.topics.get_mut(name).ok_or(QueueRefusal::NoTopic)?;
        if topic.id == id && topic.redis == redis {
            topic.making = Making::Done;
        }
        Ok(RegistryOutcome::InRedis { topic: Box::new(*topic), created: false })
    }

    fn closed(
        &mut self,
        turn: &mut Turn,
        principal: &str,
        name: &str,
        id: TopicId,
    ) -> Result<RegistryOutcome, QueueRefusal> {
        let topic = self.registry.topics.get(name).filter(|topic| topic.id == id);
        topic.ok_or(QueueRefusal::NoTopic)?;
        self.registry.topics.remove_mut(name);
        note(turn, QueueWhat::TopicDeleted, principal, name, 0);
        Ok(RegistryOutcome::Deleted)
    }

    fn adopt(
        &mut self,
        turn: &mut Turn,
        principal: &str,
        before: RedisId,
        redis: RedisId,
    ) -> Result<RegistryOutcome, QueueRefusal> {
        checks::check_name("principal", principal, &turn.rules)?;
        if self.registry.facts.redis == Some(redis) {
            return Ok(RegistryOutcome::Facts(self.registry.facts));
        }
        if self.registry.facts.redis != Some(before) {
            return Err(QueueRefusal::OtherRedis);
        }
        self.registry.facts.redis = Some(redis);
        let names: Vec<Arc<str>> = self.registry.topics.keys().cloned().collect();
        for name in names {
            if let Some(topic) = self.registry.topics.get_mut(&name) {
                // Of two that were adopted one after the other, only the first can hold messages of this topic.
                let before = match topic.making {
                    Making::Begun { before } => before,
                    Making::Done => Some(topic.redis),
                };
                (topic.redis, topic.making) = (redis, Making::Begun { before });
            }
        }
        note(turn, QueueWhat::RedisAdopted, principal, "", 0);
        Ok(RegistryOutcome::Facts(self.registry.facts))
    }

    /// Of all topics, wherever they are.
    pub(super) fn room_for_topic(&self, turn: &Turn) -> Result<(), QueueRefusal> {
        let topics = self.topics.size() + self.registry.topics.size();
        room("topics_max", turn.rules.topics_max.into(), topics as u64, 1)
    }

    /// A topic that is not in the log may be made there.
    pub(super) fn check_store(&self, name: &str) -> Result<(), QueueRefusal> {
        let elsewhere = self.registry.topics.contains_key(name)
            || self.registry.facts.default_store == Some(Store::Redis);
        if elsewhere { Err(QueueRefusal::OtherStore(Store::Redis)) } else { Ok(()) }
    }
}

impl Registry {
    pub(super) fn after<'r, 'p>(
        &'r self,
        prefix: &'p str,
        after: &str,
    ) -> impl Iterator<Item = (&'r str, RedisTopic)> + use<'r, 'p> {
        let from = match after {
            "" => Included(Arc::<str>::from(prefix)),
            after => Excluded(Arc::<str>::from(after)),
        };
        let topics = self.topics.range((from, Unbounded));
        let topics = topics.map(|(name, topic)| (&**name, *topic));
        topics.take_while(move |(name, _)| name.starts_with(prefix))
    }
}

#[cfg(test)]
#[path = "registry_test.rs"]
mod tests;
