//! Snapshots: taken now and then, stored after a while, sent and received in pieces.

use bytes::Bytes;
use dsync_core::raft::{Input, SnapshotWrite};
use dsync_core::types::{Index, LocalTime, NodeId};

use super::super::disk::SnapshotFile;
use super::super::node::Node;
use super::super::queue::{Event, ProcessEvent};
use super::super::world::Shared;
use super::{Process, restored};

impl Process {
    /// Freezes the state now and then; the file is written while applying goes on.
    pub(super) fn snapshot(&mut self, node: &Node, _now: LocalTime, shared: &mut Shared) {
        let applied = self.machine.applied();
        let due = applied.0 >= self.snapshot_at.0 + shared.plan.snapshot_every;
        if self.snapshot_busy || !due {
            return;
        }
        let Some(meta) = self.raft.snapshot_meta(applied) else { return };
        (self.snapshot_busy, self.snapshot_at) = (true, applied);
        shared.check_hash(node.slot, applied, self.machine.hash());
        let bytes: Vec<u8> = self.machine.clone().snapshot_chunks().flatten().collect();
        let file = SnapshotFile { meta, bytes: Bytes::from(bytes) };
        store_later(node, file, false, shared);
    }

    pub(super) fn file_stored(
        &mut self,
        node: &mut Node,
        now: LocalTime,
        file: SnapshotFile,
        received: bool,
    ) {
        let meta = file.meta.clone();
        node.disk.image.store(file);
        if received {
            self.raft.step(now, Input::SnapshotStored(meta));
        } else {
            self.snapshot_busy = false;
            self.raft.step(now, Input::SnapshotTaken(meta));
        }
    }

    pub(super) fn read_snapshot(
        &mut self,
        node: &Node,
        now: LocalTime,
        to: NodeId,
        index: Index,
        offset: u64,
        shared: &Shared,
    ) {
        let under_way = self.sending.get(&to);
        let goes_on = under_way.filter(|file| offset > 0 && file.meta.index == index).cloned();
        let (file, offset) = match (goes_on, node.disk.image.newest_stored()) {
            (Some(file), _) => (file, offset),
            (None, Some(newest)) => (newest.clone(), 0),
            (None, None) => return,
        };
        self.sending.insert(to, file.clone());
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(file.bytes.len());
        let end = (from + shared.plan.chunk_bytes).min(file.bytes.len());
        let input = Input::SnapshotData {
            to,
            offset: from as u64,
            bytes: file.bytes.slice(from..end),
            last: end == file.bytes.len(),
            meta: file.meta,
        };
        self.raft.step(now, input);
    }

    pub(super) fn write_snapshot(
        &mut self,
        node: &Node,
        now: LocalTime,
        write: SnapshotWrite,
        shared: &mut Shared,
    ) {
        if write.offset == 0 {
            self.receiving.clear();
        }
        if self.receiving.len() as u64 != write.offset {
            return self.raft.step(now, Input::SnapshotBroken);
        }
        self.receiving.extend_from_slice(&write.bytes);
        if !write.last {
            return;
        }
        let bytes = Bytes::from(std::mem::take(&mut self.receiving));
        if let Err(what) = restored(&bytes) {
            shared.violation("a received snapshot is whole", node.slot, what);
        }
        store_later(node, SnapshotFile { meta: write.meta, bytes }, true, shared);
    }
}

/// Lets a file become durable after a while.
fn store_later(node: &Node, file: SnapshotFile, received: bool, shared: &mut Shared) {
    let at = node.sync_end(shared);
    let (slot, generation) = (node.slot, node.generation);
    let event = ProcessEvent::FileStored { file: Box::new(file), received };
    shared.queue.push(at, Event::Process { slot, generation, event });
}
