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
mod in_redis;
mod merge;
mod receive;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use dsync_core::machine::{Machine, Operation, Outcome, RequestId};
use dsync_core::queue::{
    Configure, GiveBack, PushItem, PushOutcome, QueueOperation, QueueOutcome, QueueRefusal,
    Receipt, Received, RegistryFacts, RegistryOperation, RegistryOutcome, SettleItem,
    SettleOutcome, Store, SubQueue, TopicChange,
};
use dsync_core::types::{BootId, Index, RedisId};
use dsync_redis_store::{RedisProblem, RedisStore, StoreError};

pub use delivered::Delivered;
pub use in_redis::TopicInRedis;
pub use receive::Wanted;

use crate::handle::{SubmitError, WeakDriver};
use in_redis::InRedis;
use merge::{Lanes, Part, PushLane, SettleLane};
use receive::Lines;

/// How long a give-back is tried. Longer than most deliveries live is of no use.
const GIVE_BACK_FOR: Duration = Duration::from_secs(30);

/// What came of an item: in which entry, or why there is no answer.
pub type ItemResult<O> = Result<(Index, O), NotDone>;

/// Why an item has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// Its command has no answer.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// Its command came too late to be applied.
    #[error("void")]
    Void,
    /// Its topic is in Redis, and Redis did not do it.
    #[error(transparent)]
    Redis(#[from] RedisProblem),
    /// Its topic is in Redis, or would be made there, and this node was started without one.
    #[error("this node was started without a Redis")]
    NoRedis,
}

/// Why a request is not answered as it would like.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Nobody answers.
    #[error(transparent)]
    NotDone(#[from] NotDone),
    /// What is asked for is not given.
    #[error(transparent)]
    Refused(#[from] QueueRefusal),
}

/// What an acknowledged push survives; the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Redis: the end of the node that took it.
    Memory,
    /// Redis: the loss of its machine's power.
    Fsync,
    /// The log: the loss of any minority of the nodes.
    Quorum,
}

/// What came of a push.
#[derive(Debug)]
pub struct PushReply {
    /// For each item, in their order.
    pub results: Vec<ItemResult<PushOutcome>>,
    /// What those that were taken survive.
    pub durability: Durability,
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
    shared: Arc<Shared>,
    pushes: Arc<Lanes<PushLane>>,
    settles: Arc<Lanes<SettleLane>>,
    lines: Arc<Lines>,
    in_redis: Arc<InRedis>,
}

/// What all parts need.
#[derive(Clone, Debug)]
struct Shared {
    boot: BootId,
    machine: Arc<ArcSwap<Machine>>,
    driver: WeakDriver,
}

impl Queues {
    /// Nobody asks for anything yet. `redis`: where topics may be that are not in the log.
    pub(crate) fn new(
        boot: BootId,
        machine: Arc<ArcSwap<Machine>>,
        driver: WeakDriver,
        redis: Option<Arc<RedisStore>>,
    ) -> Self {
        let shared = Arc::new(Shared { boot, machine, driver });
        Self {
            pushes: Arc::new(Lanes::new(shared.clone())),
            settles: Arc::new(Lanes::new(shared.clone())),
            lines: Arc::new(Lines::new(shared.clone())),
            in_redis: Arc::new(InRedis::new(shared.clone(), redis)),
            shared,
        }
    }

    /// Pushes to a topic, and makes it if it is not there. Goes on if this is dropped.
    pub async fn push(
        &self,
        topic: String,
        unlimited_deliveries: bool,
        items: Vec<PushItem>,
        asker: Asker,
    ) -> PushReply {
        let change = TopicChange {
            deliveries_max: unlimited_deliveries.then_some(0),
            ..TopicChange::default()
        };
        let first = self.push_once(&topic, change, items.clone(), &asker).await;
        match self.moved(&topic, &first, &asker).await {
            true => self.push_once(&topic, change, items, &asker).await,
            false => first,
        }
    }

    /// The topic was deleted, or is in the other store, which this node did not know: nothing was done, and it
    /// knows now.
    async fn moved(&self, topic: &str, reply: &PushReply, asker: &Asker) -> bool {
        match reply.results.first() {
            Some(Ok((_, PushOutcome::Refused(QueueRefusal::OtherStore(_))))) => true,
            Some(Err(NotDone::Redis(RedisProblem::TopicClosed))) => {
                let Ok(Some(place)) = self.topic_in_redis(topic, asker.deadline).await else {
                    return true;
                };
                let principal = &asker.principal;
                self.in_redis.finish_closing(principal, &place, asker.deadline).await.is_ok()
            }
            _ => false,
        }
    }

