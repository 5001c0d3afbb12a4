//! Sending the log to the others.
//!
//! To a member whose log meets ours at a known point the leader sends ahead of the answers, up to a
//! window in messages and bytes. Nothing tells it that a message was lost, so an append that stays
//! unanswered for a few heartbeats sends it back to probing. Sending twice is harmless; not sending
//! would stop a follower for good.

use super::entry::Entry;
use super::message::{AppendOutcome, Message, Position};
use super::progress::{Pace, Progress};
use super::{Bug, Raft, Role};
use crate::types::{Index, NodeId};

/// Heartbeats without an answer after which what was sent counts as lost.
const LOST_AFTER_HEARTBEATS: u64 = 4;

impl Raft {
    /// Sends whatever may be sent now; called once before every [`super::Ready`], so that what came
    /// in together goes out together.
    pub(super) fn flush_leader(&mut self) {
        if !matches!(self.role, Role::Leader(_)) {
            return;
        }
        self.advance_commit();
        self.transfer_when_caught_up();
        self.start_read_round();
        let Role::Leader(leader) = &self.role else { return };
        let members: Vec<NodeId> = leader.members.keys().copied().collect();
        for id in members {
            self.replicate(id);
            self.tell_commit(id);
        }
    }

    /// Sends entries to one member as far as its pace and window allow.
    fn replicate(&mut self, id: NodeId) {
        while let Some((prev, entries)) = self.next_append(id) {
            let commit = self.commit;
            self.note_sent(id, &entries);
            self.send(id, Message::Append { prev, entries, commit });
        }
    }

    /// What to send next, if anything may be sent.
    fn next_append(&mut self, id: NodeId) -> Option<(Position, Vec<Entry>)> {
        let limits = self.options.limits;
        let Role::Leader(leader) = &mut self.role else { return None };
        let progress = leader.members.get_mut(&id)?;
        let may_send = match progress.pace {
            Pace::Probe { sent_at } => sent_at.is_none(),
            Pace::Replicate => {
                progress.next <= self.log.last().index
                    && progress.window_open(limits.window_messages, limits.window_bytes)
            }
            Pace::Snapshot { .. } => false,
        };
        if !may_send {
            return None;
        }
        let prev = progress.next.prev();
        let Some(term) = self.log.term_at(prev) else {
            self.begin_snapshot(id);
            return None;
        };
        let entries = self.log.slice(progress.next, limits.append_bytes);
        Some((Position { index: prev, term }, entries))
    }

    fn note_sent(&mut self, id: NodeId, entries: &[Entry]) {
        let now = self.now;
        let commit = self.commit;
        let Some(progress) = self.progress_of(id) else { return };
        match &mut progress.pace {
            Pace::Probe { sent_at } => *sent_at = Some(now),
            Pace::Replicate => {
                let bytes = entries.iter().map(Entry::weight_bytes).sum();
                let last = entries.last().map_or(progress.next.prev(), |entry| entry.index);
                progress.sent(last, bytes, now);
                progress.told_commit = commit;
            }
            Pace::Snapshot { .. } => {}
        }
    }

    /// A follower's clients wait for the commit index, so it is told at once.
    fn tell_commit(&mut self, id: NodeId) {
        let commit = self.commit;
        let Some(progress) = self.progress_of(id) else { return };
        let commit = commit.min(progress.matched);
        if commit > progress.told_commit {
            progress.told_commit = commit;
            self.send(id, Message::Commit { commit });
        }
    }

    /// A follower's answer to an append.
    pub(super) fn append_answered(&mut self, from: NodeId, outcome: AppendOutcome) {
        let now = self.now;
        let Some(progress) = self.progress_of(from) else { return };
        progress.heard_at = now;
        match outcome {
            AppendOutcome::Matched(index) => self.matched(from, index),
            AppendOutcome::Conflict { prev, hint } => self.conflicted(from, prev, hint),
        }
    }

