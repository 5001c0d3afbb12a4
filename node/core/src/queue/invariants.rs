//! What must hold between any two entries. For tests and the simulator; serving never runs it.

use std::collections::{BTreeMap, BTreeSet};

use super::deadlines::Due;
use super::groups::Group;
use super::lifecycle::Usage;
use super::message::{Message, State};
use super::request::{MessageId, SubQueue};
use super::table::QueueTable;
use super::topic::{Counts, Lane, Next, Rank, Topic};

impl QueueTable {
    /// Checks the table.
    ///
    /// # Errors
    /// A sentence that names the broken rule, and where it is broken.
    pub fn check_invariants(&self) -> Result<(), String> {
        let (mut dues, mut usage) = (BTreeSet::new(), Usage::default());
        for (name, topic) in &self.topics {
            topic.check().map_err(|rule| format!("topic {name}: {rule}"))?;
            for (sub_queue, id, message) in topic.all_messages() {
                usage.messages += 1;
                usage.bytes += message.bytes();
                dues.extend(Due::of(name, sub_queue, id, message, self.mistake));
            }
        }
        require(usage == self.usage, "the messages of all topics are miscounted")?;
        require(self.dues.iter().eq(dues.iter()), "the ends to come are not those of messages")?;
        let forget: BTreeSet<_> =
            self.keys.iter().map(|(id, key)| (key.forget_at, id.clone())).collect();
        require(self.forget.iter().eq(forget.iter()), "the keys to be forgotten are not the keys")
    }
}

impl Topic {
    fn check(&self) -> Result<(), String> {
        let totals = &self.totals;
        let there = self.main.messages.size() as u64 + self.dead.messages.size() as u64;
        let gone = totals.acked + totals.expired + totals.purged;
        require(totals.pushed == gone + there, "a message was lost, or made of nothing")?;
        let back = totals.redriven + self.dead.messages.size() as u64;
        require(totals.died >= back, "more are dead than have died")?;
        require(totals.delivered >= totals.given_back, "more was given back than delivered")?;
        require(self.dead.groups.is_empty(), "the dead have groups")?;
        let mut deliveries = BTreeSet::new();
        for (sub_queue, id, message) in self.all_messages() {
            let dead = sub_queue == SubQueue::Dead;
            require(message.death.is_some() == dead, "a message is in the wrong part")?;
            let bytes = message.content.bytes();
            require(message.content_bytes == bytes, "the bytes of a message are miscounted")?;
            let Some(delivery) = message.delivery() else { continue };
            require(message.deliveries > 0, "a message in flight was never delivered")?;
            require(deliveries.insert(delivery.receipt(id)), "two deliveries have one receipt")?;
        }
        let twice = self.main.messages.keys().any(|id| self.dead.messages.contains_key(id));
        require(!twice, "a message is in both parts")?;
        self.main.check().map_err(|rule| format!("main: {rule}"))?;
        self.dead.check().map_err(|rule| format!("dead: {rule}"))
    }

    fn all_messages(&self) -> impl Iterator<Item = (SubQueue, MessageId, &Message)> {
        let of = |sub_queue| {
            let messages = self.lane(sub_queue).messages.iter();
            messages.map(move |(id, message)| (sub_queue, *id, message))
        };
        of(SubQueue::Main).chain(of(SubQueue::Dead))
    }
}

impl Lane {
    /// The indexes say what the messages say, and nothing more.
    fn check(&self) -> Result<(), String> {
        let mut expected = Expected::default();
        for (id, message) in &self.messages {
            expected.message(*id, message)?;
        }
        for (name, group) in &mut expected.groups {
            let known = self.groups.get(name.as_str()).ok_or("a group is not known")?;
            // Its place is its own; whether it has one, and at which priority, follows.
            let first = group.waiting.first().filter(|_| group.unsettled.is_none());
            let first = first.and_then(|(_, id)| self.messages.get(id));
            let place = known.rank.map(|rank| rank.place);
            require(first.is_some() == place.is_some(), "a group is delivered when it may not be")?;
            group.rank = first.zip(place).map(|(first, place)| first.rank(place));
            let next = group.rank.map(|rank| (rank, Next::Group(name.as_str().into())));
            expected.ready.extend(next);
        }
        let groups = self.groups.iter().map(|(name, group)| (name.to_string(), group));
        let same = groups.eq(expected.groups.iter().map(|(name, group)| (name.clone(), group)));
        require(same, "the groups are not those of the messages")?;
        let places = |rank: &Rank| (self.places.0..self.places.1).contains(&rank.place);
        require(self.ready.keys().all(places), "a place was not given out")?;
        require(self.ready.iter().eq(expected.ready.iter()), "what is ready is not what waits")?;
        require(self.counts == expected.counts, "the messages are miscounted")?;
        require(self.bytes == expected.bytes, "the bytes are miscounted")
    }
}

/// What the indexes have to say.
#[derive(Default)]
struct Expected {
    ready: BTreeMap<Rank, Next>,
    groups: BTreeMap<String, Group>,
    counts: Counts,
    bytes: u64,
}

impl Expected {
    fn message(&mut self, id: MessageId, message: &Message) -> Result<(), String> {
        *self.counts.of_mut(&message.state) += 1;
        self.bytes += message.bytes();
        let Some(group) = message.group() else {
            if let State::Ready { place } = message.state {
                let before = self.ready.insert(message.rank(place), Next::Message(id));
                require(before.is_none(), "two messages have one place")?;
            }
            return Ok(());
        };
        match message.state {
            State::Delayed { retry: false, .. } => Ok(()),
            State::Ready { place } => {
                self.groups.entry(group.to_owned()).or_default().waiting.insert_mut(place, id);
                Ok(())
            }
            State::Delayed { retry: true, .. } | State::InFlight(_) => {
                let group = self.groups.entry(group.to_owned()).or_default();
                require(group.unsettled.is_none(), "two messages of a group are unsettled")?;
                group.unsettled = Some(id);
                Ok(())
            }
        }
    }
}

fn require(holds: bool, broken_rule: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken_rule.to_owned()) }
}
