//! Which process of a node last held the log, and how far: how a disk that was set back is known.
//!
//! **The problem.** A disk that comes back in an earlier state has forgotten votes that it gave and
//! entries that it acknowledged. If it takes part again, two leaders of one term and lost entries may
//! follow, and nothing in Raft sees it: its log looks like that of a node that lags. A count of boots is
//! not enough: the disk counts on, and after as many starts as it was set back it has caught up.
//!
//! **The idea.** Each process registers itself in the log (see `machine/session.rs`). Once its own disk
//! holds that registration, it has a second entry appended, [`HeldBoot`]: the disk of this node, under
//! this process, holds the log up to here. That is a statement of the node about itself, true whether
//! its entry is committed or not, and true for ever: what is committed and synced is not cut away. Every
//! process says at the handshake its boot count and the end of the log that it *recovered*, both fixed
//! for its life. A later process (a higher count) that recovered less than an earlier one held is on a
//! disk that was set back: it is told so, at every start, and its disk remembers that. A process whose
//! count is not higher is not the newest of its node: it stops, and remembers nothing, for on a volume
//! that moved the folder may be its successor's by now.
//!
//! **Who knows.** Whoever has the entry, by its log (the uncommitted tail included) or by its snapshot.
//! A registration that is not held refuses nobody: it can commit without its own node's disk.
//!
//! **What this cannot tell.** A copy that is newer than the last statement, met by no leader that has its
//! acknowledgements (`leader.rs` compares those). And nodes that have heard of no statement: a copy that
//! meets only such is let in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::message::Message;
use super::ready::Fatal;
use super::{Payload, Raft, Role};
use crate::types::{BootCount, BootId, Index, LocalTime, NodeId};

/// A process, and how far its node's disk is known to hold the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldBoot {
    /// The process.
    pub boot: BootId,
    /// How many processes had started on that disk, this one included.
    pub count: BootCount,
    /// The log is synced up to here, at least.
    pub held: Index,
}

/// What a process says of itself to those it meets. Fixed for its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The process.
    pub id: BootId,
    /// How many processes have started on its disk, itself included.
    pub count: BootCount,
    /// The end of the log that it found there.
    pub recovered: Index,
}

/// Why a process must not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootFault {
    /// Its disk was set back.
    SetBack(HeldBoot),
    /// A process that is as new, or newer, is known.
    Superseded(HeldBoot),
}

impl BootFault {
    /// What it means for that process.
    #[must_use]
    pub fn fatal(self, boot: &Boot) -> Fatal {
        match self {
            Self::SetBack(known) => {
                Fatal::DiskRefused { boot: boot.id, held: known.held, recovered: boot.recovered }
            }
            Self::Superseded(known) => {
                Fatal::BootSuperseded { ours: boot.count, newest: known.count }
            }
        }
    }
}

/// Judges a process by what is known of its node.
///
/// # Errors
/// See [`BootFault`].
pub fn judge_boot(known: Option<&HeldBoot>, boot: &Boot) -> Result<(), BootFault> {
    match known {
        Some(known) if known.boot == boot.id => Ok(()),
        Some(known) if boot.count <= known.count => Err(BootFault::Superseded(*known)),
        Some(known) if boot.recovered < known.held => Err(BootFault::SetBack(*known)),
        _ => Ok(()),
    }
}

/// The statements that stand in the log.
#[derive(Clone, Debug, Default)]
pub(super) struct BootLog {
    /// As of the newest snapshot.
    base: BTreeMap<NodeId, HeldBoot>,
    /// Behind it, ascending by index.
    later: Vec<(Index, NodeId, HeldBoot)>,
    changes: u64,
}

impl BootLog {
    /// Starts from what a snapshot says.
    pub(super) fn from_snapshot(base: BTreeMap<NodeId, HeldBoot>) -> Self {
        Self { base, later: Vec::new(), changes: 1 }
    }

    /// A statement was appended.
    pub(super) fn push(&mut self, index: Index, node: NodeId, boot: HeldBoot) {
        self.later.push((index, node, boot));
        self.changes += 1;
    }

    /// Entries from `from` on were cut away.
    pub(super) fn truncate(&mut self, from: Index) {
        let before = self.later.len();
        self.later.retain(|(index, ..)| *index < from);
        self.changes += u64::from(before != self.later.len());
    }

    /// Entries up to `index` are settled in a snapshot.
    pub(super) fn compact(&mut self, index: Index) {
        self.base = self.at(index);
        self.later.retain(|(at, ..)| *at > index);
    }

    /// The newest of each node as of `index`.
    pub(super) fn at(&self, index: Index) -> BTreeMap<NodeId, HeldBoot> {
        let mut newest = self.base.clone();
        for (_, node, boot) in self.later.iter().filter(|(at, ..)| *at <= index) {
            let known = newest.entry(*node).or_insert(*boot);
            if boot.count > known.count {
                *known = *boot;
            }
        }
        newest
    }

    /// The newest of one node.
    pub(super) fn newest(&self, node: NodeId) -> Option<HeldBoot> {
        let later = self.later.iter().filter(|(_, of, _)| *of == node).map(|(.., boot)| *boot);
        self.base.get(&node).copied().into_iter().chain(later).max_by_key(|boot| boot.count)
    }

