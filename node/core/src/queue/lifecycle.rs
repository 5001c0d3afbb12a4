//! Moving messages: the only code that puts them in, takes them out, or changes what they are doing, so
//! that every index stays true.
//!
//! A message has one state. From it follow, and are kept here together: its place in the order of what
//! can be delivered, its part in its group, when something of it ends by itself, and every count.

use std::sync::Arc;

use rpds::RedBlackTreeSetSync;

use super::bug::{Bug, Mistake};
use super::deadlines::Due;
use super::message::{Cause, Death, DeathCause, Delivery, Failure, Message, State};
use super::request::{MessageId, SubQueue};
use super::settings::Expired;
use super::topic::{End, Next, Topic};
use super::turn::Turn;
use crate::types::ClusterTime;

/// One topic, opened for changes, and what the whole table keeps of all messages.
pub(super) struct Open<'a> {
    pub(super) topic: &'a mut Topic,
    pub(super) dues: &'a mut RedBlackTreeSetSync<Due>,
    pub(super) usage: &'a mut Usage,
    pub(super) mistake: Mistake,
}

/// What all messages together take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many there are, in all topics, dead ones included.
    pub messages: u64,
    /// Their bytes, each counted as it is encoded.
    pub bytes: u64,
}

/// What a message shall do.
pub(super) enum Stand {
    /// Become ready, as what.
    Ready(Comes),
    /// Wait.
    Delayed { until: ClusterTime, retry: bool },
    /// Be worked on.
    InFlight(Delivery),
}

/// How a message comes to those that are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comes {
    /// For the first time: behind the others.
    New,
    /// Once more: behind the others, but before those of its group.
    Again,
    /// Undelivered: before all others.
    Back,
}

/// What has become of a message whose delivery went wrong.
pub(super) enum Fate {
    /// It will be delivered again after that time.
    Again { delay_ms: u64 },
    /// It is dead.
    Dead,
    /// It was dropped.
    Expired,
}

