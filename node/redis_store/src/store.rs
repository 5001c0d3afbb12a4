//! What can be done with a topic in Redis.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use dsync_core::queue::{
    DeliveryView, MessageId, MessageView, Page, QueueOperation, Receipt, ReceiverId, Rules,
    StateKind, SubQueue, TopicId, TopicSettings, TopicView,
};
use dsync_core::types::ClusterTime;
use redis::Value;
use tokio::time::Instant;

use crate::answer::{self, Done, Status, Unreadable};
use crate::call::{self, Call};
use crate::connection::{Address, BadAddress, Connection};
use crate::problem::{RedisProblem, StoreError};
use crate::script::{Clock, Script};
use crate::server::Durability;
use crate::topic::{Batch, Marker, RedisTopic};

/// Between two tries of what Redis cannot do just now.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The queues in one Redis.
#[derive(Debug)]
pub struct RedisStore {
    connection: Connection,
    clock: Clock,
    /// How often each problem was met, by its code.
    problems: Mutex<BTreeMap<&'static str, u64>>,
}

/// How a call is made.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// The rules in force.
    pub rules: &'a Rules,
    /// Its name, by which it can be sent again. `None`: it is sent once.
    pub batch: Option<Batch>,
    /// Until when it is sent again.
    pub deadline: Instant,
}

impl RedisStore {
    /// The queues in the Redis at an address. Nothing is sent yet.
    ///
    /// # Errors
    /// If it is no address.
    pub fn new(address: &Address) -> Result<Self, BadAddress> {
        let connection = Connection::new(address)?;
        Ok(Self { connection, clock: Clock::Redis, problems: Mutex::default() })
    }

