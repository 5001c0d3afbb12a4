//! Linearizable reads without a log entry (ReadIndex, section 6.4).
//!
//! A read may be answered from a node's applied state once that state contains everything that was
//! answered anywhere before the read came in. The leader's commit index at that moment is such a point,
//! if it was still the leader *then*, which only a majority can say, in answer to a heartbeat round
//! that began after the read arrived. An answer to an earlier round proves nothing (etcd #20418), and
//! before an entry of its own term is committed a leader does not know the commit index at all.
//!
//! Reads that arrive while a round is under way share the next one.

use std::collections::{BTreeMap, VecDeque};

use super::message::{Message, ReadPoint};
use super::{Bug, Raft, Role};
use crate::types::{ClusterTime, Index, LocalTime, NodeId};

/// Who waits for an answer: this node (`None`) or another one, and its number for the read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    from: Option<NodeId>,
    id: u64,
}

/// Reads that share a round.
#[derive(Debug)]
struct Batch {
    round: u64,
    point: ReadPoint,
    askers: Vec<Asker>,
}

/// The leader's side.
#[derive(Debug, Default)]
pub(super) struct LeaderReads {
    /// Arrived since the last round began.
    arrived: Vec<Asker>,
    /// Waiting for their round to be confirmed, ascending.
    under_way: VecDeque<Batch>,
}

impl LeaderReads {
    /// Everyone who has no answer yet.
    pub(super) fn into_waiting(self) -> Vec<Asker> {
        self.under_way.into_iter().flat_map(|batch| batch.askers).chain(self.arrived).collect()
    }
}

/// The asking side: reads of this node's own shell.
#[derive(Debug, Default)]
pub(super) struct LocalReads {
    /// Sent to another leader: number and when.
    remote: BTreeMap<u64, LocalTime>,
    /// Confirmed: may be answered when its index is applied.
    confirmed: Vec<(ReadPoint, u64)>,
}

impl LocalReads {
    /// The leader that was asked is not (known to be) the leader any more: ask again.
    pub(super) fn fail_remote(&mut self, answers: &mut Vec<(u64, Option<ClusterTime>)>) {
        answers.extend(std::mem::take(&mut self.remote).into_keys().map(|id| (id, None)));
    }

    /// Answers what the applied state can answer now.
    pub(super) fn release(
        &mut self,
        applied: Index,
        answers: &mut Vec<(u64, Option<ClusterTime>)>,
    ) {
        self.confirmed.retain(|(point, id)| {
            let ready = point.index <= applied;
            if ready {
                answers.push((*id, Some(point.time)));
            }
            !ready
        });
    }
}

impl Raft {
    /// A read of this node's shell.
    pub(super) fn read(&mut self, id: u64) {
        if matches!(self.role, Role::Leader(_)) {
            return self.take_read(Asker { from: None, id });
        }
        match self.leader {
            Some(leader) => {
                self.reads.remote.insert(id, self.now);
                self.send(leader, Message::ReadRequest { id });
            }
            None => self.out.reads.push((id, None)),
        }
    }

    /// A read of another node's shell.
    pub(super) fn read_requested(&mut self, from: NodeId, id: u64) {
        let asker = Asker { from: Some(from), id };
        if matches!(self.role, Role::Leader(_)) {
            self.take_read(asker);
        } else {
            self.answer_read(asker, None);
        }
    }

    fn take_read(&mut self, asker: Asker) {
        if self.options.has(Bug::ReadWithoutRound) {
            let point = ReadPoint { index: self.commit, time: self.cluster_time() };
            return self.answer_read(asker, Some(point));
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.arrived.push(asker);
        }
    }

    /// What an entry would be stamped with now; at a follower, what the leader said last.
    pub(super) fn cluster_time(&self) -> ClusterTime {
        match &self.role {
            Role::Leader(leader) => leader.clock.read(self.now).max(self.log.last_stamp()),
            _ => self.heard_time,
        }
    }

    /// Begins a round for the reads that have arrived, unless one is under way that they can follow.
    pub(super) fn start_read_round(&mut self) {
        let point = ReadPoint { index: self.commit, time: self.cluster_time() };
        let Role::Leader(leader) = &mut self.role else { return };
        let may_start = !leader.reads.arrived.is_empty()
            && leader.reads.under_way.is_empty()
            && point.index >= leader.term_start;
        if !may_start {
            return;
        }
        let askers = std::mem::take(&mut leader.reads.arrived);
        let round = leader.round + 1;
        leader.reads.under_way.push_back(Batch { round, point, askers });
        self.heartbeat_round();
        self.confirm_reads();
    }

    /// Answers the batches whose round a majority has answered.
    pub(super) fn confirm_reads(&mut self) {
        loop {
            let Role::Leader(leader) = &self.role else { return };
            let Some(round) = leader.reads.under_way.front().map(|batch| batch.round) else {
                break;
            };
            if !self.majority_of(|progress| progress.acked_round >= round, true) {
                break;
            }
            let Role::Leader(leader) = &mut self.role else { return };
            let Some(batch) = leader.reads.under_way.pop_front() else { break };
            for asker in batch.askers {
                self.answer_read(asker, Some(batch.point));
            }
        }
    }

    /// Tells whoever asked; `None` means ask again.
    pub(super) fn answer_read(&mut self, asker: Asker, point: Option<ReadPoint>) {
        match (asker.from, point) {
            (Some(from), point) => self.send(from, Message::ReadReply { id: asker.id, point }),
            (None, Some(point)) => self.reads.confirmed.push((point, asker.id)),
            (None, None) => self.out.reads.push((asker.id, None)),
        }
    }

    /// The leader's answer to a read of ours. One that was given up meanwhile is ignored.
    pub(super) fn read_answered(&mut self, id: u64, point: Option<ReadPoint>) {
        if self.reads.remote.remove(&id).is_none() {
            return;
        }
        match point {
            Some(point) => self.reads.confirmed.push((point, id)),
            None => self.out.reads.push((id, None)),
        }
    }

    /// A question or its answer may be lost; after an election time-out the shell is told to repeat.
    pub(super) fn expire_remote_reads(&mut self) {
        let limit_ms = self.options.timing.election_max_ms;
        let now = self.now;
        let out = &mut self.out.reads;
        self.reads.remote.retain(|id, asked_at| {
            let keep = now.since(*asked_at) < limit_ms;
            if !keep {
                out.push((*id, None));
            }
            keep
        });
    }
}
