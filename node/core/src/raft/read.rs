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

use super::message::Message;
use super::{Bug, Raft, Role};
use crate::types::{Index, LocalTime, NodeId};

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
    index: Index,
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
    /// Confirmed: may be answered when this index is applied.
    confirmed: Vec<(Index, u64)>,
}

impl LocalReads {
    /// The leader that was asked is not (known to be) the leader any more: ask again.
    pub(super) fn fail_remote(&mut self, answers: &mut Vec<(u64, bool)>) {
        answers.extend(std::mem::take(&mut self.remote).into_keys().map(|id| (id, false)));
    }

    /// Answers what the applied state can answer now.
    pub(super) fn release(&mut self, applied: Index, answers: &mut Vec<(u64, bool)>) {
        self.confirmed.retain(|(index, id)| {
            let ready = *index <= applied;
            if ready {
                answers.push((*id, true));
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
            None => self.out.reads.push((id, false)),
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
            return self.answer_read(asker, Some(self.commit));
        }
        if let Role::Leader(leader) = &mut self.role {
            leader.reads.arrived.push(asker);
        }
    }

    /// Begins a round for the reads that have arrived, unless one is under way that they can follow.
    pub(super) fn start_read_round(&mut self) {
        let commit = self.commit;
        let Role::Leader(leader) = &mut self.role else { return };
        let may_start = !leader.reads.arrived.is_empty()
            && leader.reads.under_way.is_empty()
            && commit >= leader.term_start;
        if !may_start {
            return;
        }
        let askers = std::mem::take(&mut leader.reads.arrived);
        let round = leader.round + 1;
        leader.reads.under_way.push_back(Batch { round, index: commit, askers });
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
                self.answer_read(asker, Some(batch.index));
            }
        }
    }

    /// Tells whoever asked; `None` means ask again.
    pub(super) fn answer_read(&mut self, asker: Asker, index: Option<Index>) {
        match (asker.from, index) {
            (Some(from), index) => self.send(from, Message::ReadReply { id: asker.id, index }),
            (None, Some(index)) => self.reads.confirmed.push((index, asker.id)),
            (None, None) => self.out.reads.push((asker.id, false)),
        }
    }

    /// The leader's answer to a read of ours. One that was given up meanwhile is ignored.
    pub(super) fn read_answered(&mut self, id: u64, index: Option<Index>) {
        if self.reads.remote.remove(&id).is_none() {
            return;
        }
        match index {
            Some(index) => self.reads.confirmed.push((index, id)),
            None => self.out.reads.push((id, false)),
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
                out.push((*id, false));
            }
            keep
        });
    }
}
