//! What nodes say to each other. Any of it may be lost, doubled, delayed or reordered, with one
//! exception: the transport must not double a `Forward`. One copy could be refused and the other taken
//! later, and the proposer trusts a refusal. (Streams of TCP, each message on one of them, do not
//! double.) Doubled commands are harmless otherwise: the machine applies each once.
//!
//! The variant docs say who sends it, why, and what happens if it is lost.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::boots::HeldBoot;
use super::entry::{Entry, SnapshotMeta};
use super::membership::Founding;
use crate::types::{BootId, ClusterId, ClusterTime, Index, NodeId, Term};

/// A message with its address. Addressed by node id: a disk that lost its identity gets nothing
/// that was meant for the one it had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// Who sends.
    pub from: NodeId,
    /// Who is meant. A node drops what is not addressed to its own id.
    pub to: NodeId,
    /// The sender's term. For a pre-vote: the term it would stand for.
    pub term: Term,
    /// What it says.
    pub message: Message,
}

/// Index and term of one entry: what Raft compares logs by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Its index.
    pub index: Index,
    /// Its term.
    pub term: Term,
}

/// In which earnest a vote is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ballot {
    /// Would you vote for me? Changes nothing at the voter. Keeps a node that was cut off from
    /// raising terms (Raft dissertation, section 9.6).
    PreVote,
    /// A vote for this term. A voter that hears a leader ignores it.
    Vote,
    /// A vote asked for by the leader itself (`TimeoutNow`): voters do not protect that leader.
    Transfer,
}

/// A hash of the machine's state after applying `index`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash {
    /// The entry after which it was taken; the same multiple on every node.
    pub index: Index,
    /// The hash.
    pub hash: u64,
}

/// Why a command was not taken into the log. It is certain that this attempt changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Nobody leads, as far as this node knows, or the one asked does not lead.
    NoLeader,
    /// The leader's uncommitted log is at its cap: the disk or the followers do not keep up.
    Overloaded,
    /// The leader is handing over; ask again in a moment.
    Transferring,
    /// A command is larger than any may be. It would be refused everywhere, always.
    TooLarge,
}

/// Commands on their way into the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commands {
    /// Each encoded.
    pub list: Vec<Bytes>,
    /// They are refused when half of what a leader takes in is under way, so that others have room.
    pub yields: bool,
}

impl Commands {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl From<Vec<Bytes>> for Commands {
    /// Commands that have the whole room.
    fn from(list: Vec<Bytes>) -> Self {
        Self { list, yields: false }
    }
}

/// What a follower says to an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppendOutcome {
    /// The follower's log equals the leader's up to this index, synced.
    Matched(Index),
    /// The follower has no entry equal to `prev`. `hint` is the last entry of the follower that the
    /// leader may still share: the leader probes from there.
    Conflict {
        /// The `prev` index of the append that failed: an old answer is known by it.
        prev: Index,
        /// Where to probe next.
        hint: Position,
    },
}