    async fn push_once(
        &self,
        topic: &str,
        change: TopicChange,
        items: Vec<PushItem>,
        asker: &Asker,
    ) -> PushReply {
        let count = items.len();
        let results = match self.place_to_push(topic, change, asker).await {
            Ok(Some(place)) => return place.push(items, asker).await,
            Ok(None) => {
                let lane = PushLane {
                    principal: asker.principal.clone(),
                    topic: topic.to_owned(),
                    unlimited_deliveries: change.deliveries_max == Some(0),
                };
                Part::send(&self.pushes, lane, items, asker.clone()).await
            }
            Err(QueueError::NotDone(error)) => vec![Err(error); count],
            Err(QueueError::Refused(refusal)) => {
                let index = self.shared.machine.load().applied();
                vec![Ok((index, PushOutcome::Refused(refusal))); count]
            }
        };
        PushReply { results, durability: Durability::Quorum }
    }

    /// Settles deliveries of a topic; a result for each, in their order. Goes on if this is dropped.
    pub async fn settle(
        &self,
        topic: String,
        items: Vec<SettleItem>,
        asker: Asker,
    ) -> Vec<ItemResult<SettleOutcome>> {
        match self.in_redis.find(&topic, asker.deadline).await {
            Ok(Some(place)) => place.settle(items, &asker).await,
            Ok(None) => Part::send(&self.settles, SettleLane { topic }, items, asker).await,
            Err(QueueError::NotDone(error)) => vec![Err(error); items.len()],
            Err(QueueError::Refused(refusal)) => {
                let index = self.shared.machine.load().applied();
                vec![Ok((index, SettleOutcome::Refused(refusal))); items.len()]
            }
        }
    }

    /// Waits for messages, and takes them. `None`: the wait is over. Dropped, it has received nothing.
    ///
    /// # Errors
    /// If nobody answers, or what is asked for is refused.
    pub async fn receive(&self, wanted: Wanted) -> Result<Option<Delivered>, QueueError> {
        let until = Instant::now() + wanted.wait;
        match self.receive_once(wanted.clone()).await {
            // It waited in the log for a topic that was made in Redis meanwhile.
            Err(QueueError::Refused(QueueRefusal::OtherStore(Store::Redis))) => {
                let wait = until.saturating_duration_since(Instant::now());
                self.receive_once(Wanted { wait, ..wanted }).await
            }
            answer => answer,
        }
    }

    async fn receive_once(&self, wanted: Wanted) -> Result<Option<Delivered>, QueueError> {
        match self.topic_in_redis(&wanted.topic, Instant::now() + wanted.step).await? {
            None => self.lines.receive(wanted).await,
            Some(place) => {
                let delivered = place.receive(wanted, self.lines.next_number()).await?;
                let index = self.shared.machine.load().applied();
                Ok(delivered.map(|delivered| Delivered::from_redis(delivered, index)))
            }
        }
    }

    /// Does what is neither a push nor a receive nor a settle. The entry that did it; of a topic in Redis, the
    /// newest that this node has applied.
    ///
    /// # Errors
    /// If nobody answers, or it is refused.
    pub async fn apply(
        &self,
        topic: &str,
        operation: QueueOperation,
        deadline: Instant,
    ) -> Result<(Index, QueueOutcome), QueueError> {
        let (place, created) = match &operation {
            QueueOperation::Configure(Configure { principal, change, .. }) => {
                self.place_to_make(principal, topic, *change, deadline).await?
            }
            _ => (self.topic_in_redis(topic, deadline).await?, false),
        };
        let Some(place) = place else { return self.apply_to_log(operation, deadline).await };
        let outcome = match place.apply(&operation, deadline).await? {
            QueueOutcome::Configured { settings, .. } => {
                QueueOutcome::Configured { created, settings }
            }
            QueueOutcome::Refused(refusal) => return Err(refusal.into()),
            outcome => outcome,
        };
        Ok((self.shared.machine.load().applied(), outcome))
    }

    /// The topic, if it is in Redis.
    ///
    /// # Errors
    /// If this node has no Redis, or the topic is still to be made there and that fails.
    pub async fn topic_in_redis(
        &self,
        topic: &str,
        deadline: Instant,
    ) -> Result<Option<TopicInRedis>, QueueError> {
        self.in_redis.find(topic, deadline).await
    }

    /// Takes the Redis that the nodes are connected to now for the cluster's, whatever is in it. `before`: the
    /// one that is replaced.
    ///
    /// # Errors
    /// If nobody answers, or the cluster's is another one.
    pub async fn adopt_redis(
        &self,
        principal: &str,
        before: RedisId,
        deadline: Instant,
    ) -> Result<(Index, RegistryFacts), QueueError> {
        let (principal, redis) = (principal.to_owned(), in_redis::new_id()?);
        self.registry(RegistryOperation::Adopt { principal, before, redis }, deadline).await
    }

