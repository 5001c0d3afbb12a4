//! Leading: taking proposals in, committing, keeping time, and knowing when to stop.
//!
//! A leader stops leading by itself in two cases that a heartbeat alone would hide: when a majority
//! has not answered for an election time-out (check-quorum, section 6.2: it may be cut off one way),
//! and when its disk has not finished a sync for an election time-out although the disks of a majority
//! without it work (hashicorp/raft #503: heartbeats go on, nothing commits, nobody is elected).

use std::collections::BTreeMap;

use super::clock::StampClock;
use super::entry::{Entry, Payload};
use super::message::{Commands, Message, Refusal, StateHash};
use super::progress::Progress;
use super::read::LeaderReads;
use super::transfer::Transfer;
use super::{Bug, Raft, Role};
use crate::quorum;
use crate::types::{BootId, ClusterTime, Index, LocalTime, NodeId};

/// While anything is timed, time stands in the log at least this often, in milliseconds: the most that
/// a lease can grow by a change of leader, beyond the time without one.
const TIME_MARK_MS: u64 = 1_000;

/// What only a leader has.
#[derive(Debug)]
pub(super) struct Leader {
    /// Every other member.
    pub(super) members: BTreeMap<NodeId, Progress>,
    pub(super) clock: StampClock,
    /// The first entry of this term: nothing commits, and no read is answered, before it does.
    pub(super) term_start: Index,
    /// Number of the latest heartbeat round.
    pub(super) round: u64,
    heartbeat_at: LocalTime,
    quorum_check_at: LocalTime,
    /// Bytes taken in above the commit index.
    uncommitted_bytes: usize,
    pub(super) reads: LeaderReads,
    pub(super) transfer: Option<Transfer>,
    pub(super) quorum_hash: Option<StateHash>,
}

impl Raft {
    /// Won: probe everybody, and start the term with an entry of its own.
    pub(super) fn become_leader(&mut self) {
        let next = self.log.last().index.next();
        let others = self.membership().into_iter().flat_map(super::membership::Membership::members);
        let members: BTreeMap<NodeId, Progress> = others
            .filter(|id| *id != self.options.id)
            .map(|id| (id, Progress::new(next, self.now)))
            .collect();
        let uncommitted = self.log.slice(self.commit.next(), usize::MAX);
        self.role = Role::Leader(Box::new(Leader {
            members,
            clock: StampClock::new(self.log.last_stamp(), self.now),
            term_start: next,
            round: 0,
            heartbeat_at: self.now,
            quorum_check_at: self.now.plus(self.options.timing.election_max_ms),
            uncommitted_bytes: uncommitted.iter().map(Entry::weight_bytes).sum(),
            reads: LeaderReads::default(),
            transfer: None,
            quorum_hash: None,
        }));
        self.leader = Some(self.options.id);
        self.append_stamped(Payload::Empty);
        self.heartbeat_round();
    }

    /// Everything that only the leader could still have answered is answered with "ask again".
    pub(super) fn give_up_lead(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        let unanswered = std::mem::take(&mut leader.reads).into_waiting();
        self.role = Role::Follower;
        self.leader = None;
        for read in unanswered {
            self.answer_read(read, None);
        }
    }

    /// Stops leading without a successor in sight.
    pub(super) fn step_down(&mut self) {
        self.become_follower(self.hard.term, None);
    }

    /// Takes commands in here, or passes them on to the leader.
    pub(super) fn propose(&mut self, ticket: u64, commands: Commands) {
        if matches!(self.role, Role::Leader(_)) {
            if let Err(refusal) = self.take_in(commands) {
                self.out.refused.push((ticket, refusal));
            }
            return;
        }
        match self.leader {
            Some(leader) => self.send(leader, Message::Forward { ticket, commands }),
            None => self.out.refused.push((ticket, Refusal::NoLeader)),
        }
    }

    /// Commands from another node. One hop: who does not lead says so.
    pub(super) fn forwarded(&mut self, from: NodeId, ticket: u64, commands: Commands) {
        if let Err(refusal) = self.take_in(commands) {
            self.send(from, Message::ForwardRefused { ticket, refusal });
        }
    }

