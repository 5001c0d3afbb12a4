//! One topic of the oracle: lists of messages, and what moves them.

use std::collections::BTreeMap;

use crate::queue::*;
use crate::types::ClusterTime;

#[derive(Clone, Debug)]
pub(in crate::queue::oracle_test) struct Topic {
    pub serial: u64,
    pub id: TopicId,
    pub settings: TopicSettings,
    /// For each priority, first come first.
    pub lines: Vec<Vec<Place>>,
    pub groups: BTreeMap<String, Vec<MessageId>>,
    /// Each with its number; the first die first.
    pub dead: Vec<(i64, MessageId)>,
    pub(super) dead_numbers: (i64, i64),
    pub messages: Vec<Message>,
    pub totals: Totals,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::queue::oracle_test) enum Place {
    One(MessageId),
    Group(String),
}

#[derive(Clone, Debug)]
pub(in crate::queue::oracle_test) struct Message {
    pub id: MessageId,
    pub item: PushItem,
    pub ttl: u64,
    pub pushed_at: u64,
    pub expires_at: Option<u64>,
    pub deliveries: u32,
    pub state: State,
    pub failures: Vec<Failure>,
    pub death: Option<Death>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::queue::oracle_test) enum State {
    Ready,
    Delayed { until: u64, retry: bool },
    InFlight { to: ReceiverId, receipt: Receipt, consumer: Option<Consumer>, since: u64, end: u64 },
}

/// How a message comes to those that wait.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Comes {
    New,
    Again,
    Back,
}

impl Topic {
    pub(in crate::queue::oracle_test) fn at(&mut self, id: MessageId) -> &mut Message {
        self.messages.iter_mut().find(|it| it.id == id).expect("a message of this topic")
    }

    /// What can be delivered, in its order.
    pub(in crate::queue::oracle_test) fn order(&self, dead: bool) -> Vec<MessageId> {
        if dead {
            return self.dead.iter().map(|(_, id)| *id).collect();
        }
        let places = self.lines.iter().rev().flatten();
        let head = |place: &Place| match place {
            Place::One(id) => *id,
            Place::Group(name) => self.groups[name][0],
        };
        places.map(head).collect()
    }

    pub(super) fn check_room(&self) -> Result<(), QueueRefusal> {
        let limit = self.settings.messages_max;
        let alive = self.messages.iter().filter(|it| it.death.is_none()).count() as u64;
        if limit > 0 && alive + 1 > limit {
            return Err(QueueRefusal::Full { setting: "messages_max".to_owned(), limit });
        }
        Ok(())
    }

    /// It can be delivered, or waits in its group.
    pub(super) fn come(&mut self, id: MessageId, how: Comes) {
        let message = self.at(id);
        message.state = State::Ready;
        let dead = message.death.is_some();
        let (group, priority) = (message.item.group.clone(), usize::from(message.item.priority));
        match group {
            _ if dead && how == Comes::Back => {
                self.dead_numbers.0 -= 1;
                self.dead.insert(0, (self.dead_numbers.0, id));
            }
            _ if dead => {
                self.dead.push((self.dead_numbers.1, id));
                self.dead_numbers.1 += 1;
            }
            Some(group) => {
                let waiting = self.groups.entry(group).or_default();
                waiting.insert(if how == Comes::New { waiting.len() } else { 0 }, id);
            }
            None if how == Comes::Back => self.lines[priority].insert(0, Place::One(id)),
            None => self.lines[priority].push(Place::One(id)),
        }
        self.tidy(id, how == Comes::Back);
    }

    /// A group stands in a line if, and only if, something of it waits and nothing of it is unsettled.
    pub(super) fn tidy(&mut self, of: MessageId, front: bool) {
        if let Some(group) = self.at(of).item.group.clone() {
            self.tidy_group(&group, front);
        }
    }

    fn tidy_group(&mut self, group: &str, front: bool) {
        let unsettled = self.messages.iter().any(|it| {
            it.death.is_none()
                && it.item.group.as_deref() == Some(group)
                && matches!(it.state, State::InFlight { .. } | State::Delayed { retry: true, .. })
        });
        let head = self.groups.get(group).and_then(|waiting| waiting.first()).copied();
        if head.is_none() {
            self.groups.remove(group);
        }
        let place = Place::Group(group.to_owned());
        let line = head.filter(|_| !unsettled).map(|id| usize::from(self.at(id).item.priority));
        let now = self.lines.iter().position(|line| line.contains(&place));
        if now == line {
            return;
        }
        for line in &mut self.lines {
            line.retain(|it| *it != place);
        }
        if let Some(line) = line {
            let at = if front { 0 } else { self.lines[line].len() };
            self.lines[line].insert(at, place);
        }
    }

    pub(super) fn take_from_lines(&mut self, id: MessageId) {
        for line in &mut self.lines {
            line.retain(|it| *it != Place::One(id));
        }
        for waiting in self.groups.values_mut() {
            waiting.retain(|it| *it != id);
        }
        self.dead.retain(|(_, it)| *it != id);
    }

