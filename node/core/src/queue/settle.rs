//! Settling: what becomes of a delivery.
//!
//! # Problem
//!
//! Worker A has a message and is slow. Its time is up, and worker B gets the message. Now A is done and
//! acknowledges. If that counts (Redis Streams, JetStream and Faktory take it), the message is gone while
//! B works on it, and if B fails it is lost.
//!
//! # Idea
//!
//! A receipt names one delivery. Only the delivery that is live at the entry's stamp can be settled;
//! every other receipt is stale and changes nothing. The original routes have no receipts: there a
//! message and its consumer stand for the message's latest delivery, if it was to that consumer.

use super::bug::Bug;
use super::checks;
use super::lifecycle::{Comes, Fate, Open, Stand};
use super::message::{Cause, Delivery};
use super::outcome::{QueueOutcome, QueueRefusal, SettleOutcome};
use super::request::{
    DeliveryRef, GiveBack, MessageId, Receipt, Settle, SettleItem, SubQueue, Verdict,
};
use super::table::QueueTable;
use super::turn::Turn;

impl QueueTable {
    pub(super) fn settle(
        &mut self,
        turn: &mut Turn,
        settle: &Settle,
    ) -> Result<QueueOutcome, QueueRefusal> {
        checks::batch("items", settle.items.len(), &turn.rules)?;
        let mut open = self.open(&settle.topic).ok_or(QueueRefusal::NoTopic)?;
        let settled = settle.items.iter().map(|item| match item.verdict.check(&turn.rules) {
            Ok(()) => open.settle(turn, item),
            Err(refusal) => SettleOutcome::Refused(refusal),
        });
        Ok(QueueOutcome::Settled(settled.collect()))
    }

    pub(super) fn give_back(
        &mut self,
        turn: &mut Turn,
        give_back: &GiveBack,
    ) -> Result<QueueOutcome, QueueRefusal> {
        checks::batch("receipts", give_back.receipts.len(), &turn.rules)?;
        let mut open = self.open(&give_back.topic).ok_or(QueueRefusal::NoTopic)?;
        let mut count = 0;
        // Each goes before all others, so the first of them has to come last.
        for receipt in give_back.receipts.iter().rev() {
            count += u32::from(open.take_back(turn, receipt));
        }
        Ok(QueueOutcome::GivenBack(count))
    }
}

impl Open<'_> {
    fn settle(&mut self, turn: &mut Turn, item: &SettleItem) -> SettleOutcome {
        let Some((sub_queue, id)) = self.live(turn, &item.delivery) else {
            return SettleOutcome::Stale;
        };
        let fate = match &item.verdict {
            Verdict::Ack => return self.ack(turn, sub_queue, id),
            Verdict::Extend { visibility_ms } => {
                return self.extend(turn, sub_queue, id, *visibility_ms);
            }
            Verdict::Nack { delay_ms, reason } => {
                self.topic.totals.nacked += 1;
                self.fail(turn, sub_queue, id, (Cause::Nacked, reason), *delay_ms)
            }
            Verdict::Reject { reason } => {
                self.fail(turn, sub_queue, id, (Cause::Rejected, reason), None)
            }
        };
        match fate {
            Fate::Again { delay_ms } => SettleOutcome::Nacked { delay_ms },
            Fate::Dead => SettleOutcome::Dead,
            Fate::Expired => SettleOutcome::Expired,
        }
    }

    /// Where the message of this delivery is, if the delivery is live.
    fn live(&self, turn: &Turn, delivery: &DeliveryRef) -> Option<(SubQueue, MessageId)> {
        let id = match delivery {
            DeliveryRef::Receipt(receipt) => receipt.message,
            DeliveryRef::Latest { message, .. } => *message,
        };
        let (sub_queue, message) = self.topic.find(id)?;
        if self.mistake.is(Bug::LateAckAccepted) {
            return Some((sub_queue, id));
        }
        let live = message.delivery().filter(|it| it.ends_at > turn.now)?;
        let meant = match delivery {
            DeliveryRef::Receipt(receipt) => live.receipt(id) == *receipt,
            DeliveryRef::Latest { consumer, .. } => live.consumer.as_ref() == Some(consumer),
        };
        meant.then_some((sub_queue, id))
    }

    fn ack(&mut self, turn: &mut Turn, sub_queue: SubQueue, id: MessageId) -> SettleOutcome {
        self.leave(turn, sub_queue, id);
        self.topic.totals.acked += 1;
        SettleOutcome::Acked
    }

    fn extend(
        &mut self,
        turn: &mut Turn,
        sub_queue: SubQueue,
        id: MessageId,
        visibility_ms: Option<u64>,
    ) -> SettleOutcome {
        let message = self.topic.lane(sub_queue).messages.get(&id);
        let Some(delivery) = message.and_then(|it| it.delivery()) else {
            return SettleOutcome::Stale;
        };
        let asked = turn.now.plus(visibility_ms.unwrap_or(self.topic.settings.visibility_ms));
        let shortens = self.mistake.is(Bug::ExtendShortens);
        let ends_at = if shortens { asked } else { delivery.ends_at.max(asked) };
        let delivery = Delivery { ends_at, ..Delivery::clone(delivery) };
        self.shift(turn, sub_queue, id, Stand::InFlight(delivery));
        SettleOutcome::Extended { remaining_ms: ends_at.since(turn.now) }
    }

    /// As if it had not been delivered. A receipt that is stale by now changes nothing.
    fn take_back(&mut self, turn: &mut Turn, receipt: &Receipt) -> bool {
        let Some((sub_queue, id)) = self.live(turn, &DeliveryRef::Receipt(*receipt)) else {
            return false;
        };
        self.topic.totals.given_back += 1;
        if !self.mistake.is(Bug::UndeliveredCounted) {
            self.count_deliveries(sub_queue, id, |count| count.saturating_sub(1));
        }
        self.shift(turn, sub_queue, id, Stand::Ready(Comes::Back));
        true
    }
}