    /// Appends commands, all or none. One that is too large must not get into the log: no message
    /// could carry it to the followers, and nothing behind it would ever be committed.
    fn take_in(&mut self, commands: Commands) -> Result<(), Refusal> {
        let limits = &self.options.limits;
        let cap = limits.uncommitted_bytes / if commands.yields { 2 } else { 1 };
        if commands.list.iter().any(|command| command.len() > limits.command_bytes) {
            return Err(Refusal::TooLarge);
        }
        let Role::Leader(leader) = &self.role else { return Err(Refusal::NoLeader) };
        if leader.transfer.is_some() {
            return Err(Refusal::Transferring);
        }
        if leader.uncommitted_bytes >= cap {
            return Err(Refusal::Overloaded);
        }
        for command in commands.list {
            self.append_stamped(Payload::Command(command));
        }
        Ok(())
    }

    /// Appends an entry of the own term with the current cluster time.
    pub(super) fn append_stamped(&mut self, payload: Payload) {
        let Role::Leader(leader) = &mut self.role else { return };
        let stamp = if self.options.has(Bug::StampFallsBack) {
            ClusterTime(self.now.0 / 2)
        } else {
            leader.clock.read(self.now).max(self.log.last_stamp())
        };
        let index = self.log.last().index.next();
        let entry = Entry { term: self.hard.term, index, stamp, payload };
        leader.uncommitted_bytes += entry.weight_bytes();
        self.append_entry(entry);
        self.advance_commit_of_one();
    }

    /// Writes the time into the log when the machine has something to end, and now and then while
    /// anything is timed. If the last entry already carries a late enough stamp, applying it will do.
    pub(super) fn mark_time(&mut self) {
        let (Role::Leader(leader), Some(due)) = (&self.role, self.next_due) else { return };
        let now = leader.clock.read(self.now);
        let last = self.log.last_stamp();
        let all_applied = self.applied == self.log.last().index;
        let something_ends = due <= now && (last < due || all_applied);
        if something_ends || now.since(last) >= TIME_MARK_MS {
            self.append_stamped(Payload::Empty);
        }
    }

    /// A leader's share of `tick`.
    pub(super) fn leader_tick(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        if self.now >= leader.quorum_check_at {
            leader.quorum_check_at = self.now.plus(self.options.timing.heartbeat_ms);
            if self.lost_quorum() || self.disk_hangs() {
                return self.step_down();
            }
        }
        self.mark_time();
        self.transfer_tick();
        // Not tied to the heartbeat: reads begin rounds of their own and would push it ahead for ever.
        self.resend_lost();
        let Role::Leader(leader) = &mut self.role else { return };
        if self.now >= leader.heartbeat_at {
            self.heartbeat_round();
        }
    }

    /// True if a majority, this node included, has not been heard within an election time-out.
    fn lost_quorum(&self) -> bool {
        !self.options.has(Bug::NoCheckQuorum)
            && !self.majority_of(|progress| self.recently_heard(progress), true)
    }

    /// True if the own disk hangs although a majority without this node could go on.
    fn disk_hangs(&self) -> bool {
        let limit_ms = self.options.timing.election_max_ms;
        !self.options.has(Bug::DiskHangIgnored)
            && self.disk.oldest_age_ms(self.now) >= limit_ms
            && self.majority_of(
                |progress| self.recently_heard(progress) && progress.sync_age_ms < limit_ms,
                false,
            )
    }

    pub(super) fn recently_heard(&self, progress: &Progress) -> bool {
        self.now.since(progress.heard_at) < self.options.timing.election_max_ms
    }

    /// True if the members for which `agrees` holds, and this node if `with_self`, are a majority.
    pub(super) fn majority_of(&self, agrees: impl Fn(&Progress) -> bool, with_self: bool) -> bool {
        let (Role::Leader(leader), Some(membership)) = (&self.role, self.membership()) else {
            return false;
        };
        quorum::agreed(&membership.voters, &membership.outgoing, |id| {
            if id == self.options.id {
                with_self
            } else {
                leader.members.get(&id).is_some_and(&agrees)
            }
        })
    }

