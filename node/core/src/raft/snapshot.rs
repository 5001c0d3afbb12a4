//! Snapshots: shortening the own log, and bringing a follower up that needs what is no longer in it.
//!
//! A snapshot travels in pieces that the receiver asks for by offset, so a broken connection resumes
//! where it was. The core sees only offsets; bytes and files are the shell's.
//!
//! While one travels, and until the follower has caught up behind it, the leader keeps the log from its
//! index on, within a bound. Otherwise a cluster that writes more than the log's tail in the time that
//! a transfer takes would send its follower from one snapshot to the next: it would never reach the
//! log, and never see the entries in which its own clients' answers are. Rejected: starting over with
//! the newest snapshot whenever there is one; then not even the first would ever arrive.
//!
//! Installing is the delicate step. If the local log holds the snapshot's last entry, with the same
//! term, then everything behind it may still be right and stays. If not, the log contradicts or does
//! not reach the snapshot, and all of it is void: keeping a tail would put entries behind an index
//! whose term they do not follow (hashicorp/raft #697, openraft #1892).

use bytes::Bytes;

use super::boots::BootLog;
use super::entry::{Record, SnapshotMeta};
use super::log::RaftLog;
use super::membership::MembershipLog;
use super::message::{AppendOutcome, Message, Position};
use super::progress::Pace;
use super::ready::{SnapshotRead, SnapshotWrite};
use super::{Bug, Limits, Raft, Role};
use crate::types::{Index, NodeId};

/// A snapshot being received.
#[derive(Debug)]
pub(super) struct Incoming {
    meta: SnapshotMeta,
    next_offset: u64,
    complete: bool,
}

impl Raft {
    /// Names a snapshot of the machine as it is after applying `index`; `None` if the log no longer
    /// knows that entry.
    #[must_use]
    pub fn snapshot_meta(&self, index: Index) -> Option<SnapshotMeta> {
        let entry = self.log.get(index)?;
        let membership = self.configurations.at(index)?.clone();
        let (term, stamp, boots) = (entry.term, entry.stamp, self.boots.at(index));
        Some(SnapshotMeta { index, term, stamp, membership, boots })
    }

    /// The own machine's snapshot is on disk: the log before it may go, except for a tail that spares
    /// slow followers the snapshot, and for what a follower will want that an older one is bringing up.
    pub(super) fn snapshot_taken(&mut self, meta: SnapshotMeta) {
        let newest = self.snapshot.as_ref().map_or(Index(0), |have| have.index);
        if meta.index <= newest || meta.index > self.applied {
            return;
        }
        let log_start = self.wanted_from(self.tail_start(meta.index)).max(self.log.first());
        self.log.compact(log_start);
        self.configurations.compact(meta.index);
        self.boots.compact(meta.index);
        self.record_snapshot(meta, false);
    }

    /// Where the tail begins that is kept behind a snapshot of `index`.
    pub(super) fn tail_start(&self, index: Index) -> Index {
        let Limits { log_tail_entries, log_tail_bytes, .. } = self.options.limits;
        let by_entries = Index(index.0.saturating_sub(log_tail_entries) + 1);
        self.log.reach_back(index.next(), by_entries, log_tail_bytes)
    }

    /// `tail_start`, or an entry before it that a living follower will want next. Not at any price: a
    /// follower that lives and never gets there must not keep the log growing for ever.
    fn wanted_from(&self, tail_start: Index) -> Index {
        let Role::Leader(leader) = &self.role else { return tail_start };
        let held_bytes = self.options.limits.log_held_bytes;
        let reach = self.log.reach_back(tail_start, Index(1), held_bytes);
        let living = leader.members.values().filter(|progress| self.recently_heard(progress));
        let wanted = living.filter_map(|progress| progress.wants_from);
        wanted.filter(|from| *from >= reach).min().map_or(tail_start, |from| from.min(tail_start))
    }

    fn record_snapshot(&mut self, meta: SnapshotMeta, discard_log: bool) {
        self.snapshot = Some(meta.clone());
        let record = Record::Snapshot {
            meta,
            log_start: self.log.first(),
            log_start_prev_term: self.log.base().term,
            discard_log,
        };
        self.disk.push(self.now, record);
    }

