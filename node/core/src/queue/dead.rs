//! Back from the dead, and out of the topic: redrive, purge, removal by id.
//!
//! Each entry does a bounded part of the work and says what the next one has to ask for. The bound of the
//! whole is fixed by the first step, so that what comes meanwhile is not touched: a purge stops at the
//! messages that were there when it began, and a redrive does not pick up a message that it has moved
//! back and that has died again.

use super::bug::Bug;
use super::checks;
use super::event::QueueWhat;
use super::lifecycle::{Comes, Open, Stand};
use super::message::State;
use super::outcome::{QueueOutcome, QueueRefusal, RedriveOutcome};
use super::push::topic_room;
use super::request::{MessageId, Purge, Redrive, Redriven, Remove, SubQueue};
use super::table::{QueueTable, note};
use super::turn::Turn;

impl QueueTable {
    pub(super) fn redrive(
        &mut self,
        turn: &mut Turn,
        asked: &Redrive,
    ) -> Result<QueueOutcome, QueueRefusal> {
        if let Redriven::These(ids) = &asked.which {
            checks::batch("messages", ids.len(), &turn.rules)?;
        }
        let mut open = self.open(&asked.topic).ok_or(QueueRefusal::NoTopic)?;
        let before = open.topic.totals.redriven;
        let outcome = match &asked.which {
            Redriven::All { before } => open.redrive_all(turn, *before),
            Redriven::These(ids) => {
                let moved = ids.iter().map(|id| open.redrive_one(turn, *id)).collect();
                QueueOutcome::RedrivenThese(moved)
            }
        };
        let moved = open.topic.totals.redriven - before;
        if moved > 0 {
            note(turn, QueueWhat::Redriven, &asked.principal, &asked.topic, moved);
        }
        Ok(outcome)
    }

    /// Takes also what is in flight: its receipts are stale from now on.
    pub(super) fn purge(
        &mut self,
        turn: &mut Turn,
        asked: &Purge,
    ) -> Result<QueueOutcome, QueueRefusal> {
        let newest = MessageId { index: turn.index, position: 0 };
        let before = match asked.before {
            Some(before) if !self.mistake.is(Bug::PurgeTakesNewer) => before.min(newest),
            _ => newest,
        };
        let mut open = self.open(&asked.topic).ok_or(QueueRefusal::NoTopic)?;
        let messages = open.purge_step(turn, asked.sub_queue, before);
        let left = open.oldest(asked.sub_queue).is_some_and(|id| id < before);
        if messages > 0 {
            note(turn, QueueWhat::Purged, &asked.principal, &asked.topic, messages);
        }
        Ok(QueueOutcome::Purged { messages, next: left.then_some(before) })
    }

    pub(super) fn remove(
        &mut self,
        turn: &mut Turn,
        asked: &Remove,
    ) -> Result<QueueOutcome, QueueRefusal> {
        let mut open = self.open(&asked.topic).ok_or(QueueRefusal::NoTopic)?;
        let found = open.topic.find(asked.message).map(|(sub_queue, _)| sub_queue);
        let sub_queue = found.ok_or(QueueRefusal::NoMessage)?;
        open.leave(turn, sub_queue, asked.message);
        open.topic.totals.purged += 1;
        note(turn, QueueWhat::Removed, &asked.principal, &asked.topic, 1);
        Ok(QueueOutcome::Removed)
    }
}

impl Open<'_> {
    fn redrive_all(&mut self, turn: &mut Turn, before: Option<i64>) -> QueueOutcome {
        let before = before.unwrap_or(self.topic.dead.places.1);
        let (mut messages, mut full) = (0, None);
        while messages < u64::from(turn.rules.step_max) && full.is_none() {
            let Some(id) = self.first_dead(before) else { break };
            match self.move_back(turn, id) {
                Ok(()) => messages += 1,
                Err(refusal) => full = Some(refusal),
            }
        }
        let next = self.first_dead(before).map(|_| before);
        QueueOutcome::Redriven { messages, next, full }
    }

    fn first_dead(&self, before: i64) -> Option<MessageId> {
        let (rank, next) = self.topic.dead.ready.first()?;
        if rank.place < before { self.topic.dead.head(next) } else { None }
    }

    fn redrive_one(&mut self, turn: &mut Turn, id: MessageId) -> RedriveOutcome {
        let message = self.topic.dead.messages.get(&id);
        match message.filter(|it| !matches!(it.state, State::InFlight(_))) {
            None => RedriveOutcome::NotDead,
            Some(_) => match self.move_back(turn, id) {
                Ok(()) => RedriveOutcome::Moved,
                Err(refusal) => RedriveOutcome::Refused(refusal),
            },
        }
    }

    /// As if it had just been pushed; its time to live begins again.
    fn move_back(&mut self, turn: &mut Turn, id: MessageId) -> Result<(), QueueRefusal> {
        topic_room(self.topic, self.mistake.is(Bug::LimitIgnoresInFlight))?;
        let message = self.leave(turn, SubQueue::Dead, id);
        let mut message = message.ok_or(QueueRefusal::NoMessage)?;
        let death = message.death.take();
        let keeps = self.mistake.is(Bug::RedriveKeepsCount);
        message.deliveries = death.filter(|_| keeps).map_or(0, |death| death.deliveries);
        message.failures = None;
        let ttl_ms = message.content.ttl_ms;
        message.expires_at = (ttl_ms > 0).then(|| turn.now.plus(ttl_ms));
        self.topic.totals.redriven += 1;
        self.enter(turn, SubQueue::Main, id, message, Stand::Ready(Comes::New));
        Ok(())
    }

    fn purge_step(&mut self, turn: &mut Turn, sub_queue: SubQueue, before: MessageId) -> u64 {
        let mut messages = 0;
        while messages < u64::from(turn.rules.step_max) {
            let Some(id) = self.oldest(sub_queue).filter(|id| *id < before) else { break };
            self.leave(turn, sub_queue, id);
            self.topic.totals.purged += 1;
            messages += 1;
        }
        messages
    }

    fn oldest(&self, sub_queue: SubQueue) -> Option<MessageId> {
        self.topic.lane(sub_queue).messages.first().map(|(id, _)| *id)
    }
}
