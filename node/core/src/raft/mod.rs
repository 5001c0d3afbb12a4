//! Consensus: one Raft group, as a pure state machine.
//!
//! Problem: a few machines, any of which may stop, stall or be cut off at any moment, shall agree on
//! one growing list of entries, and never un-agree.
//!
//! The protocol is Raft (Ongaro and Ousterhout 2014; section numbers in comments are of Ongaro's
//! dissertation) with pre-vote (9.6), check-quorum (6.2), leadership transfer (3.10), ReadIndex reads
//! (6.4), learners and joint consensus as data (4.2.1, 4.3). The shape is etcd-io/raft's: inputs in,
//! one [`Ready`] out; no clock, no disk, no network, no threads in here.
//!
//! ```text
//!   step(now, Input) ─┐                      ┌─ persist: records, then Input::Persisted(proof)
//!   tick(now) ────────┼──> Raft ──> ready() ─┼─ send: messages; none that waits for the disk
//!                     │                      ├─ restore / apply: then Input::Applied
//!                     └──────────────────────┴─ reads, refused, snapshot pieces, fatal
//! ```
//!
//! Where to find what: a vote is granted in `follower.rs`; elections start in `candidate.rs`; commit
//! and stepping down in `leader.rs`; the window to a follower in `replication.rs` over `progress.rs`;
//! reads in `read.rs`; snapshots in `snapshot.rs`; hand-over in `transfer.rs`; the first entry of all
//! in `founding.rs`; what waits for the disk in `disk.rs`; the stamps in `clock.rs`.
//!
//! The cursors of one node, as one chain:
//!
//! ```text
//!   base < log_start <= applied + 1 <= handed + 1 <= commit + 1 <= last + 1,   durable <= last
//! ```
//!
//! Two rules carry safety. First, nothing that claims to be on disk leaves before it is (`disk.rs`).
//! Second, an entry counts as committed only when a majority holds it durably *and* it is of the
//! leader's own term, or stands before one that is (section 3.6.2).
//!
//! Left out on purpose: leader-lease reads (a clock would carry safety, and ReadIndex has not been
//! shown to limit anything); parallel appends below a gap; witness nodes. Not in yet: the commands
//! that change the membership.

mod boots;
mod bootstrap;
mod candidate;
mod clock;
#[cfg(test)]
mod cluster_test;
mod disk;
mod entry;
mod follower;
mod founding;
mod leader;
mod log;
mod membership;
mod message;
mod options;
mod progress;
mod read;
mod ready;
mod replication;
mod rng;
#[cfg(test)]
mod script_test;
mod snapshot;
mod state_hash;
mod status;
mod transfer;

pub use boots::{Boot, BootFault, HeldBoot, judge_boot};
pub use bootstrap::{Bootstrap, Introduction, NotYet};
pub use entry::{Entry, HardState, Payload, Record, Recovered, SnapshotMeta};
pub use membership::{Founding, Membership};
pub use message::{
    AppendOutcome, Ballot, Commands, Envelope, Message, Position, ReadPoint, Refusal, StateHash,
};
pub use options::{Bug, COMMAND_BYTES_MAX, Limits, RaftOptions, Timing};
pub use ready::{
    Fatal, Input, PersistBatch, Ready, SnapshotRead, SnapshotWrite, SyncProof, SyncToken,
};
pub use status::{RaftStatus, RoleKind};

use crate::types::{BootId, ClusterId, ClusterTime, Index, LocalTime, NodeId, Term};
use boots::{BootLog, OwnBoot};
use candidate::Candidate;
use disk::DiskQueue;
use founding::FoundingRound;
use leader::Leader;
use log::RaftLog;
use membership::MembershipLog;
use read::LocalReads;
use rng::Rng;
use snapshot::Incoming;
use state_hash::HashHistory;

/// A node's part in the current term.
#[derive(Debug)]
enum Role {
    Follower,
    Candidate(Candidate),
    Leader(Box<Leader>),
}