    /// Leader: asks the shell for the piece that a follower needs next.
    pub(super) fn ask_for_chunk(&mut self, to: NodeId) {
        let Some(progress) = self.progress_of(to) else { return };
        if let Pace::Snapshot { index, offset, .. } = progress.pace {
            self.out.snapshot_reads.push(SnapshotRead { to, index, offset });
        }
    }

    /// Leader: the shell has the piece (or the first one of a newer snapshot).
    pub(super) fn send_chunk(
        &mut self,
        to: NodeId,
        meta: SnapshotMeta,
        offset: u64,
        bytes: Bytes,
        last: bool,
    ) {
        let now = self.now;
        let Some(progress) = self.progress_of(to) else { return };
        if matches!(progress.pace, Pace::Snapshot { .. }) {
            progress.snapshot_at(meta.index, offset, now);
            self.send(to, Message::SnapshotChunk { meta, offset, bytes, last });
        }
    }

    /// Leader: the follower asks for the next piece. An answer that asks for what is under way already
    /// is a doubled one; following it would start a second stream beside the first.
    pub(super) fn chunk_answered(&mut self, from: NodeId, index: Index, next_offset: u64) {
        let now = self.now;
        let Some(progress) = self.progress_of(from) else { return };
        progress.heard_at = now;
        if let Pace::Snapshot { index: sending, offset, sent_at } = &mut progress.pace
            && *sending == index
            && *offset != next_offset
        {
            (*offset, *sent_at) = (next_offset, now);
            self.ask_for_chunk(from);
        }
    }

    /// Follower: a piece came. What fits goes to the shell; the answer says what is wanted next.
    pub(super) fn chunk_received(
        &mut self,
        from: NodeId,
        meta: SnapshotMeta,
        offset: u64,
        bytes: Bytes,
        last: bool,
    ) {
        if !self.follow(from) {
            return;
        }
        if meta.index <= self.commit {
            let outcome = AppendOutcome::Matched(self.commit);
            return self.send_after_sync(from, Message::AppendReply { outcome });
        }
        let index = meta.index;
        if self.incoming.as_ref().is_none_or(|incoming| incoming.meta != meta) {
            self.incoming = Some(Incoming { meta: meta.clone(), next_offset: 0, complete: false });
        }
        let Some(incoming) = &mut self.incoming else { return };
        if offset == incoming.next_offset && !incoming.complete {
            incoming.next_offset += bytes.len() as u64;
            incoming.complete = last;
            self.out.snapshot_writes.push(SnapshotWrite { meta, offset, bytes, last });
        }
        let (complete, next_offset) = (incoming.complete, incoming.next_offset);
        if !complete {
            self.send(from, Message::SnapshotReply { index, next_offset });
        }
    }

    /// Follower: the snapshot is whole, checked and synced.
    pub(super) fn install_snapshot(&mut self, meta: SnapshotMeta) {
        self.incoming = None;
        // A node that was elected meanwhile holds all that is committed: it needs no snapshot.
        if meta.index <= self.commit || matches!(self.role, Role::Leader(_)) {
            return;
        }
        let keeps_log = match self.log.term_at(meta.index) {
            Some(term) => term == meta.term || self.options.has(Bug::SnapshotKeepsTail),
            None => false,
        };
        if keeps_log {
            self.log.compact(meta.index.next());
            self.configurations.compact(meta.index);
            self.boots.compact(meta.index);
        } else {
            self.disk.truncated(meta.index);
            let base = Position { index: meta.index, term: meta.term };
            self.log = RaftLog::new(base, meta.stamp, Vec::new());
            self.configurations = MembershipLog::from_snapshot(meta.index, meta.membership.clone());
            self.boots = BootLog::from_snapshot(meta.boots.clone());
        }
        self.commit = meta.index;
        self.handed = meta.index;
        self.out.apply.clear();
        self.out.restore = Some(meta.clone());
        self.record_snapshot(meta, !keeps_log);
        if let Some(leader) = self.leader {
            let outcome = AppendOutcome::Matched(self.commit);
            self.send_after_sync(leader, Message::AppendReply { outcome });
        }
    }
}