    /// One heartbeat to every member, under a new round number.
    pub(super) fn heartbeat_round(&mut self) {
        let Role::Leader(leader) = &mut self.role else { return };
        leader.round += 1;
        leader.heartbeat_at = self.now.plus(self.options.timing.heartbeat_ms);
        let (round, quorum_hash) = (leader.round, leader.quorum_hash);
        let sync_age_ms = self.disk.oldest_age_ms(self.now);
        let time = leader.clock.read(self.now).max(self.log.last_stamp());
        let told: Vec<(NodeId, Index)> = leader
            .members
            .iter()
            .map(|(id, progress)| (*id, self.commit.min(progress.matched)))
            .collect();
        for (id, commit) in told {
            self.send(id, Message::Heartbeat { commit, round, sync_age_ms, quorum_hash, time });
        }
    }

    /// First of all about an answer to a heartbeat: a disk that was set back may have forgotten a vote,
    /// so nothing else that it says counts.
    pub(super) fn refuses_disk(
        &mut self,
        from: NodeId,
        round: u64,
        synced_end: Index,
        boot: BootId,
    ) -> bool {
        let Role::Leader(leader) = &self.role else { return false };
        let Some(progress) = leader.members.get(&from) else { return false };
        let held = progress.matched;
        let set_back = round > progress.matched_round && synced_end < held;
        if set_back {
            self.send(from, Message::DiskRefused { boot, held, recovered: synced_end });
        }
        set_back
    }

    /// A member lives, says how its disk is, and confirms every round up to this one.
    pub(super) fn heartbeat_answered(
        &mut self,
        from: NodeId,
        round: u64,
        sync_age_ms: u64,
        hash: Option<StateHash>,
    ) {
        let Role::Leader(leader) = &mut self.role else { return };
        let Some(progress) = leader.members.get_mut(&from) else { return };
        progress.heard_at = self.now;
        progress.acked_round = progress.acked_round.max(round);
        progress.sync_age_ms = sync_age_ms;
        progress.hash = hash.or(progress.hash);
        self.agree_on_hash();
        self.confirm_reads();
    }

    /// Commits what a majority holds durably, if it is of this term.
    pub(super) fn advance_commit(&mut self) {
        let (Role::Leader(leader), Some(membership)) = (&self.role, self.membership()) else {
            return;
        };
        let own = if self.options.has(Bug::LeaderCountsUnsynced) {
            self.log.last().index
        } else {
            self.disk.durable()
        };
        let matched = |id: NodeId| {
            if id == self.options.id {
                own
            } else {
                leader.members.get(&id).map_or(Index(0), |progress| progress.matched)
            }
        };
        let mut reached = quorum::reached(&membership.voters, matched);
        if self.options.has(Bug::UnsortedQuorum) {
            reached = membership
                .voters
                .iter()
                .nth(membership.voters.len() / 2)
                .map_or(reached, |id| matched(*id));
        }
        if !membership.outgoing.is_empty() {
            reached = reached.min(quorum::reached(&membership.outgoing, matched));
        }
        let own_term = self.log.term_at(reached) == Some(self.hard.term);
        if reached > self.commit && (own_term || self.options.has(Bug::CommitEarlierTerm)) {
            self.commit_to(reached);
        }
    }

    fn commit_to(&mut self, index: Index) {
        let newly = (self.commit.0 + 1..=index.0).filter_map(|at| self.log.get(Index(at)));
        let bytes: usize = newly.map(Entry::weight_bytes).sum();
        self.commit = index;
        if let Role::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes = leader.uncommitted_bytes.saturating_sub(bytes);
        }
    }

    /// Only for the bug that counts unsynced entries: a group of one would otherwise never notice.
    fn advance_commit_of_one(&mut self) {
        if self.options.has(Bug::LeaderCountsUnsynced) {
            self.advance_commit();
        }
    }
}