impl Open<'_> {
    /// Puts a message in.
    pub(super) fn enter(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
        message: Message,
        stand: Stand,
    ) {
        self.usage.messages += 1;
        self.attach(turn, sub_queue, id, message, stand);
    }

    /// Takes a message out.
    pub(super) fn leave(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
    ) -> Option<Message> {
        let message = self.detach(sub_queue, id)?;
        self.usage.messages -= 1;
        let lane = self.topic.lane_mut(sub_queue);
        lane.messages.remove_mut(&id);
        if message.group().is_some_and(|group| lane.refresh_group(group, End::Tail)) {
            turn.wake(&self.topic.name, sub_queue);
        }
        Some(message)
    }

    /// Lets a message do something else.
    pub(super) fn shift(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
        stand: Stand,
    ) {
        if let Some(message) = self.detach(sub_queue, id) {
            self.attach(turn, sub_queue, id, message, stand);
        }
    }

    /// Changes how often a message was delivered.
    pub(super) fn count_deliveries(
        &mut self,
        sub_queue: SubQueue,
        id: MessageId,
        count: impl FnOnce(u32) -> u32,
    ) {
        if let Some(message) = self.topic.lane_mut(sub_queue).messages.get_mut(&id) {
            message.deliveries = count(message.deliveries);
        }
    }

    /// A delivery went wrong: once more after a pause, or dead. What is dead already stays so.
    pub(super) fn fail(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
        (cause, reason): (Cause, &str),
        delay_ms: Option<u64>,
    ) -> Fate {
        self.note_failure(turn, sub_queue, id, cause, reason);
        let settings = self.topic.settings;
        let Some(message) = self.topic.lane(sub_queue).messages.get(&id) else {
            return Fate::Dead;
        };
        let max = settings.deliveries_max;
        let too_often = max > 0 && message.deliveries >= max;
        if sub_queue == SubQueue::Dead {
            let delay_ms = delay_ms.unwrap_or(0);
            self.come_again(turn, sub_queue, id, delay_ms);
            return if cause == Cause::Rejected { Fate::Dead } else { Fate::Again { delay_ms } };
        }
        if cause == Cause::Rejected || too_often {
            let rejected = cause == Cause::Rejected;
            let death = if rejected { DeathCause::Rejected } else { DeathCause::TooManyDeliveries };
            self.die(turn, id, death);
            return Fate::Dead;
        }
        if message.has_expired(turn.now) {
            return self.expire(turn, id);
        }
        let backoff = match cause {
            Cause::TimedOut => settings.timeout_backoff,
            Cause::Nacked | Cause::Rejected => settings.nack_backoff,
        };
        let delay_ms = delay_ms.unwrap_or_else(|| backoff.delay_ms(id, message.deliveries));
        self.come_again(turn, sub_queue, id, delay_ms);
        Fate::Again { delay_ms }
    }

    /// A message of the main part is not wanted any more.
    pub(super) fn expire(&mut self, turn: &mut Turn, id: MessageId) -> Fate {
        match self.topic.settings.expired {
            Expired::Dead => {
                self.die(turn, id, DeathCause::Expired);
                Fate::Dead
            }
            Expired::Drop => {
                self.leave(turn, SubQueue::Main, id);
                self.topic.totals.expired += 1;
                Fate::Expired
            }
        }
    }

    fn die(&mut self, turn: &mut Turn, id: MessageId, cause: DeathCause) {
        let Some(mut message) = self.leave(turn, SubQueue::Main, id) else { return };
        message.death = Some(Death { cause, deliveries: message.deliveries, at: turn.now });
        message.deliveries = 0;
        self.topic.totals.died += 1;
        self.enter(turn, SubQueue::Dead, id, message, Stand::Ready(Comes::New));
    }

    fn come_again(&mut self, turn: &mut Turn, sub_queue: SubQueue, id: MessageId, delay_ms: u64) {
        let stand = match delay_ms {
            0 => Stand::Ready(Comes::Again),
            _ => Stand::Delayed { until: turn.now.plus(delay_ms), retry: true },
        };
        self.shift(turn, sub_queue, id, stand);
    }

    fn note_failure(
        &mut self,
        turn: &Turn,
        sub_queue: SubQueue,
        id: MessageId,
        cause: Cause,
        reason: &str,
    ) {
        let lane = self.topic.lane_mut(sub_queue);
        let Some(message) = lane.messages.get_mut(&id) else { return };
        let before = message.bytes();
        let others = self.usage.bytes - before + message.content_bytes;
        let (reason, delivery, at) = (reason.to_owned(), message.deliveries, turn.now);
        let failure = Failure { cause, reason, delivery, at };
        message.note_failure(failure, turn.rules.bytes_max.saturating_sub(others));
        let after = message.bytes();
        lane.bytes = lane.bytes - before + after;
        self.usage.bytes = self.usage.bytes - before + after;
    }

    /// Gives a message its state, and puts it into every index.
    fn attach(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
        mut message: Message,
        stand: Stand,
    ) {
        let grouped = message.group().is_some();
        let lane = self.topic.lane_mut(sub_queue);
        let mut group_end = End::Tail;
        message.state = match stand {
            Stand::Delayed { until, retry } => State::Delayed { until, retry },
            Stand::InFlight(delivery) => State::InFlight(Arc::new(delivery)),
            Stand::Ready(comes) => {
                let behind = self.mistake.is(Bug::FailedHeadToTail);
                let head = comes == Comes::Back || comes == Comes::Again && grouped && !behind;
                group_end = if comes == Comes::Back { End::Head } else { End::Tail };
                State::Ready { place: lane.next_place(if head { End::Head } else { End::Tail }) }
            }
        };
        let group = message.group().map(str::to_owned);
        let ready = !grouped && matches!(message.state, State::Ready { .. });
        self.index(sub_queue, id, message);
        let lane = self.topic.lane_mut(sub_queue);
        if ready || group.is_some_and(|group| lane.refresh_group(&group, group_end)) {
            turn.wake(&self.topic.name, sub_queue);
        }
    }

    /// Puts a message that has its state into every index.
    pub(super) fn index(&mut self, sub_queue: SubQueue, id: MessageId, message: Message) {
        for due in self.dues_of(sub_queue, id, &message) {
            self.dues.insert_mut(due);
        }
        let lane = self.topic.lane_mut(sub_queue);
        match (message.group(), &message.state) {
            (None, State::Ready { place }) => {
                lane.ready.insert_mut(message.rank(*place), Next::Message(id));
            }
            (Some(group), State::Ready { place }) => {
                if let Some(group) = lane.group_mut(group) {
                    group.waiting.insert_mut(*place, id);
                }
            }
            (Some(group), State::InFlight(_) | State::Delayed { retry: true, .. }) => {
                if let Some(group) = lane.group_mut(group) {
                    group.unsettled = Some(id);
                }
            }
            (_, State::InFlight(_) | State::Delayed { .. }) => {}
        }
        *lane.counts.of_mut(&message.state) += 1;
        lane.bytes += message.bytes();
        self.usage.bytes += message.bytes();
        lane.messages.insert_mut(id, message);
    }

    /// Takes a message out of every index, but not from its lane. Its group is looked at again by the
    /// caller, when the message has gone where it goes.
    fn detach(&mut self, sub_queue: SubQueue, id: MessageId) -> Option<Message> {
        let message = self.topic.lane(sub_queue).messages.get(&id)?.clone();
        for due in self.dues_of(sub_queue, id, &message) {
            self.dues.remove_mut(&due);
        }
        let lane = self.topic.lane_mut(sub_queue);
        let group = message.group().and_then(|group| lane.groups.get_mut(group));
        match (group, &message.state) {
            (None, State::Ready { place }) => {
                lane.ready.remove_mut(&message.rank(*place));
            }
            (Some(group), State::Ready { place }) => {
                group.waiting.remove_mut(place);
            }
            (Some(group), State::InFlight(_) | State::Delayed { retry: true, .. }) => {
                group.unsettled = None;
            }
            (_, State::InFlight(_) | State::Delayed { .. }) => {}
        }
        *lane.counts.of_mut(&message.state) -= 1;
        lane.bytes -= message.bytes();
        self.usage.bytes -= message.bytes();
        Some(message)
    }

    pub(super) fn dues_of(
        &self,
        sub_queue: SubQueue,
        id: MessageId,
        message: &Message,
    ) -> impl Iterator<Item = Due> + use<> {
        Due::of(&self.topic.name, sub_queue, id, message, self.mistake)
    }
}
