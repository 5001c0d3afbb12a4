//! One log: what stands where, what is committed, and on how many disks.
//!
//! The checks need no pairwise comparison of logs. If every entry ever written is known by (index,
//! term), together with its content and the term before it, then two logs that share an (index, term)
//! are equal up to there as long as every write agrees with what is known: log matching by induction,
//! one look per written entry. From then on comparing terms is comparing contents.

use std::collections::BTreeMap;

use dsync_core::raft::{Entry, Payload, Raft, Record, RoleKind};
use dsync_core::types::{ClusterTime, Index, NodeId, Term};
use dsync_core::wire;

use super::{Seen, Verdict, demand};
use crate::simulator::{Image, Shape};

/// What is known of one entry.
#[derive(Clone, Copy, Debug)]
struct Known {
    prev_term: Term,
    stamp: ClusterTime,
    content: u64,
}

/// Every entry ever written, and the committed ones.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    known: BTreeMap<(Index, Term), Known>,
    /// Term of each committed entry, as far as any node has known it to be committed.
    committed: Vec<Term>,
    /// Term with which each entry was first applied.
    applied: BTreeMap<Index, Term>,
    /// What was on disks that are gone: whoever lost one had acknowledged that much.
    lost: BTreeMap<NodeId, Vec<Image>>,
}

impl Logs {
    /// Last committed index that anybody knows of.
    pub(crate) fn committed(&self) -> Index {
        Index(self.committed.len() as u64)
    }

    /// A disk is wiped or set back; what it held counts for what was committed because of it.
    pub(crate) fn disk_lost(&mut self, image: Image) {
        self.lost.entry(image.node_id).or_default().push(image);
    }

    /// A node writes a record behind a log of this shape.
    pub(crate) fn written(&mut self, shape: &Shape, record: &Record) -> Verdict {
        match record {
            Record::HardState(_) => Ok(()),
            Record::Entry(entry) => self.entry_written(shape, entry),
            Record::Snapshot { meta, discard_log, .. } => {
                if let Some(term) = self.term_committed(meta.index) {
                    demand(term == meta.term, "a snapshot holds what is committed", || {
                        format!("snapshot {} has term {}, not {term}", meta.index, meta.term)
                    })?;
                }
                let kept = shape.at(meta.index).filter(|_| !discard_log);
                demand(
                    kept.is_none_or(|(term, _)| term == meta.term),
                    "a log that contradicts its snapshot is void",
                    || {
                        format!(
                            "entry {} is kept beside a snapshot of term {}",
                            meta.index, meta.term
                        )
                    },
                )
            }
        }
    }

    fn entry_written(&mut self, shape: &Shape, entry: &Entry) -> Verdict {
        let prev = shape.at(entry.index.prev());
        let before_first = (entry.index == Index(1)).then_some((Term(0), None));
        let Some((prev_term, prev_stamp)) = prev.or(before_first) else {
            return demand(false, "a log has no gaps", || format!("entry {}", entry.index));
        };
        let rises = prev_stamp.is_none_or(|stamp| entry.stamp >= stamp);
        demand(rises, "stamps never fall", || {
            format!("entry {} is stamped {} after {prev_stamp:?}", entry.index, entry.stamp)
        })?;
        demand(entry.term >= prev_term, "terms never fall along a log", || {
            format!("entry {} of term {} after term {prev_term}", entry.index, entry.term)
        })?;
        let now = Known { prev_term, stamp: entry.stamp, content: content(entry) };
        if entry.index == Index(1) && self.committed.is_empty() {
            // A founding proposal that a crash lost before its sync is made anew, under another id.
            self.known.remove(&(entry.index, entry.term));
        }
        let first = *self.known.entry((entry.index, entry.term)).or_insert(now);
        let same = first.prev_term == now.prev_term && first.content == now.content;
        demand(same && first.stamp == now.stamp, "logs match", || {
            format!("entry {} of term {}: {first:?} and {now:?}", entry.index, entry.term)
        })
    }

