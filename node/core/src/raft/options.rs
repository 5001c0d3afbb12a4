//! How one node's consensus is tuned. None of it changes what an entry means.

use crate::types::{BootCount, BootId, NodeId};

/// Clock of elections. The upper election time-out is what "an election time-out" means elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A leader speaks at least this often, in milliseconds.
    pub heartbeat_ms: u64,
    /// A follower that has heard a leader within this time protects it, in milliseconds.
    pub election_min_ms: u64,
    /// A follower stands for election between the minimum and this, in milliseconds.
    pub election_max_ms: u64,
}

impl Default for Timing {
    fn default() -> Self {
        Self { heartbeat_ms: 80, election_min_ms: 400, election_max_ms: 800 }
    }
}

/// Most bytes of a command, as it is encoded: a message between nodes has room for one.
pub const COMMAND_BYTES_MAX: usize = 512 << 10;

/// Bounds on what is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Appends under way to one follower.
    pub window_messages: usize,
    /// Bytes under way to one follower.
    pub window_bytes: usize,
    /// Bytes of entries in one append (a single larger entry goes alone).
    pub append_bytes: usize,
    /// Bytes of one command; a larger one is refused.
    pub command_bytes: usize,
    /// Bytes a leader takes in before they are committed; beyond it proposals are refused, and those that
    /// yield beyond half of it.
    pub uncommitted_bytes: usize,
    /// Bytes of entries handed out to be applied at once.
    pub apply_bytes: usize,
    /// Entries kept behind a snapshot, so that a follower that lags a little needs no snapshot.
    pub log_tail_entries: u64,
    /// Bytes of entries in that tail at most: large entries make it shorter.
    pub log_tail_bytes: usize,
    /// Bytes of entries that a leader keeps beyond that tail for members that a snapshot is bringing up,
    /// in memory and on disk. A member that needs more gets another snapshot, and as long as the
    /// cluster writes this much while one travels, it never catches up.
    pub log_held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            window_messages: 64,
            window_bytes: 4 << 20,
            append_bytes: 128 << 10,
            command_bytes: COMMAND_BYTES_MAX,
            uncommitted_bytes: 32 << 20,
            apply_bytes: 32 << 10,
            log_tail_entries: 5_000,
            log_tail_bytes: 16 << 20,
            log_held_bytes: 64 << 20,
        }
    }
}

/// What a node needs to know about itself.
#[derive(Clone, Debug)]
pub struct RaftOptions {
    /// Its identity.
    pub id: NodeId,
    /// This process.
    pub boot: BootId,
    /// How many processes have started on its disk, this one included.
    pub boot_count: BootCount,
    /// Seed of its election time-outs.
    pub seed: u64,
    /// Election clock.
    pub timing: Timing,
    /// Bounds.
    pub limits: Limits,
    /// A published bug to put back, for tests that show that it is caught.
    #[cfg(feature = "bugs")]
    pub bug: Option<Bug>,
}

impl RaftOptions {
    /// Default tuning.
    #[must_use]
    pub fn new(id: NodeId, seed: u64) -> Self {
        Self {
            id,
            boot: BootId(seed),
            boot_count: BootCount(1),
            seed,
            timing: Timing::default(),
            limits: Limits::default(),
            #[cfg(feature = "bugs")]
            bug: None,
        }
    }

    /// True if `bug` has been put back. Always false in a shipped build.
    #[cfg(feature = "bugs")]
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    #[cfg(not(feature = "bugs"))]
    #[allow(clippy::unused_self)]
    pub(super) const fn has(&self, _bug: Bug) -> bool {
        false
    }
}

/// Bugs that other systems have shipped. Each can be put back into this core, one at a time, to show
/// that the simulator finds it. Numbers in brackets: the issue it was published under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// The commit index is the middle of an unsorted array (openraft #1802).
    UnsortedQuorum,
    /// A node with an empty disk votes and takes appends (etcd #3504, qdrant #1235). The simulator
    /// also gives it its old id back.
    EmptyDiskVotes,
    /// A pre-candidate does not learn the higher term of those who refuse it (openraft #1796).
    PreVoteKeepsTerm,
    /// A leader that hears nobody goes on leading (openraft #2080).
    NoCheckQuorum,
    /// A leader whose disk hangs goes on sending heartbeats (hashicorp/raft #503).
    DiskHangIgnored,
    /// The lead is handed to a follower that lags, and the leader steps down (hashicorp/raft #696).
    TransferToLagging,
    /// An installed snapshot keeps the conflicting entries behind it (hashicorp/raft #697).
    SnapshotKeepsTail,
    /// A finished write counts for entries that have been replaced since (openraft #1960).
    StaleWriteCounts,
    /// A leader answers reads without asking anybody (etcd #20418, openraft #1747).
    ReadWithoutRound,
    /// A follower that needs purged entries is probed for ever (openraft #1828).
    NoSnapshotForPurged,
    /// A leader counts its own log before it is synced (etcd #14370).
    LeaderCountsUnsynced,
    /// An entry of an earlier term is committed by counting (logcabin #44; figure 8 of the paper).
    CommitEarlierTerm,
    /// A vote is answered before it is on disk.
    VoteBeforeSync,
    /// A new leader stamps from its own clock, so that time falls back (etcd #15247 is a relative).
    StampFallsBack,
    /// A disk that was set back takes part again once it has been started often enough. It is the shell
    /// that keeps it out, so it is the simulator's shell that forgets to.
    SetBackDiskReturns,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::UnsortedQuorum,
        Self::EmptyDiskVotes,
        Self::PreVoteKeepsTerm,
        Self::NoCheckQuorum,
        Self::DiskHangIgnored,
        Self::TransferToLagging,
        Self::SnapshotKeepsTail,
        Self::StaleWriteCounts,
        Self::ReadWithoutRound,
        Self::NoSnapshotForPurged,
        Self::LeaderCountsUnsynced,
        Self::CommitEarlierTerm,
        Self::VoteBeforeSync,
        Self::StampFallsBack,
        Self::SetBackDiskReturns,
    ];
}