    /// Says where new topics are made.
    ///
    /// # Errors
    /// If nobody answers.
    pub async fn set_default_store(
        &self,
        principal: &str,
        store: Store,
        deadline: Instant,
    ) -> Result<(Index, RegistryFacts), QueueError> {
        let principal = principal.to_owned();
        self.registry(RegistryOperation::SetDefaultStore { principal, store }, deadline).await
    }

    /// This node was started with a Redis.
    #[must_use]
    pub fn has_redis(&self) -> bool {
        self.in_redis.is_configured()
    }

    /// How often each problem with Redis was met, by its code.
    #[must_use]
    pub fn redis_problems(&self) -> std::collections::BTreeMap<&'static str, u64> {
        self.in_redis.problems()
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
        self.lines.waiting() + self.in_redis.waiting()
    }

    /// The node stops: who waits for messages goes elsewhere.
    pub fn stop(&self) {
        self.lines.stop();
        self.in_redis.stop();
    }

    async fn place_to_push(
        &self,
        topic: &str,
        change: TopicChange,
        asker: &Asker,
    ) -> Result<Option<TopicInRedis>, QueueError> {
        Ok(self.place_to_make(&asker.principal, topic, change, asker.deadline).await?.0)
    }

    /// Where a topic is, made if it is nowhere and would be in Redis; and whether it was. `None`: the log, which
    /// makes it if need be.
    async fn place_to_make(
        &self,
        principal: &str,
        topic: &str,
        change: TopicChange,
        deadline: Instant,
    ) -> Result<(Option<TopicInRedis>, bool), QueueError> {
        if let Some(found) = self.topic_in_redis(topic, deadline).await? {
            return Ok((Some(found), false));
        }
        let machine = self.shared.machine.load_full();
        let (queues, configured) = (machine.queues(), self.in_redis.is_configured());
        let wanted = match queues.registry().default_store {
            Some(store) => store == Store::Redis,
            None => configured,
        };
        if !wanted || queues.topic(topic).is_some() {
            return Ok((None, false));
        }
        if !configured {
            return Err(NotDone::NoRedis.into());
        }
        match self.in_redis.create(principal, topic, change, deadline).await {
            Ok((made, created)) => Ok((Some(made), created)),
            // Others were faster, or the default has changed.
            Err(QueueError::Refused(QueueRefusal::OtherStore(Store::Raft))) => Ok((None, false)),
            Err(error) => Err(error),
        }
    }

    async fn apply_to_log(
        &self,
        operation: QueueOperation,
        deadline: Instant,
    ) -> Result<(Index, QueueOutcome), QueueError> {
        let submitted = self.shared.driver.submit(Operation::queue(operation), deadline).await;
        let applied = submitted.map_err(NotDone::from)?;
        match applied.outcome {
            Outcome::Queue(QueueOutcome::Refused(refusal)) => Err(refusal.into()),
            Outcome::Queue(outcome) => Ok((applied.index, outcome)),
            Outcome::Void => Err(NotDone::Void.into()),
            other => {
                tracing::error!(?other, "an operation of queues was answered by something else");
                Err(NotDone::from(SubmitError::Unknown).into())
            }
        }
    }

    async fn registry(
        &self,
        operation: RegistryOperation,
        deadline: Instant,
    ) -> Result<(Index, RegistryFacts), QueueError> {
        match self.in_redis.submit(operation, deadline).await? {
            RegistryOutcome::Facts(facts) => Ok((self.shared.machine.load().applied(), facts)),
            RegistryOutcome::Refused(refusal) => Err(refusal.into()),
            other => {
                tracing::error!(
                    ?other,
                    "an operation on the registry was answered by something else"
                );
                Err(NotDone::from(SubmitError::Unknown).into())
            }
        }
    }
}

impl From<StoreError> for QueueError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal),
            StoreError::Redis(problem) => problem.into(),
        }
    }
}

impl From<RedisProblem> for QueueError {
    fn from(problem: RedisProblem) -> Self {
        Self::NotDone(problem.into())
    }
}

impl From<dsync_redis_store::Durability> for Durability {
    fn from(durability: dsync_redis_store::Durability) -> Self {
        match durability {
            dsync_redis_store::Durability::Fsync => Self::Fsync,
            dsync_redis_store::Durability::Memory => Self::Memory,
        }
    }
}

impl Durability {
    /// As answers show it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Fsync => "fsync",
            Self::Quorum => "quorum",
        }
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