    /// Takes the time from somewhere else than Redis' clock. For tests.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = clock;
    }

    /// How often each problem was met since the start, by its code.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<&'static str, u64> {
        self.problems.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Makes a topic that the log says is being made. Once more, it changes nothing. `before`: the marker
    /// that may stand there instead, and is replaced: the cluster has adopted a Redis that was set back.
    ///
    /// # Errors
    /// If Redis does not do it.
    pub async fn create(
        &self,
        topic: &RedisTopic,
        settings: &TopicSettings,
        before: Option<&Marker>,
        deadline: Instant,
    ) -> Result<(), RedisProblem> {
        let mut args = vec![topic.marker.clone().into_bytes()];
        args.push(before.map_or_else(Vec::new, |it| it.text().into_bytes()));
        args.extend(call::settings_args(settings));
        self.run(Script::Create, topic, None, args, deadline, true).await.map(drop)
    }

    /// Does what is asked, as [`QueueTable::apply`](dsync_core::queue::QueueTable::apply) does, but for the
    /// making of topics. `random`: a number that nobody has ever used, for the receipts of a receive. A
    /// topic that was deleted is closed: [`RedisStore::drop_closed`] takes its keys away, when the log has
    /// deleted it, too.
    ///
    /// # Errors
    /// If it is refused before anybody looks at the topic, or Redis does not do it.
    pub async fn apply(
        &self,
        topic: &RedisTopic,
        operation: &QueueOperation,
        random: u64,
        terms: Terms<'_>,
    ) -> Result<Done, StoreError> {
        let call = Call::of(operation, terms.rules, random)?;
        let (status, reply) = self.call(topic, &call, terms).await?;
        let read = answer::outcome(operation, &call, terms.rules, reply);
        let (outcome, deliveries) = read.map_err(RedisProblem::from)?;
        Ok(Done { outcome, deliveries, status })
    }

    /// Clears away what has ended, a bounded number.
    ///
    /// # Errors
    /// If Redis does not do it.
    pub async fn clear(
        &self,
        topic: &RedisTopic,
        terms: Terms<'_>,
    ) -> Result<Status, RedisProblem> {
        let call = Call::new(Script::Clear);
        self.call(topic, &call, terms).await.map(|(status, _)| status)
    }

    /// Takes the keys of a topic away that was closed.
    ///
    /// # Errors
    /// If Redis does not do it.
    pub async fn drop_closed(
        &self,
        topic: &RedisTopic,
        deadline: Instant,
    ) -> Result<(), RedisProblem> {
        let args = vec![topic.marker.clone().into_bytes()];
        self.run(Script::Drop, topic, None, args, deadline, true).await.map(drop)
    }

    /// The topic.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn topic(
        &self,
        topic: &RedisTopic,
        name: &str,
        id: TopicId,
        terms: Terms<'_>,
    ) -> Result<(TopicView, Status), RedisProblem> {
        let (status, reply) = self.call(topic, &read("topic"), terms).await?;
        Ok((answer::topic_view(name, id, reply)?, status))
    }

    /// One message, and Redis' clock then, as with all that is read.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn message(
        &self,
        topic: &RedisTopic,
        id: MessageId,
        terms: Terms<'_>,
    ) -> Result<(Option<MessageView>, ClusterTime), RedisProblem> {
        let call = read("message").with(call::id_bytes(id));
        let (status, reply) = self.call(topic, &call, terms).await?;
        let found = answer::array(reply, "a message")?.into_iter().next();
        Ok((found.map(answer::message_view).transpose()?, status.now))
    }

    /// What a receive would deliver next, in that order; of each group its first message.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn peek(
        &self,
        topic: &RedisTopic,
        sub_queue: SubQueue,
        max: u64,
        terms: Terms<'_>,
    ) -> Result<(Vec<MessageView>, ClusterTime), RedisProblem> {
        let call = read("peek").with(call::part(sub_queue)).number(max);
        let (status, reply) = self.call(topic, &call, terms).await?;
        Ok((answer::message_views(reply)?, status.now))
    }

    /// Messages of a part in the order of their pushes, those in one state if it is named: at most `max`
    /// that come after `after`.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn list(
        &self,
        topic: &RedisTopic,
        (sub_queue, state): (SubQueue, Option<StateKind>),
        after: Option<MessageId>,
        max: u64,
        terms: Terms<'_>,
    ) -> Result<(Page, ClusterTime), RedisProblem> {
        let state = match state {
            None => "",
            Some(StateKind::Ready) => "r",
            Some(StateKind::Delayed) => "d",
            Some(StateKind::InFlight) => "f",
        };
        let after = after.map_or_else(Vec::new, call::id_bytes);
        let call = read("list").with(call::part(sub_queue)).with(state).with(after).number(max);
        let (status, reply) = self.call(topic, &call, terms).await?;
        Ok((answer::page(reply)?, status.now))
    }

    /// Those of these deliveries that still live, with their bodies. `receivers`: whose each is.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub async fn deliveries(
        &self,
        topic: &RedisTopic,
        wanted: &[(ReceiverId, Receipt)],
        terms: Terms<'_>,
    ) -> Result<Vec<DeliveryView>, RedisProblem> {
        let mut call = read("deliveries").number(wanted.len() as u64);
        call.args.extend(wanted.iter().map(|(_, receipt)| call::receipt_with_id(receipt)));
        let (_, reply) = self.call(topic, &call, terms).await?;
        let unknown = ReceiverId { boot: dsync_core::types::BootId(0), number: 0 };
        let mut views = Vec::new();
        for value in answer::array(reply, "deliveries")? {
            let mut view = answer::delivery_view(unknown, value)?;
            let whose = wanted.iter().find(|(_, receipt)| *receipt == view.receipt);
            view.receiver = whose.ok_or(Unreadable("a delivery that was asked for"))?.0;
            views.push(view);
        }
        Ok(views)
    }

    async fn call(
        &self,
        topic: &RedisTopic,
        call: &Call,
        terms: Terms<'_>,
    ) -> Result<(Status, Value), RedisProblem> {
        let args = self.args(topic, call, terms);
        // What reads, or clears away what has ended anyway, may be done twice.
        let harmless = matches!(call.script, Script::Read | Script::Clear);
        let again = harmless || terms.batch.is_some();
        let batch = terms.batch.as_ref();
        let (value, durability) =
            self.run(call.script, topic, batch, args, terms.deadline, again).await?;
        Ok(answer::open(value, durability)?)
    }

    fn args(&self, topic: &RedisTopic, call: &Call, terms: Terms<'_>) -> Vec<Vec<u8>> {
        let batch = terms.batch.map_or_else(String::new, |batch| batch.number.to_string());
        let (ends, step) = (terms.rules.ends_per_entry_max, terms.rules.step_max);
        let mut args: Vec<Vec<u8>> =
            [topic.marker.clone(), batch, ends.to_string(), step.to_string()]
                .map(String::into_bytes)
                .to_vec();
        args.extend(call.args.iter().cloned());
        if let Clock::Given { now, number } = self.clock {
            args.extend([now.to_string().into_bytes(), number.to_string().into_bytes()]);
        }
        args
    }

    /// Sends it until it is done or the deadline has passed. `again`: it may be sent again though it may have
    /// been done.
    async fn run(
        &self,
        script: Script,
        topic: &RedisTopic,
        batch: Option<&Batch>,
        args: Vec<Vec<u8>>,
        deadline: Instant,
        again: bool,
    ) -> Result<(Value, Durability), RedisProblem> {
        let (text, keys) = (script.text(self.clock), topic.keys(batch));
        let mut unanswered = None;
        loop {
            let problem = match self.connection.run(text, &keys, &args).await {
                Ok(answer) => return Ok(answer),
                Err(problem) => problem,
            };
            self.note(script, &problem);
            if matches!(problem, RedisProblem::Unanswered(_)) {
                unanswered = Some(problem.clone());
                if !again {
                    return Err(problem);
                }
            }
            if !problem.passes() || Instant::now() + AGAIN_AFTER >= deadline {
                // It may have been done the first time, whatever was wrong later.
                return Err(unanswered.unwrap_or(problem));
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    fn note(&self, script: Script, problem: &RedisProblem) {
        tracing::debug!(script = script.word(), %problem, "a script was not run");
        let mut problems = self.problems.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *problems.entry(problem.code()).or_default() += 1;
    }
}

fn read(what: &str) -> Call {
    Call::new(Script::Read).with(what)
}