    /// A node applies an entry.
    pub(crate) fn applied(&mut self, entry: &Entry) -> Verdict {
        let first = *self.applied.entry(entry.index).or_insert(entry.term);
        let known = self.known.get(&(entry.index, entry.term));
        let same =
            first == entry.term && known.is_some_and(|known| known.content == content(entry));
        demand(same, "the same entry is applied everywhere", || {
            format!("entry {} of term {}, first applied with term {first}", entry.index, entry.term)
        })
    }

    /// Term of a committed entry.
    pub(crate) fn term_committed(&self, index: Index) -> Option<Term> {
        let at = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.committed.get(at).copied()
    }

    /// A node won its election: everything committed so far must stand in its log.
    pub(crate) fn elected(&self, raft: &Raft) -> Verdict {
        let last = self.committed();
        let Some(term) = self.term_committed(last) else { return Ok(()) };
        let status = raft.status();
        if term >= status.term {
            return Ok(()); // It leads a past term, and will learn that.
        }
        let holds = status.last >= last
            && raft.term_at(last).map_or(status.commit >= last, |held| held == term);
        demand(holds, "a leader holds everything committed", || {
            format!("entry {last} of term {term} is committed, the new leader has {status:?}")
        })
    }

    /// A node's commit index may have risen.
    pub(crate) fn commit_rose<'a>(
        &mut self,
        raft: &Raft,
        seen: &Seen,
        disks: impl Fn(NodeId) -> Option<&'a Image>,
    ) -> Verdict {
        let status = raft.status();
        if status.commit == seen.commit {
            return Ok(());
        }
        for at in seen.commit.0 + 1..=status.commit.0 {
            let index = Index(at);
            let Some(term) = raft.term_at(index) else { continue };
            match self.term_committed(index) {
                Some(before) => demand(before == term, "committed entries stay", || {
                    format!("entry {index} is committed with term {before} and with {term}")
                })?,
                None if at == self.committed.len() as u64 + 1 => self.committed.push(term),
                None => demand(false, "commits leave no gap", || format!("entry {index}"))?,
            }
            if at == status.commit.0 && index == self.committed() {
                self.synced_on_a_quorum(raft, index, term, &disks)?;
            }
        }
        self.by_counting(raft, seen)
    }

    /// The newest committed entry is on the disks of a majority.
    fn synced_on_a_quorum<'a>(
        &self,
        raft: &Raft,
        index: Index,
        term: Term,
        disks: &impl Fn(NodeId) -> Option<&'a Image>,
    ) -> Verdict {
        let Some(membership) = raft.membership() else { return Ok(()) };
        let lost = |id: NodeId| self.lost.get(&id).into_iter().flatten();
        let holds = |id: NodeId| {
            disks(id).is_some_and(|disk| disk.holds(index, term))
                || lost(id).any(|disk| disk.holds(index, term))
        };
        let on = membership.voters.iter().filter(|id| holds(**id)).count();
        let enough = on >= dsync_core::quorum::majority(membership.voters.len());
        demand(enough, "what is committed is synced on a majority", || {
            format!("entry {index} of term {term} is on {on} of {} disks", membership.voters.len())
        })
    }

    /// Section 3.6.2: a leader commits by counting only at an entry of its own term.
    fn by_counting(&self, raft: &Raft, seen: &Seen) -> Verdict {
        let status = raft.status();
        if status.role != RoleKind::Leader || !seen.leads {
            return Ok(());
        }
        let term = raft.term_at(status.commit);
        demand(term == Some(status.term), "a leader commits at an entry of its own term", || {
            format!("{} of term {term:?} in term {}", status.commit, status.term)
        })
    }
}

/// A short fingerprint of what an entry says.
fn content(entry: &Entry) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut mix = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
    match &entry.payload {
        Payload::Empty => mix(b"empty"),
        Payload::Command(bytes) => mix(&bytes[..bytes.len().min(64)]),
        Payload::Membership(_) | Payload::Founding(_) | Payload::BootHeld { .. } => {
            mix(&wire::encode(&entry.payload));
        }
    }
    hash
}