/// One node's consensus.
#[derive(Debug)]
pub struct Raft {
    options: RaftOptions,
    rng: Rng,
    /// The latest `now` given. Never falls, even if the shell's does.
    now: LocalTime,

    hard: HardState,
    log: RaftLog,
    configurations: MembershipLog,
    boots: BootLog,
    own_boot: OwnBoot,
    /// The end of the log that this process found on its disk.
    recovered_end: Index,
    disk: DiskQueue,
    /// Newest snapshot of the own machine on disk.
    snapshot: Option<SnapshotMeta>,

    commit: Index,
    /// Last entry handed out in a [`Ready`] to be applied.
    handed: Index,
    applied: Index,
    /// When the machine next has something to end, as of `applied`.
    next_due: Option<ClusterTime>,

    role: Role,
    leader: Option<NodeId>,
    /// When the leader of this term was last heard.
    leader_heard_at: Option<LocalTime>,
    /// Cluster time, as some leader said it last.
    heard_time: ClusterTime,
    election_at: LocalTime,

    founding: FoundingRound,
    reads: LocalReads,
    incoming: Option<Incoming>,
    hashes: HashHistory,
    out: Ready,
}

impl Raft {
    /// Starts a node from what its disk holds. The shell has restored the machine from
    /// `recovered.snapshot`, if there is one; applying goes on right after it.
    #[must_use]
    pub fn new(options: RaftOptions, now: LocalTime, recovered: Recovered) -> Self {
        let log = recovered_log(&recovered);
        let configurations = recovered_configurations(&recovered);
        let applied = recovered.snapshot.as_ref().map_or(Index(0), |meta| meta.index);
        let boots = recovered_boots(&recovered);
        let stale_writes_count = options.has(Bug::StaleWriteCounts);
        let mut raft = Self {
            rng: Rng::new(options.seed),
            now,
            disk: DiskQueue::new(log.last().index, stale_writes_count),
            founding: FoundingRound::default(),
            hard: recovered.hard_state,
            snapshot: recovered.snapshot,
            recovered_end: log.last().index.max(applied),
            log,
            configurations,
            boots,
            own_boot: OwnBoot::default(),
            commit: applied,
            handed: applied,
            applied,
            next_due: None,
            role: Role::Follower,
            leader: None,
            leader_heard_at: None,
            heard_time: ClusterTime(0),
            election_at: now,
            reads: LocalReads::default(),
            incoming: None,
            hashes: HashHistory::default(),
            out: Ready::default(),
            options,
        };
        raft.rearm_election();
        raft
    }