    /// Where that process's statement stands; 0 if in the snapshot.
    fn index_of(&self, node: NodeId, id: BootId) -> Option<Index> {
        let in_base = self.base.get(&node).is_some_and(|boot| boot.boot == id);
        let later = self.later.iter().find(|(_, of, boot)| *of == node && boot.boot == id);
        in_base.then_some(Index(0)).or(later.map(|(index, ..)| *index))
    }
}

/// How far the own statement has come.
#[derive(Debug, Default)]
pub(super) struct OwnBoot {
    /// Where the own registration stands, once it is applied.
    registered_at: Option<Index>,
    asked_at: Option<LocalTime>,
    pub(super) stated: bool,
}

impl Raft {
    /// What this process says of itself.
    #[must_use]
    pub fn boot(&self) -> Boot {
        let (id, count) = (self.options.boot, self.options.boot_count);
        Boot { id, count, recovered: self.recovered_end }
    }

    /// The newest statement of each node, committed or not.
    #[must_use]
    pub fn held_boots(&self) -> BTreeMap<NodeId, HeldBoot> {
        self.boots.at(Index(u64::MAX))
    }

    /// The newest statement of one node, committed or not.
    #[must_use]
    pub fn held_boot(&self, node: NodeId) -> Option<HeldBoot> {
        self.boots.newest(node)
    }

    /// Rises whenever [`Raft::held_boots`] changes.
    #[must_use]
    pub fn held_boots_changes(&self) -> u64 {
        self.boots.changes
    }

    /// It is committed that this process's node holds its registration: its commands may go out.
    #[must_use]
    pub fn boot_is_stated(&self) -> bool {
        self.own_boot.stated
    }

    pub(super) fn boot_registered(&mut self, index: Index) {
        self.own_boot.registered_at.get_or_insert(index);
    }

    /// States the own boot as soon as the registration is on the own disk, and again until that is
    /// committed.
    pub(super) fn state_own_boot(&mut self) {
        let Some(held) = self.own_boot.registered_at else { return };
        if self.own_boot.stated || self.disk.durable() < held {
            return;
        }
        let (own, boot) = (self.options.id, self.options.boot);
        match self.boots.index_of(own, boot) {
            Some(index) => self.own_boot.stated = index <= self.commit,
            None => self.ask_to_state(HeldBoot { boot, count: self.options.boot_count, held }),
        }
    }

    fn ask_to_state(&mut self, boot: HeldBoot) {
        if matches!(self.role, Role::Leader(_)) {
            return self.boot_held(self.options.id, boot);
        }
        let again_ms = self.options.timing.election_max_ms;
        let asked = self.own_boot.asked_at.is_some_and(|at| self.now.since(at) < again_ms);
        if let Some(leader) = self.leader.filter(|_| !asked) {
            self.own_boot.asked_at = Some(self.now);
            self.send(leader, Message::BootHeld(boot));
        }
    }

    /// Leader: a node's disk holds the registration of its process.
    pub(super) fn boot_held(&mut self, node: NodeId, boot: HeldBoot) {
        let news = self.boots.newest(node).is_none_or(|known| known.count < boot.count);
        if news && matches!(self.role, Role::Leader(_)) {
            self.append_stamped(Payload::BootHeld { node, boot });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId(1);

    fn held(boot: u64, count: u64, held: u64) -> HeldBoot {
        HeldBoot { boot: BootId(boot), count: BootCount(count), held: Index(held) }
    }

    fn boot(id: u64, count: u64, recovered: u64) -> Boot {
        Boot { id: BootId(id), count: BootCount(count), recovered: Index(recovered) }
    }

    #[test]
    fn a_process_is_judged_by_its_count_and_by_what_it_recovered() {
        let known = held(9, 5, 100);
        let judge = |boot| judge_boot(Some(&known), &boot);
        assert_eq!(judge(boot(8, 6, 100)), Ok(()), "the next one, with all that was held");
        assert_eq!(judge(boot(9, 5, 40)), Ok(()), "the very process that stated it");
        assert_eq!(judge(boot(8, 6, 99)), Err(BootFault::SetBack(known)));
        assert_eq!(judge(boot(8, 5, 500)), Err(BootFault::Superseded(known)));
        assert_eq!(judge(boot(8, 4, 50)), Err(BootFault::Superseded(known)));
        assert_eq!(judge_boot(None, &boot(8, 1, 0)), Ok(()), "nothing is known");
    }

    #[test]
    fn the_newest_statement_counts_wherever_it_stands_and_goes_with_its_entry() {
        let mut log = BootLog::default();
        log.push(Index(10), NODE, held(1, 1, 9));
        log.push(Index(20), NODE, held(2, 2, 19));
        assert_eq!(log.newest(NODE), Some(held(2, 2, 19)));
        assert_eq!(log.at(Index(15)), [(NODE, held(1, 1, 9))].into());
        log.truncate(Index(20));
        assert_eq!(log.newest(NODE), Some(held(1, 1, 9)));
        log.compact(Index(10));
        log.truncate(Index(11));
        assert_eq!(log.newest(NODE), Some(held(1, 1, 9)), "what a snapshot says stays");
        assert_eq!(log.index_of(NODE, BootId(1)), Some(Index(0)));
    }
}
