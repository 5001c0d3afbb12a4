//! A topic: two lanes of messages, its settings, and what it has counted.

use std::cmp::Reverse;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use super::groups::Group;
use super::message::{Message, State};
use super::request::{MessageId, SubQueue, TopicId};
use super::settings::TopicSettings;

/// What a topic has done since it was made. Rises only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Messages that were pushed; a duplicate is none.
    pub pushed: u64,
    /// Pushes that were duplicates.
    pub duplicates: u64,
    /// Deliveries, those that were given back included.
    pub delivered: u64,
    /// Deliveries that were given back.
    pub given_back: u64,
    /// Messages that were acknowledged, in either part.
    pub acked: u64,
    /// Deliveries that were nacked.
    pub nacked: u64,
    /// Deliveries that ended without a word.
    pub timed_out: u64,
    /// Messages that died, each time that they did.
    pub died: u64,
    /// Dead messages that were moved back.
    pub redriven: u64,
    /// Messages that were dropped at the end of their time to live.
    pub expired: u64,
    /// Messages that were purged, or removed by their id.
    pub purged: u64,
}

/// How many messages of a part do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They can be delivered, or wait for others of their group.
    pub ready: u64,
    /// They will be ready.
    pub delayed: u64,
    /// Somebody works on them.
    pub in_flight: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    pub(super) id: TopicId,
    pub(super) settings: TopicSettings,
    pub(super) totals: Totals,
    pub(super) main: Lane,
    pub(super) dead: Lane,
}

/// A part of a topic: its messages, and in which order they are delivered.
#[derive(Clone, Debug, Default)]
pub(super) struct Lane {
    /// The state.
    pub(super) messages: RedBlackTreeMapSync<MessageId, Message>,
    /// Places that were given out: the lowest, and one beyond the highest.
    pub(super) places: (i64, i64),
    /// The same from other sides; see `lifecycle.rs`.
    pub(super) ready: RedBlackTreeMapSync<Rank, Next>,
    pub(super) groups: RedBlackTreeMapSync<Arc<str>, Group>,
    pub(super) counts: Counts,
    pub(super) bytes: u64,
}

/// Where something stands among what can be delivered: by priority, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) priority: Reverse<u8>,
    pub(super) place: i64,
}

/// What can be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// This message.
    Message(MessageId),
    /// The first of this group.
    Group(Arc<str>),
}

/// At which end something joins those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Head,
    Tail,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.ready + self.delayed + self.in_flight
    }

    pub(super) fn of_mut(&mut self, state: &State) -> &mut u64 {
        match state {
            State::Ready { .. } => &mut self.ready,
            State::Delayed { .. } => &mut self.delayed,
            State::InFlight(_) => &mut self.in_flight,
        }
    }
}

impl Topic {
    pub(super) fn new(name: Arc<str>, id: TopicId, settings: TopicSettings) -> Self {
        let (totals, main, dead) = (Totals::default(), Lane::default(), Lane::default());
        Self { name, id, settings, totals, main, dead }
    }

    pub(super) fn lane(&self, sub_queue: SubQueue) -> &Lane {
        match sub_queue {
            SubQueue::Main => &self.main,
            SubQueue::Dead => &self.dead,
        }
    }

    pub(super) fn lane_mut(&mut self, sub_queue: SubQueue) -> &mut Lane {
        match sub_queue {
            SubQueue::Main => &mut self.main,
            SubQueue::Dead => &mut self.dead,
        }
    }

    /// Where a message is, and what it is.
    pub(super) fn find(&self, id: MessageId) -> Option<(SubQueue, &Message)> {
        let in_lane = |sub_queue| Some((sub_queue, self.lane(sub_queue).messages.get(&id)?));
        in_lane(SubQueue::Main).or_else(|| in_lane(SubQueue::Dead))
    }

    pub(super) fn messages(&self) -> u64 {
        self.main.counts.sum() + self.dead.counts.sum()
    }
}

impl Lane {
    /// A place beyond all that were given out.
    pub(super) fn next_place(&mut self, end: End) -> i64 {
        match end {
            End::Head => {
                self.places.0 -= 1;
                self.places.0
            }
            End::Tail => {
                self.places.1 += 1;
                self.places.1 - 1
            }
        }
    }

    /// What would be delivered first.
    pub(super) fn first_ready(&self) -> Option<MessageId> {
        self.ready.first().and_then(|(_, next)| self.head(next))
    }

    /// The message that stands for this.
    pub(super) fn head(&self, next: &Next) -> Option<MessageId> {
        match next {
            Next::Message(id) => Some(*id),
            Next::Group(name) => {
                let group = self.groups.get(name)?;
                group.waiting.first().map(|(_, id)| *id)
            }
        }
    }
}

impl Message {
    /// Its rank at this place. Dead messages wait in the order of their deaths.
    pub(super) fn rank(&self, place: i64) -> Rank {
        let priority = if self.death.is_none() { self.content.priority } else { 0 };
        Rank { priority: Reverse(priority), place }
    }

    /// Its group. The dead have none: their order is lost.
    pub(super) fn group(&self) -> Option<&str> {
        self.content.group.as_deref().filter(|_| self.death.is_none())
    }
}
