//! Receiving: who gets what.
//!
//! # Problem
//!
//! Requests wait at every node for a message of the same topic. If each node asked the log for itself,
//! an empty topic would fill the log, and who comes first would depend on the network.
//!
//! # Idea
//!
//! Requests that wait are announced to the leader, who keeps one line a topic in memory and proposes one
//! receive that names those it can serve ([`ReceiverId`](super::ReceiverId)). Every node learns from the
//! entry, as it applies it, what its own requests have got. A request whose client has left meanwhile
//! gives its deliveries back, uncounted. A leader that is new may name a request a second time; it is
//! then given messages again, and its node gives those back.
//!
//! Receivers are served in their order, each up to its numbers; what does not fit the bytes of one stops
//! that one, since nothing is passed over. One entry delivers a bounded number.

use super::checks;
use super::lifecycle::{Open, Stand};
use super::message::Delivery;
use super::outcome::{QueueOutcome, QueueRefusal, Received};
use super::request::{MessageId, Receipt, Receive, Receiver, SubQueue};
use super::table::QueueTable;
use super::turn::Turn;

/// What can still be given to one receiver.
struct Budget {
    messages: u32,
    bytes: u64,
}

impl QueueTable {
    pub(super) fn receive(
        &mut self,
        turn: &mut Turn,
        receive: &Receive,
    ) -> Result<QueueOutcome, QueueRefusal> {
        checks::batch("receivers", receive.receivers.len(), &turn.rules)?;
        let mut open = self.open(&receive.topic).ok_or(QueueRefusal::NoTopic)?;
        let paused = open.topic.settings.paused && receive.sub_queue == SubQueue::Main;
        let mut left = if paused { 0 } else { turn.rules.step_max };
        let mut received = Vec::new();
        for receiver in &receive.receivers {
            let served = open.serve(turn, receive.sub_queue, receiver, &mut left);
            if served.refusal.is_some() || !served.receipts.is_empty() {
                received.push(served);
            }
        }
        Ok(QueueOutcome::Received(received))
    }
}

impl Open<'_> {
    fn serve(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        receiver: &Receiver,
        left: &mut u32,
    ) -> Received {
        let (mut receipts, refusal) = (Vec::new(), receiver.check(&turn.rules).err());
        if refusal.is_none() {
            let messages = receiver.max.min(*left);
            let mut budget = Budget { messages, bytes: receiver.max_bytes };
            while let Some(id) = self.next_for(turn, sub_queue, &mut budget, receipts.is_empty()) {
                receipts.extend(self.deliver(turn, sub_queue, id, receiver));
                *left -= 1;
            }
        }
        Received { receiver: receiver.id, receipts, refusal }
    }

    /// What is delivered next, if the budget allows it.
    fn next_for(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        budget: &mut Budget,
        first: bool,
    ) -> Option<MessageId> {
        if budget.messages == 0 {
            return None;
        }
        let id = self.next_ready(turn, sub_queue)?;
        let bytes = self.topic.lane(sub_queue).messages.get(&id)?.bytes();
        if bytes > budget.bytes && !first {
            return None;
        }
        budget.messages -= 1;
        budget.bytes = budget.bytes.saturating_sub(bytes);
        Some(id)
    }

    /// The first that is ready and wanted. What has expired before it is cleared away, a bounded number.
    fn next_ready(&mut self, turn: &mut Turn, sub_queue: SubQueue) -> Option<MessageId> {
        loop {
            let id = self.topic.lane(sub_queue).first_ready()?;
            if !self.topic.lane(sub_queue).messages.get(&id)?.has_expired(turn.now) {
                return Some(id);
            }
            turn.ends_left = turn.ends_left.checked_sub(1)?;
            self.expire(turn, id);
        }
    }

    fn deliver(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
        receiver: &Receiver,
    ) -> Option<Receipt> {
        let visibility_ms = receiver.visibility_ms.unwrap_or(self.topic.settings.visibility_ms);
        let delivery = Delivery {
            index: turn.index,
            position: turn.next_delivery(),
            receiver: receiver.id,
            consumer: receiver.consumer.clone(),
            since: turn.now,
            ends_at: turn.now.plus(visibility_ms),
        };
        let receipt = delivery.receipt(id);
        self.topic.totals.delivered += 1;
        self.count_deliveries(sub_queue, id, |count| count + 1);
        self.shift(turn, sub_queue, id, Stand::InFlight(delivery));
        let view = self.topic.view_delivery(sub_queue, id)?;
        turn.deliver(view);
        Some(receipt)
    }
}
