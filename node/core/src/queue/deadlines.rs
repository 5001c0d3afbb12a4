//! What ends by itself: deliveries, delays, times to live, and the memory of deduplication keys.
//!
//! # Problem
//!
//! A worker that vanished must not keep its messages for ever, and a machine that reads a clock while it
//! applies an entry is a different machine on every node. And a million delays that end in one second
//! must not stop everybody else while they are cleared away.
//!
//! # Idea
//!
//! As with leases of locks: the stamp of an entry moves time, before the entry does anything else. What
//! ends at or before it *has ended* for every check: a delivery cannot be settled any more, a message
//! that has expired is not delivered, a key that is forgotten does not count. Clearing it away is a
//! second matter, in the order of the ends, a bounded number per entry, and [`QueueTable::next_due`] says
//! "now" until nothing is left, so that the leader appends time marks for the rest. So a message may be
//! ready a little after its time, never before.
//!
//! Without a leader time stands still, and with it every delay: nothing is ever early.

use std::sync::Arc;

use super::bug::{Bug, Mistake};
use super::lifecycle::{Comes, Stand};
use super::message::{Cause, Message, State};
use super::request::{MessageId, SubQueue};
use super::table::QueueTable;
use super::turn::Turn;
use crate::types::ClusterTime;

/// An end to come. Ordered by time, then by the age of what ends: every node clears in the same order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    pub(super) at: ClusterTime,
    pub(super) id: MessageId,
    pub(super) what: Ends,
    /// Where the message is.
    pub(super) sub_queue: SubQueue,
    pub(super) topic: Arc<str>,
}

/// What ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ends {
    Delivery,
    Delay,
    Ttl,
}

impl Due {
    /// Everything of this message that ends by itself.
    pub(super) fn of(
        topic: &Arc<str>,
        sub_queue: SubQueue,
        id: MessageId,
        message: &Message,
        mistake: Mistake,
    ) -> impl Iterator<Item = Self> + use<> {
        let due = |what: Ends| {
            let topic = topic.clone();
            move |at: ClusterTime| Self { at, id, what, sub_queue, topic }
        };
        let state = match &message.state {
            State::Ready { .. } => None,
            State::Delayed { until, .. } => Some(due(Ends::Delay)(*until)),
            State::InFlight(delivery) if mistake.is(Bug::RedeliveredEarly) => {
                let half = delivery.ends_at.since(delivery.since) / 2;
                Some(due(Ends::Delivery)(delivery.since.plus(half)))
            }
            State::InFlight(delivery) => Some(due(Ends::Delivery)(delivery.ends_at)),
        };
        let waits = message.delivery().is_none() && message.death.is_none();
        let ttl = message.expires_at.filter(|_| waits).map(due(Ends::Ttl));
        state.into_iter().chain(ttl)
    }
}

impl QueueTable {
    /// Moves time to the turn's stamp: clears what has ended by then, a bounded number.
    pub fn advance(&mut self, turn: &mut Turn) {
        for _ in 0..turn.rules.ends_per_entry_max {
            let Some(due) = self.dues.first().filter(|due| due.at <= turn.now).cloned() else {
                break;
            };
            self.clear(turn, &due);
        }
        self.forget_keys(turn);
    }

    /// When the next delivery, delay, time to live or memory of a key ends; a time that has passed while
    /// ends are still to be cleared. `None`: nothing is timed.
    #[must_use]
    pub fn next_due(&self) -> Option<ClusterTime> {
        let keys = self.forget.first().map(|(at, ..)| *at);
        self.dues.first().map(|due| due.at).into_iter().chain(keys).min()
    }

    fn clear(&mut self, turn: &mut Turn, due: &Due) {
        let Some(mut open) = self.open(&due.topic) else { return };
        match due.what {
            Ends::Delivery => {
                open.topic.totals.timed_out += 1;
                open.fail(turn, due.sub_queue, due.id, (Cause::TimedOut, ""), None);
            }
            Ends::Delay => {
                let message = open.topic.lane(due.sub_queue).messages.get(&due.id);
                let retry = |it: &Message| matches!(it.state, State::Delayed { retry: true, .. });
                let comes = if message.is_some_and(retry) { Comes::Again } else { Comes::New };
                open.shift(turn, due.sub_queue, due.id, Stand::Ready(comes));
            }
            Ends::Ttl => {
                open.expire(turn, due.id);
            }
        }
    }
}
