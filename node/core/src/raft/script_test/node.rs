//! One node of a script: a core, its disk, and a machine that only remembers what it applied.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::disk::Disk;
use super::show;
use crate::raft::*;

/// A node; without a core while it is down.
#[derive(Debug, Default)]
pub(super) struct Node {
    pub(super) raft: Option<Raft>,
    pub(super) disk: Disk,
    /// An earlier state of the disk, for `restore`.
    pub(super) backup: Vec<Record>,
    pub(super) machine: Vec<String>,
    pub(super) snapshot: Option<(SnapshotMeta, Bytes)>,
    /// What each follower is being sent: a snapshot that travels stays while a newer one is taken.
    pub(super) sending: BTreeMap<NodeId, (SnapshotMeta, Bytes)>,
    pub(super) incoming: Vec<u8>,
    /// What the machine says about when it next has something to end.
    pub(super) next_due: Option<ClusterTime>,
    pub(super) next_read: u64,
}

impl Node {
    /// Applies committed entries. A stamp moves time: what is due by then has ended.
    pub(super) fn apply(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.next_due = self.next_due.filter(|due| *due > entry.stamp);
            if let Payload::Command(command) = &entry.payload {
                self.machine.push(String::from_utf8_lossy(command).into_owned());
            }
        }
    }

    /// The machine as bytes.
    pub(super) fn frozen(&self) -> Bytes {
        Bytes::from(self.machine.join(" "))
    }

    /// Replaces the machine by the stored snapshot.
    pub(super) fn thaw(&mut self) {
        let bytes = self.snapshot.as_ref().map(|(_, bytes)| bytes.clone()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        self.machine = text.split_whitespace().map(String::from).collect();
    }

    /// A piece of the snapshot that travels, or the first one of the newest; and whether it is its end.
    pub(super) fn piece(
        &mut self,
        read: &SnapshotRead,
        size: usize,
    ) -> Option<(SnapshotMeta, u64, Bytes, bool)> {
        if read.offset == 0 {
            self.sending.remove(&read.to);
        }
        let travels = self.sending.get(&read.to).filter(|(meta, _)| meta.index == read.index);
        let (meta, bytes) = travels.or(self.snapshot.as_ref())?.clone();
        let offset = if meta.index == read.index { read.offset } else { 0 };
        self.sending.insert(read.to, (meta.clone(), bytes.clone()));
        let start = usize::try_from(offset).unwrap().min(bytes.len());
        let end = (start + size).min(bytes.len());
        Some((meta, offset, bytes.slice(start..end), end == bytes.len()))
    }
}

/// What a script's output compares before and after every step.
#[derive(Debug)]
pub(super) struct View {
    part: String,
    commit: Index,
    log_start: Index,
    log: Vec<Entry>,
}

impl View {
    pub(super) fn of(raft: &Raft) -> Self {
        let status = raft.status();
        Self {
            part: part(&status),
            commit: status.commit,
            log_start: status.log_start,
            log: raft.log.slice(status.log_start, usize::MAX),
        }
    }

    /// One line for everything that is different in `later`.
    pub(super) fn changes(&self, later: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        if self.part != later.part {
            lines.push(format!("{} => {}", self.part, later.part));
        }
        let stays = |entry: &&Entry| later.log_start > entry.index || later.log.contains(entry);
        let cut: Vec<&Entry> = self.log.iter().filter(|entry| !stays(entry)).collect();
        if !cut.is_empty() {
            lines.push(format!("cuts {}", show::entries(cut)));
        }
        if self.log_start != later.log_start {
            lines.push(format!("log starts at {} => {}", self.log_start, later.log_start));
        }
        if self.commit != later.commit {
            lines.push(format!("commit {} => {}", self.commit, later.commit));
        }
        lines
    }
}

/// `follower of n1, term 2`.
pub(super) fn part(status: &RaftStatus) -> String {
    let role = match status.role {
        RoleKind::Leader => String::from("leader"),
        RoleKind::Candidate => String::from("candidate"),
        RoleKind::Follower => match status.leader {
            Some(leader) => format!("follower of {}", show::name(leader)),
            None => String::from("follower of nobody"),
        },
    };
    format!("{role}, term {}", status.term)
}