    /// True if this member is being brought up by a snapshot. Others are asked no more, since the
    /// answer costs a walk along the log's tail.
    fn wants_more(&self, id: NodeId) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        leader.members.get(&id).is_some_and(|progress| progress.wants_from.is_some())
    }

    fn matched(&mut self, from: NodeId, index: Index) {
        let near = self.wants_more(from).then(|| self.tail_start(self.commit).prev());
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.members.get_mut(&from) else { return };
        let round = leader.round;
        let log_first = self.log.first();
        progress.match_to(index, round);
        near.into_iter().for_each(|near| progress.note_brought_up(near));
        let meets = match progress.pace {
            Pace::Probe { .. } => true,
            Pace::Snapshot { .. } => progress.matched.next() >= log_first,
            Pace::Replicate => false,
        };
        match progress.pace {
            _ if meets => {
                progress.next = progress.matched.next();
                progress.pace = Pace::Replicate;
            }
            // It has this snapshot, and the log has moved on meanwhile: probing finds that out and
            // begins the newest one.
            Pace::Snapshot { index: sent, .. } if progress.matched >= sent => {
                progress.probe_from(progress.matched.next());
            }
            Pace::Probe { .. } | Pace::Snapshot { .. } | Pace::Replicate => {}
        }
        self.advance_commit();
    }

    /// Probes where the logs may agree. An old answer, to an append below what has matched since or
    /// to another probe, is known by its `prev` and ignored.
    fn conflicted(&mut self, from: NodeId, prev: Index, hint: Position) {
        let agree = self.log.last_possible_match(hint).index;
        let now = self.now;
        let Some(progress) = self.progress_of(from) else { return };
        let stale = prev <= progress.matched
            || (matches!(progress.pace, Pace::Probe { .. }) && prev != progress.next.prev())
            || matches!(progress.pace, Pace::Snapshot { .. });
        if stale {
            return;
        }
        progress.probe_from(agree.min(prev.prev()).next());
        if hint.index < progress.matched {
            // It acknowledged more than it says it has: a late answer, or a disk that was set back.
            // Nothing is sent for a while, so that the next heartbeat can tell before an append or a
            // snapshot has filled the gap and hidden it.
            progress.pace = Pace::Probe { sent_at: Some(now) };
        }
    }

    /// The connection broke.
    pub(super) fn unreachable(&mut self, id: NodeId) {
        let Some(progress) = self.progress_of(id) else { return };
        if matches!(progress.pace, Pace::Replicate) {
            progress.probe_from(progress.matched.next());
        }
    }

    /// What stayed unanswered for too long is sent again.
    pub(super) fn resend_lost(&mut self) {
        let now = self.now;
        let lost_after_ms = self.options.timing.heartbeat_ms * LOST_AFTER_HEARTBEATS;
        let election_max_ms = self.options.timing.election_max_ms;
        let Role::Leader(leader) = &mut self.role else { return };
        let mut chunks = Vec::new();
        for (id, progress) in &mut leader.members {
            match &mut progress.pace {
                Pace::Probe { sent_at } => {
                    if sent_at.is_some_and(|at| now.since(at) >= lost_after_ms) {
                        *sent_at = None;
                    }
                }
                Pace::Replicate => {
                    if progress.oldest_in_flight_ms(now) >= lost_after_ms {
                        progress.probe_from(progress.matched.next());
                    }
                }
                // Not to a member that is not there: it would only keep an old snapshot alive.
                Pace::Snapshot { sent_at, .. } => {
                    let there = now.since(progress.heard_at) < election_max_ms;
                    if there && now.since(*sent_at) >= lost_after_ms {
                        *sent_at = now;
                        chunks.push(*id);
                    }
                }
            }
        }
        for id in chunks {
            self.ask_for_chunk(id);
        }
    }

    /// A member's progress, if this node leads.
    pub(super) fn progress_of(&mut self, id: NodeId) -> Option<&mut Progress> {
        match &mut self.role {
            Role::Leader(leader) => leader.members.get_mut(&id),
            Role::Follower | Role::Candidate(_) => None,
        }
    }

    /// The log no longer holds what this member needs next.
    fn begin_snapshot(&mut self, id: NodeId) {
        if self.options.has(Bug::NoSnapshotForPurged) {
            return;
        }
        let (now, Some(index)) = (self.now, self.snapshot.as_ref().map(|meta| meta.index)) else {
            return;
        };
        if let Some(progress) = self.progress_of(id) {
            progress.start_snapshot(index, now);
            self.ask_for_chunk(id);
        }
    }
}
