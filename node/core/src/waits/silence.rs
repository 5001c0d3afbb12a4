//! Which nodes have been silent for so long that nobody can be taken to listen there.
//!
//! A client that waits at a node that is cut off will not hear of its grant. The leader notices: it
//! hears from every member at least with the answer to each heartbeat. Once a member has been silent
//! for two election time-outs the leader has it written down (`LoseListeners`), so that grants made
//! from then on are claims.
//!
//! Silence counts from taking office: a new leader has not heard anybody yet. It also counts anew
//! when this process itself was away (stopped, or the machine asleep): what the others said meanwhile
//! waits unread.
//!
//! Being wrong costs little. A node that finds itself declared lost says that it is not; whoever waits
//! there keeps the place.

use std::collections::BTreeMap;

use crate::types::{LocalTime, NodeId};

/// See the module.
#[derive(Debug)]
pub(super) struct Silence {
    limit_ms: u64,
    /// Since when silence counts; `None`: this node does not lead.
    counts_from: Option<LocalTime>,
    ticked_at: LocalTime,
    heard: BTreeMap<NodeId, LocalTime>,
    /// Whose silence was written down, and when. Until it speaks.
    told: BTreeMap<NodeId, LocalTime>,
}

impl Silence {
    /// `limit_ms`: silence of this long is noticed.
    pub(super) fn new(limit_ms: u64) -> Self {
        let (heard, told) = (BTreeMap::new(), BTreeMap::new());
        Self { limit_ms, counts_from: None, ticked_at: LocalTime(0), heard, told }
    }

    /// A message came.
    pub(super) fn heard(&mut self, node: NodeId, now: LocalTime) {
        if self.counts_from.is_some() {
            self.heard.insert(node, now);
            self.told.remove(&node);
        }
    }

    /// Time passes. Often, compared with the limit.
    pub(super) fn tick(&mut self, now: LocalTime, leads: bool) {
        let away = now.since(self.ticked_at) > self.limit_ms / 2;
        self.ticked_at = now;
        if !leads {
            self.counts_from = None;
        } else if away || self.counts_from.is_none() {
            self.counts_from = Some(now);
            self.heard.clear();
            self.told.clear();
        }
    }

    /// True if this node's silence has to be written down now. Once for each silence, and again if
    /// that did not come about within another limit: the caller asks only about those that are not
    /// written down.
    pub(super) fn is_due(&mut self, node: NodeId, now: LocalTime) -> bool {
        let Some(from) = self.counts_from else { return false };
        let heard = self.heard.get(&node).copied().unwrap_or(from);
        let told = self.told.get(&node).copied();
        let due = now.since(heard.max(from)) >= self.limit_ms
            && told.is_none_or(|told| now.since(told) > self.limit_ms);
        if due {
            self.told.insert(node, now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(2);

    fn leader() -> Silence {
        let mut silence = Silence::new(1_600);
        silence.tick(LocalTime(0), true);
        silence
    }

    /// Ticks every 100 ms, and says when the node's silence was due.
    fn dues(silence: &mut Silence, times: std::ops::Range<u64>) -> Vec<u64> {
        let ticks = times.filter(|ms| ms.is_multiple_of(100));
        let due = |ms: &u64| {
            silence.tick(LocalTime(*ms), true);
            silence.is_due(NODE, LocalTime(*ms))
        };
        ticks.filter(due).collect()
    }

    #[test]
    fn a_node_that_was_never_heard_is_silent_from_the_leaders_taking_office() {
        assert_eq!(dues(&mut leader(), 0..1_700), [1_600]);
    }

    #[test]
    fn one_message_ends_a_silence_and_a_later_silence_is_another() {
        let mut silence = leader();
        assert_eq!(dues(&mut silence, 0..1_700), [1_600]);
        silence.heard(NODE, LocalTime(1_700));
        assert_eq!(dues(&mut silence, 1_700..3_400), [3_300]);
    }

    #[test]
    fn what_did_not_come_about_is_said_again_but_not_at_every_tick() {
        assert_eq!(dues(&mut leader(), 0..5_000), [1_600, 3_300]);
    }

    #[test]
    fn a_leader_that_was_away_itself_counts_anew() {
        let mut silence = leader();
        assert!(dues(&mut silence, 0..1_000).is_empty());
        assert!(dues(&mut silence, 60_000..61_600).is_empty());
        assert_eq!(dues(&mut silence, 61_600..61_700), [61_600]);
    }

    #[test]
    fn a_follower_notices_no_silence() {
        let mut silence = leader();
        silence.tick(LocalTime(800), false);
        silence.tick(LocalTime(1_600), false);
        assert!(!silence.is_due(NODE, LocalTime(1_600)));
    }
}
