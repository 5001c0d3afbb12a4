//! Groups: messages that are delivered one after the other.
//!
//! # Problem
//!
//! Orders of one customer have to be worked on in their order, whoever works, and also when one of them
//! fails. So at most one message of a group may be *unsettled* (in flight, or waiting for its next try),
//! and the next one comes when that one is gone or dead.
//!
//! # Idea
//!
//! The messages of a group wait in a line of their own. What can be delivered holds the group as one
//! entry, and only while none of its messages is unsettled. A message that failed goes back to the *head*
//! of its group (BullMQ's groups put it at the tail, and the order was lost: their issue 2774). The
//! group itself goes to the tail of all that can be delivered, so a busy group does not starve the
//! others.
//!
//! A group's priority is that of its first message: priority never changes the order inside. A group
//! whose priority changes while it waits goes behind the others of its new priority.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::request::MessageId;
use super::topic::{End, Lane, Next, Rank};

/// The messages of one group, but for those that are delayed and were never delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// By place.
    pub(super) waiting: RedBlackTreeMapSync<i64, MessageId>,
    /// The unsettled one.
    pub(super) unsettled: Option<MessageId>,
    /// Where it stands among what can be delivered.
    pub(super) rank: Option<Rank>,
}

impl Lane {
    /// The group, made if it is not there.
    pub(super) fn group_mut(&mut self, name: &str) -> Option<&mut Group> {
        if !self.groups.contains_key(name) {
            self.groups.insert_mut(Arc::from(name), Group::default());
        }
        self.groups.get_mut(name)
    }

    /// Puts the group where it belongs after a change: it can be delivered if something waits and
    /// nothing is unsettled. `end`: where, if it was not there. True if it has come.
    pub(super) fn refresh_group(&mut self, name: &str, end: End) -> bool {
        let Some(group) = self.groups.get(name) else { return false };
        let before = group.rank;
        let first = group.waiting.first().map(|(_, id)| *id);
        if first.is_none() && group.unsettled.is_none() {
            self.set_group_rank(name, before, None);
            self.groups.remove_mut(name);
            return false;
        }
        let first = first.filter(|_| group.unsettled.is_none());
        let after = first.and_then(|id| self.messages.get(&id).cloned()).map(|message| {
            let stays = before.filter(|it| it.priority == message.rank(0).priority);
            stays.unwrap_or_else(|| message.rank(self.next_place(end)))
        });
        self.set_group_rank(name, before, after);
        before.is_none() && after.is_some()
    }

    fn set_group_rank(&mut self, name: &str, before: Option<Rank>, after: Option<Rank>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.ready.remove_mut(&before);
        }
        if let Some(after) = after {
            self.ready.insert_mut(after, Next::Group(Arc::from(name)));
        }
        if let Some(group) = self.groups.get_mut(name) {
            group.rank = after;
        }
    }
}
