//! Table and oracle show the same: every view, field by field.

use std::sync::Arc;

use super::super::*;
use super::oracle::{Message, Oracle, State, Topic};
use super::same;
use crate::types::ClusterTime;

/// Compares everything that can be read of the two.
pub(super) fn check(table: &QueueTable, oracle: &Oracle) -> Result<(), String> {
    let view = table.view();
    let names: Vec<String> = view.topics_after("").map(|topic| topic.name).collect();
    same("topics", &names, &oracle.topics.keys().cloned().collect())?;
    for (name, topic) in &oracle.topics {
        same("topic", &view.topic(name), &Some(topic.view(name)))?;
        for sub_queue in [SubQueue::Main, SubQueue::Dead] {
            check_part(&view, name, topic, sub_queue)?;
        }
    }
    let usage = (view.usage().messages, view.usage().bytes);
    same("usage", &usage, &oracle.usage())?;
    same("keys", &view.dedupe_keys(), &oracle.keys.len())?;
    let messages = oracle.topics.values().flat_map(|topic| &topic.messages);
    let ends = messages.flat_map(Message::ends).map(|(at, ..)| at);
    let due = ends.chain(oracle.keys.iter().map(|key| key.forget_at)).min().map(ClusterTime);
    same("next due", &table.next_due(), &due)
}

fn check_part(
    view: &QueuesView<'_>,
    name: &str,
    topic: &Topic,
    sub_queue: SubQueue,
) -> Result<(), String> {
    let dead = sub_queue == SubQueue::Dead;
    let order: Vec<MessageId> = view.peek(name, sub_queue).map(|it| it.id).collect();
    same("order", &order, &topic.order(dead))?;
    let deliverable = if topic.settings.paused && !dead { 0 } else { order.len() };
    same("deliverable", &view.deliverable(name, sub_queue), &deliverable)?;
    let part = topic.messages.iter().filter(|it| it.death.is_some() == dead);
    let mut messages: Vec<MessageView> = part.map(|it| it.view(sub_queue)).collect();
    messages.sort_by_key(|it| it.id);
    let shown = view.list(name, sub_queue, None, None, 1_000).messages;
    same("messages", &shown, &messages)?;
    let kinds = [StateKind::Ready, StateKind::Delayed, StateKind::InFlight];
    for kind in kinds {
        let shown = view.list(name, sub_queue, Some(kind), None, 1_000).messages;
        let of_kind: Vec<_> = messages.iter().filter(|it| is(it, kind)).cloned().collect();
        same("messages of a state", &shown, &of_kind)?;
    }
    for message in &messages {
        same("message", &view.message(name, message.id), &Some(message.clone()))?;
    }
    Ok(())
}

fn is(message: &MessageView, kind: StateKind) -> bool {
    match message.state {
        StateView::Ready => kind == StateKind::Ready,
        StateView::Delayed { .. } => kind == StateKind::Delayed,
        StateView::InFlight { .. } => kind == StateKind::InFlight,
    }
}

impl Topic {
    fn view(&self, name: &str) -> TopicView {
        let counts = |dead: bool| {
            let mut counts = Counts::default();
            for it in self.messages.iter().filter(|it| it.death.is_some() == dead) {
                match it.state {
                    State::Ready => counts.ready += 1,
                    State::Delayed { .. } => counts.delayed += 1,
                    State::InFlight { .. } => counts.in_flight += 1,
                }
            }
            counts
        };
        let alive = self.messages.iter().filter(|it| it.death.is_none());
        let oldest = alive.min_by_key(|it| it.id).map(|it| ClusterTime(it.pushed_at));
        TopicView {
            name: name.to_owned(),
            id: self.id,
            settings: self.settings,
            totals: self.totals,
            main: counts(false),
            dead: counts(true),
            bytes: self.messages.iter().map(Message::bytes).sum(),
            oldest_pushed_at: oldest,
        }
    }
}

impl Message {
    fn view(&self, sub_queue: SubQueue) -> MessageView {
        MessageView {
            id: self.id,
            sub_queue,
            state: match &self.state {
                State::Ready => StateView::Ready,
                State::Delayed { until, .. } => StateView::Delayed { until: ClusterTime(*until) },
                State::InFlight { consumer, since, end, .. } => StateView::InFlight {
                    consumer: consumer.clone(),
                    since: ClusterTime(*since),
                    ends_at: ClusterTime(*end),
                },
            },
            deliveries: self.deliveries,
            expires_at: self.expires_at.map(ClusterTime),
            bytes: self.bytes(),
            content: self.content(),
            failures: self.failures(),
            death: self.death,
        }
    }

    /// As the receiver of its delivery is shown it.
    pub(super) fn delivery_view(&self) -> Option<DeliveryView> {
        let State::InFlight { to, receipt, end, .. } = &self.state else { return None };
        Some(DeliveryView {
            receiver: *to,
            receipt: *receipt,
            deliveries: self.deliveries,
            ends_at: ClusterTime(*end),
            content: self.content(),
            failures: self.failures(),
            death: self.death,
        })
    }

    fn content(&self) -> Arc<Content> {
        Arc::new(Content {
            body: self.item.body.clone(),
            kind: self.item.kind,
            headers: self.item.headers.clone(),
            priority: self.item.priority,
            group: self.item.group.clone(),
            ttl_ms: self.ttl,
            pushed_at: ClusterTime(self.pushed_at),
        })
    }

    fn failures(&self) -> Option<Arc<Failures>> {
        let (first, last) = (self.failures.first()?.clone(), self.failures.last()?.clone());
        Some(Arc::new(Failures { first, last }))
    }
}
