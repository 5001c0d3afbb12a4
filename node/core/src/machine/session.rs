//! Exactly once: what the machine remembers of each node's process.
//!
//! # Problem
//!
//! A node hands a command to the leader and hears nothing. It must hand it over again, to the same
//! leader or the next, so the log may hold the command twice. It must take effect once, and every
//! copy must say the same.
//!
//! # Idea
//!
//! A command carries its process (boot id), its number in that process, and that process's low-water
//! mark: every number below is settled there. Per node the machine keeps the newest process, its
//! highest mark, and the outcomes of the numbers at or above it. The memory is bounded by what a
//! process has under way (see the window in `proposer.rs`), not by how much it ever sent.
//!
//! For one number of one process only these steps exist, and none leads back:
//!
//! ```text
//! unseen --applied--> remembered --mark passes--> void
//! unseen ------------------------- mark passes--> void        (its sender gave it up)
//! ```
//!
//! So it takes effect at most once, and its outcome is known as long as its sender may ask.
//!
//! # Why the outcome is kept, not only the number
//!
//! The sender learns outcomes by applying its own commands. If it falls behind and installs a
//! snapshot that contains the command's effect, it has skipped that moment. It goes on sending the
//! command, and the next copy has to say what the first one did, and as of which entry: what it said
//! may have ended since.
//!
//! # Late copies
//!
//! A copy may lie about in a queue for hours. Those of settled numbers are void by the mark; those
//! of processes before the newest by their boot id; and whatever was taken in the retention ago is
//! void by its age, which is checked after the memory, so that a repeat is answered like the first,
//! however old.
//!
//! Age is counted by a clock that stands still while nothing is timed (`ActiveTime`): the leader of a
//! quiet cluster appends nothing, so the state that a node takes its first command in with may be
//! hours old, and the command is not. What age no longer voids on a quiet cluster, the mark does: a
//! node that gives up a command which it had sent raises its mark over it (`proposer.rs`).

use rpds::RedBlackTreeMapSync;

use super::command::{Applied, Origin, Outcome};
use crate::types::{BootCount, BootId};

/// The newest process of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) boot: BootId,
    pub(super) count: BootCount,
    /// The process stops, and listens to nobody any more.
    pub(super) draining: bool,
    /// The highest mark seen. Every key of `answers` is at or above it.
    pub(super) low_water: u64,
    pub(super) answers: RedBlackTreeMapSync<u64, Applied>,
}

/// What a command's origin says about whether to apply it.
pub(super) enum Admission {
    /// For the first time.
    First,
    /// A copy of it was applied before, and this came of it.
    Known(Applied),
    /// It changes nothing, and nothing more is known of it.
    Refused(Outcome),
}

impl Session {
    pub(super) fn new(boot: BootId, count: BootCount) -> Self {
        Self {
            boot,
            count,
            draining: false,
            low_water: 0,
            answers: RedBlackTreeMapSync::new_sync(),
        }
    }

    /// Raises the mark, and decides whether this command is applied.
    pub(super) fn admit(&mut self, origin: &Origin) -> Admission {
        if origin.boot != self.boot {
            return Admission::Refused(Outcome::DiskRefused);
        }
        self.raise_low_water(origin.low_water);
        if origin.sequence < self.low_water {
            return Admission::Refused(Outcome::Void);
        }
        match self.answers.get(&origin.sequence) {
            Some(applied) => Admission::Known(applied.clone()),
            None => Admission::First,
        }
    }

    /// Keeps what came of it until the mark passes it.
    pub(super) fn remember(&mut self, sequence: u64, applied: Applied) {
        self.answers.insert_mut(sequence, applied);
    }

    fn raise_low_water(&mut self, low_water: u64) {
        self.low_water = self.low_water.max(low_water);
        while let Some((&settled, _)) = self.answers.first().filter(|(at, _)| **at < low_water) {
            self.answers.remove_mut(&settled);
        }
    }
}