    /// Takes one input in.
    pub fn step(&mut self, now: LocalTime, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::Message(envelope) => self.receive(envelope),
            Input::Propose { ticket, commands } => self.propose(ticket, commands),
            Input::Read { id } => self.read(id),
            Input::Persisted(proof) => self.persisted(&proof),
            Input::Applied { index, next_due } => self.applied(index, next_due),
            Input::BootRegistered { index } => self.boot_registered(index),
            Input::StateHash(hash) => self.note_own_hash(hash),
            Input::Transfer { to } => self.start_transfer(to),
            Input::Unreachable(node) => self.unreachable(node),
            Input::SnapshotTaken(meta) => self.snapshot_taken(meta),
            Input::SnapshotData { to, meta, offset, bytes, last } => {
                self.send_chunk(to, meta, offset, bytes, last);
            }
            Input::SnapshotStored(meta) => self.install_snapshot(meta),
            Input::SnapshotBroken => self.incoming = None,
            Input::Found(founding) => self.hold_founding(founding),
        }
    }

    /// Lets time pass. Call it every few milliseconds; nothing depends on it being regular.
    pub fn tick(&mut self, now: LocalTime) {
        self.now = self.now.max(now);
        self.founding_tick();
        self.expire_remote_reads();
        match self.role {
            Role::Leader(_) => self.leader_tick(),
            Role::Follower | Role::Candidate(_) => {
                if self.now >= self.election_at {
                    self.stand_for_election();
                }
            }
        }
    }

    /// Takes out what there is to do.
    pub fn ready(&mut self) -> Ready {
        self.state_own_boot();
        self.flush_leader();
        self.out.persist = self.disk.take(self.log.last().index);
        self.hand_out_committed();
        self.reads.release(self.applied, &mut self.out.reads);
        std::mem::take(&mut self.out)
    }

    /// Role, term and cursors.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        RaftStatus {
            role: match self.role {
                Role::Follower => RoleKind::Follower,
                Role::Candidate(_) => RoleKind::Candidate,
                Role::Leader(_) => RoleKind::Leader,
            },
            term: self.hard.term,
            leader: self.leader,
            log_start: self.log.first(),
            last: self.log.last().index,
            durable: self.disk.durable(),
            commit: self.commit,
            applied: self.applied,
            time: self.cluster_time(),
            founded: self.hard.founded,
        }
    }

    /// This node.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.options.id
    }

    /// The configuration in force; `None` before the founding entry.
    #[must_use]
    pub fn membership(&self) -> Option<&Membership> {
        self.configurations.current()
    }

    /// The newest snapshot that the log names.
    #[must_use]
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// Term, vote and founding mark, as they will be on disk.
    #[must_use]
    pub fn hard_state(&self) -> &HardState {
        &self.hard
    }

    /// The entry at `index`, if it is in memory.
    #[must_use]
    pub fn entry(&self, index: Index) -> Option<&Entry> {
        self.log.get(index)
    }

    /// Term of the entry at `index`, if known.
    #[must_use]
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term_at(index)
    }

    /// The founding proposal that this node holds and that is not compacted away yet.
    #[must_use]
    pub fn founding(&self) -> Option<&Founding> {
        match &self.log.get(Index(1))?.payload {
            Payload::Founding(founding) => Some(founding),
            _ => None,
        }
    }

    /// True as long as this node holds no log at all: it belongs to no cluster.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.log.last().index == Index(0)
    }

    /// A message that came in: first the rules about terms, which hold for all, then its own.
    fn receive(&mut self, envelope: Envelope) {
        if envelope.to != self.options.id || envelope.from == self.options.id {
            return;
        }
        if self.is_empty() && !self.options.has(Bug::EmptyDiskVotes) {
            return self.receive_empty(envelope);
        }
        if self.ignores(&envelope) {
            return;
        }
        if envelope.term > self.hard.term && self.raises_term(&envelope.message) {
            self.become_follower(envelope.term, None);
        }
        if envelope.term < self.hard.term {
            return self.answer_stale(&envelope);
        }
        self.dispatch(envelope);
    }

    /// A pre-vote asks about a term without being in it, and so does its grant. Everything else says
    /// that its sender *is* in its term.
    fn raises_term(&self, message: &Message) -> bool {
        match message {
            Message::VoteRequest { ballot: Ballot::PreVote, .. }
            | Message::VoteReply { ballot: Ballot::PreVote, granted: true } => false,
            Message::VoteReply { ballot: Ballot::PreVote, granted: false } => {
                !self.options.has(Bug::PreVoteKeepsTerm)
            }
            _ => true,
        }
    }

    /// Messages of the current term, and pre-votes of a later one.
    fn dispatch(&mut self, envelope: Envelope) {
        let from = envelope.from;
        match envelope.message {
            Message::VoteRequest { ballot, last } => {
                self.vote_requested(from, envelope.term, ballot, last);
            }
            Message::VoteReply { ballot, granted } => {
                self.vote_answered(from, envelope.term, ballot, granted);
            }
            Message::Append { prev, entries, commit } => {
                self.append_received(from, prev, entries, commit);
            }
            Message::AppendReply { outcome } => self.append_answered(from, outcome),
            Message::Heartbeat { commit, round, quorum_hash, time, .. } => {
                self.heard_time = time;
                self.heartbeat_received(from, commit, round, quorum_hash);
            }
            Message::HeartbeatReply { round, sync_age_ms, synced_end, hash, boot } => {
                if !self.refuses_disk(from, round, synced_end, boot) {
                    self.heartbeat_answered(from, round, sync_age_ms, hash);
                }
            }
            Message::Commit { commit } => {
                if self.follow(from) {
                    self.learn_commit(commit);
                }
            }
            Message::Forward { ticket, commands } => self.forwarded(from, ticket, commands),
            Message::ForwardRefused { ticket, refusal } => self.out.refused.push((ticket, refusal)),
            Message::ReadRequest { id } => self.read_requested(from, id),
            Message::ReadReply { id, point } => self.read_answered(id, point),
            Message::SnapshotChunk { meta, offset, bytes, last } => {
                self.chunk_received(from, meta, offset, bytes, last);
            }
            Message::SnapshotReply { index, next_offset } => {
                self.chunk_answered(from, index, next_offset);
            }
            Message::TimeoutNow => self.timeout_now(from),
            Message::FoundingOffer(founding) => self.founding_offered(from, founding),
            Message::FoundingHeld { cluster_id } => self.founding_held(from, cluster_id),
            Message::DiskRefused { boot, held, recovered } => {
                self.disk_refused(boot, held, recovered);
            }
            Message::BootHeld(boot) => self.boot_held(from, boot),
        }
    }

    /// A message of an earlier term changes nothing here; those who act in that term are told ours.
    fn answer_stale(&mut self, envelope: &Envelope) {
        let answer = match &envelope.message {
            Message::VoteRequest { ballot, .. } => {
                Message::VoteReply { ballot: *ballot, granted: false }
            }
            Message::Append { prev, .. } => Message::AppendReply {
                outcome: AppendOutcome::Conflict { prev: prev.index, hint: self.log.last() },
            },
            // Round 0 confirms nothing: the round meant is of an earlier leader, and numbers begin
            // again with each, so in our term it would confirm what nobody was asked.
            Message::Heartbeat { .. } => self.heartbeat_reply(0),
            Message::SnapshotChunk { meta, .. } => {
                Message::SnapshotReply { index: meta.index, next_offset: 0 }
            }
            Message::FoundingOffer(_) | Message::FoundingHeld { .. } => {
                return self.dispatch(envelope.clone());
            }
            Message::DiskRefused { .. } => return self.dispatch(envelope.clone()),
            _ => return,
        };
        self.send(envelope.from, answer);
    }

    /// Another process of this node may have been meant: one that ran here before, or one on a copy.
    fn disk_refused(&mut self, boot: BootId, held: Index, recovered: Index) {
        if boot == self.options.boot {
            self.fail(Fatal::DiskRefused { boot, held, recovered });
        }
    }

    /// The disk is done with a batch: what waited for it goes out, and a leader may commit more.
    fn persisted(&mut self, proof: &SyncProof) {
        for envelope in self.disk.synced(proof) {
            if envelope.to == self.options.id {
                self.own_vote_synced(envelope.term);
            } else {
                self.out.send.push(envelope);
            }
        }
        self.founding_persisted();
        self.advance_commit();
    }

    fn applied(&mut self, index: Index, next_due: Option<ClusterTime>) {
        self.applied = self.applied.max(index);
        self.next_due = next_due;
        self.mark_time();
    }

    /// Hands committed entries out once, in order, a bounded amount at a time.
    fn hand_out_committed(&mut self) {
        if self.out.restore.is_some() || self.handed > self.applied {
            return;
        }
        let mut entries = self.log.slice(self.handed.next(), self.options.limits.apply_bytes);
        entries.retain(|entry| entry.index <= self.commit);
        if let Some(last) = entries.last() {
            self.handed = last.index;
            self.out.apply = entries;
        }
    }

    /// Follower of `term`; everything that belonged to an earlier role or term is given up.
    fn become_follower(&mut self, term: Term, leader: Option<NodeId>) {
        assert!(term >= self.hard.term, "a term never falls");
        if term > self.hard.term {
            self.hard.term = term;
            self.hard.vote = None;
            self.save_hard_state();
            self.leader_heard_at = None;
        }
        self.give_up_lead();
        if leader != self.leader {
            self.leader = leader;
            self.reads.fail_remote(&mut self.out.reads);
        }
        self.role = Role::Follower;
        self.rearm_election();
    }

    fn rearm_election(&mut self) {
        let timing = self.options.timing;
        let wait_ms = self.rng.between(timing.election_min_ms, timing.election_max_ms);
        self.election_at = self.now.plus(wait_ms);
    }

    fn save_hard_state(&mut self) {
        self.disk.push(self.now, Record::HardState(self.hard.clone()));
    }

    /// Puts an entry at the end of the own log, in memory and on its way to the disk.
    fn append_entry(&mut self, entry: Entry) {
        match &entry.payload {
            Payload::Membership(membership) => {
                self.configurations.push(entry.index, membership.clone());
            }
            Payload::Founding(founding) => {
                self.configurations.push(entry.index, Membership::founding(founding));
            }
            Payload::BootHeld { node, boot } => self.boots.push(entry.index, *node, *boot),
            Payload::Empty | Payload::Command(_) => {}
        }
        self.disk.push(self.now, Record::Entry(entry.clone()));
        self.log.push(entry);
    }

    fn send(&mut self, to: NodeId, message: Message) {
        let envelope = self.envelope(to, message);
        self.out.send.push(envelope);
    }

    /// Sends once everything that is unsynced now is synced.
    fn send_after_sync(&mut self, to: NodeId, message: Message) {
        let envelope = self.envelope(to, message);
        if let Some(envelope) = self.disk.seal(envelope) {
            self.out.send.push(envelope);
        }
    }

    fn envelope(&self, to: NodeId, message: Message) -> Envelope {
        Envelope { from: self.options.id, to, term: self.hard.term, message }
    }

    fn fail(&mut self, fatal: Fatal) {
        self.out.fatal.get_or_insert(fatal);
    }

    /// The cluster named by the founding entry in memory.
    #[must_use]
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.founding().map(|founding| founding.cluster_id)
    }
}