/// What a linearizable read is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadPoint {
    /// Apply up to here first.
    pub index: Index,
    /// Cluster time at the leader, not before the read came in; see `clock.rs`.
    pub time: ClusterTime,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// Candidate to voters of the candidate's configuration. Lost: the candidate times out and asks
    /// anew.
    VoteRequest {
        /// In which earnest.
        ballot: Ballot,
        /// The end of the candidate's log.
        last: Position,
    },
    /// Voter to candidate; a granted `Vote` or `Transfer` leaves only after the vote is synced.
    VoteReply {
        /// The ballot that is answered.
        ballot: Ballot,
        /// For a granted pre-vote the envelope's term is the one asked for, else the voter's own.
        granted: bool,
    },
    /// Leader to follower: entries that follow `prev`. Lost: found by its missing answer, and the
    /// leader probes again. Doubled or late: the follower already has them, and says so.
    Append {
        /// The entry before the first of `entries`.
        prev: Position,
        /// In order, without gaps; empty for a probe.
        entries: Vec<Entry>,
        /// The leader's commit index.
        commit: Index,
    },
    /// Follower to leader, after its log is synced up to what it says.
    AppendReply {
        /// Match or conflict.
        outcome: AppendOutcome,
    },
    /// Leader to every member. Holds elections off, confirms reads, carries what needs no order.
    Heartbeat {
        /// At most what the receiver is known to hold.
        commit: Index,
        /// Rises with every round. A read is confirmed only by answers to a round that began after
        /// the read arrived.
        round: u64,
        /// Age of the leader's oldest outstanding sync in milliseconds, 0 if none.
        sync_age_ms: u64,
        /// The hash that a quorum agrees on.
        quorum_hash: Option<StateHash>,
        /// Cluster time at the leader, for who reads; see `clock.rs`.
        time: ClusterTime,
    },
    /// Member to leader.
    HeartbeatReply {
        /// The round that is answered.
        round: u64,
        /// Age of the member's oldest outstanding sync in milliseconds, 0 if none.
        sync_age_ms: u64,
        /// The end of the member's synced log: one that lies before what this disk acknowledged
        /// before the round began marks a restored or copied disk.
        synced_end: Index,
        /// The member's own latest state hash.
        hash: Option<StateHash>,
        /// The member's process.
        boot: BootId,
    },
    /// Leader to follower, as soon as the commit index rises and no append is due anyway, so that a
    /// client of the follower need not wait for a heartbeat. No answer. Lost: the next heartbeat says
    /// it too.
    Commit {
        /// At most what the receiver is known to hold.
        commit: Index,
    },
    /// Any node to the leader: commands to take into the log. Lost: the proposer sends them again;
    /// the machine applies each once.
    Forward {
        /// Number of this attempt, for a refusal.
        ticket: u64,
        /// What to take in.
        commands: Commands,
    },
    /// The answer to a `Forward` that was not taken.
    ForwardRefused {
        /// Which attempt.
        ticket: u64,
        /// Why.
        refusal: Refusal,
    },
    /// Any node to the leader: which index must I have applied to answer reads that have arrived
    /// here by now? Lost: the reader asks again.
    ReadRequest {
        /// The asker's number.
        id: u64,
    },
    /// The leader's answer, once a quorum has confirmed it.
    ReadReply {
        /// The asker's number.
        id: u64,
        /// What to answer from. `None`: not leader (any more).
        point: Option<ReadPoint>,
    },
    /// Leader to a follower whose next entry is no longer in the leader's log. One piece at a time;
    /// the answer asks for the next. Lost: sent again after a while.
    SnapshotChunk {
        /// Which snapshot.
        meta: SnapshotMeta,
        /// Where these bytes belong.
        offset: u64,
        /// A piece of the snapshot file.
        bytes: Bytes,
        /// They are its end.
        last: bool,
    },
    /// Follower to leader: which byte of which snapshot to send next, so a broken stream resumes.
    SnapshotReply {
        /// Which snapshot.
        index: Index,
        /// Next byte wanted.
        next_offset: u64,
    },
    /// Leader to the member that shall lead next: stand for election at once. Lost: the leader gives
    /// the transfer up after an election timeout.
    TimeoutNow,
    /// The holder of a founding proposal to those it names. Repeated until answered.
    FoundingOffer(Founding),
    /// A founder holds the proposal, synced.
    FoundingHeld {
        /// Which proposal.
        cluster_id: ClusterId,
    },
    /// To a node whose disk was copied or restored: it must not take part. Lost: said again at its
    /// next message.
    DiskRefused {
        /// The process that is meant: another one of that node is not.
        boot: BootId,
        /// What that disk has acknowledged.
        held: Index,
        /// What it says to hold.
        recovered: Index,
    },
    /// A node to the leader: my disk holds the registration of my process. The leader appends it. Lost:
    /// said again after a while.
    BootHeld(HeldBoot),
}

impl Message {
    /// True for what must not queue behind bulk data: it goes over a connection of its own.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        matches!(
            self,
            Self::VoteRequest { .. }
                | Self::VoteReply { .. }
                | Self::Heartbeat { .. }
                | Self::HeartbeatReply { .. }
                | Self::TimeoutNow
        )
    }
}