    pub(super) fn gone(&mut self, id: MessageId) -> Message {
        self.take_from_lines(id);
        let at = self.messages.iter().position(|it| it.id == id).expect("a message of this topic");
        let message = self.messages.remove(at);
        if let Some(group) = message.item.group.as_ref().filter(|_| message.death.is_none()) {
            self.tidy_group(&group.clone(), false);
        }
        message
    }

    pub(super) fn fail(
        &mut self,
        id: MessageId,
        cause: Cause,
        reason: &str,
        delay: Option<u64>,
        (now, room): (u64, u64),
    ) -> SettleOutcome {
        let settings = self.settings;
        let message = self.at(id);
        message.note(cause, reason, now, room);
        let deliveries = message.deliveries;
        if message.death.is_some() {
            self.again(id, delay.unwrap_or(0), now);
            return match cause {
                Cause::Rejected => SettleOutcome::Dead,
                _ => SettleOutcome::Nacked { delay_ms: delay.unwrap_or(0) },
            };
        }
        let too_often = settings.deliveries_max > 0 && deliveries >= settings.deliveries_max;
        if cause == Cause::Rejected {
            self.die(id, DeathCause::Rejected, now);
            return SettleOutcome::Dead;
        }
        if too_often {
            self.die(id, DeathCause::TooManyDeliveries, now);
            return SettleOutcome::Dead;
        }
        if message.expires_at.is_some_and(|at| at <= now) {
            return self.expire(id, now);
        }
        let backoff =
            if cause == Cause::Nacked { settings.nack_backoff } else { settings.timeout_backoff };
        let delay_ms = delay.unwrap_or_else(|| backoff.delay_ms(id, deliveries));
        self.again(id, delay_ms, now);
        SettleOutcome::Nacked { delay_ms }
    }

    fn again(&mut self, id: MessageId, delay: u64, now: u64) {
        if delay == 0 {
            return self.come(id, Comes::Again);
        }
        self.at(id).state = State::Delayed { until: now + delay, retry: true };
        if self.at(id).death.is_none() {
            self.tidy(id, false);
        }
    }

    pub(super) fn expire(&mut self, id: MessageId, now: u64) -> SettleOutcome {
        if self.settings.expired == Expired::Dead {
            self.die(id, DeathCause::Expired, now);
            return SettleOutcome::Dead;
        }
        self.gone(id);
        self.totals.expired += 1;
        SettleOutcome::Expired
    }

    fn die(&mut self, id: MessageId, cause: DeathCause, now: u64) {
        let mut message = self.gone(id);
        let (deliveries, at) = (message.deliveries, ClusterTime(now));
        message.death = Some(Death { cause, deliveries, at });
        message.deliveries = 0;
        self.messages.push(message);
        self.totals.died += 1;
        self.come(id, Comes::New);
    }

    pub(super) fn move_back(&mut self, id: MessageId, now: u64) {
        let mut message = self.gone(id);
        (message.deliveries, message.death) = (0, None);
        message.failures.clear();
        message.expires_at = (message.ttl > 0).then(|| now + message.ttl);
        self.messages.push(message);
        self.totals.redriven += 1;
        self.come(id, Comes::New);
    }
}

impl Message {
    /// What ends by itself.
    pub(in crate::queue::oracle_test) fn ends(&self) -> Vec<(u64, MessageId, u8)> {
        let mut ends = Vec::new();
        match self.state {
            State::InFlight { end, .. } => return vec![(end, self.id, 0)],
            State::Delayed { until, .. } => ends.push((until, self.id, 1)),
            State::Ready => {}
        }
        let ttl = self.expires_at.filter(|_| self.death.is_none());
        ends.extend(ttl.map(|at| (at, self.id, 2)));
        ends
    }

    /// As long as its encoding.
    pub(in crate::queue::oracle_test) fn bytes(&self) -> u64 {
        let number = |it: u64| if it < 128 { 1 } else { 2 };
        let text = |it: &str| 1 + it.len() as u64;
        let headers: u64 =
            self.item.headers.iter().map(|(name, value)| text(name) + text(value)).sum();
        let group = self.item.group.as_deref().map_or(0, text);
        let body = 1 + self.item.body.len() as u64;
        let rest = number(self.ttl) + number(self.pushed_at);
        body + 1 + 1 + headers + 1 + 1 + group + rest + self.text_bytes()
    }

    pub(super) fn text_bytes(&self) -> u64 {
        let first = self.failures.first().map_or(0, |it| it.reason.len());
        let last = self.failures.last().map_or(0, |it| it.reason.len());
        (first + last) as u64
    }

    /// Keeps the first and the last.
    fn note(&mut self, cause: Cause, reason: &str, now: u64, room: u64) {
        let first = self.failures.first().map_or(reason.len(), |it| it.reason.len());
        let fits = (first + reason.len()) as u64 <= room;
        let reason = if fits { reason } else { "" }.to_owned();
        let failure = Failure { cause, reason, delivery: self.deliveries, at: ClusterTime(now) };
        self.failures.truncate(1);
        self.failures.push(failure);
    }
}