fn recovered_log(recovered: &Recovered) -> RaftLog {
    let base = Position { index: recovered.log_start.prev(), term: recovered.log_start_prev_term };
    let base_stamp = recovered.snapshot.as_ref().map_or(ClusterTime(0), |meta| meta.stamp);
    RaftLog::new(base, base_stamp, recovered.entries.clone())
}

fn recovered_configurations(recovered: &Recovered) -> MembershipLog {
    let mut configurations = match &recovered.snapshot {
        Some(meta) => MembershipLog::from_snapshot(meta.index, meta.membership.clone()),
        None => MembershipLog::default(),
    };
    let covered = recovered.snapshot.as_ref().map_or(Index(0), |meta| meta.index);
    for entry in recovered.entries.iter().filter(|entry| entry.index > covered) {
        match &entry.payload {
            Payload::Membership(membership) => configurations.push(entry.index, membership.clone()),
            Payload::Founding(founding) => {
                configurations.push(entry.index, Membership::founding(founding));
            }
            Payload::Empty | Payload::Command(_) | Payload::BootHeld { .. } => {}
        }
    }
    configurations
}

fn recovered_boots(recovered: &Recovered) -> BootLog {
    let snapshot = recovered.snapshot.as_ref();
    let mut boots =
        snapshot.map_or_else(BootLog::default, |meta| BootLog::from_snapshot(meta.boots.clone()));
    let covered = snapshot.map_or(Index(0), |meta| meta.index);
    for entry in recovered.entries.iter().filter(|entry| entry.index > covered) {
        if let Payload::BootHeld { node, boot } = entry.payload {
            boots.push(entry.index, node, boot);
        }
    }
    boots
}
