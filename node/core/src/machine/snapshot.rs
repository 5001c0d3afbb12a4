//! The state as a file, and as a hash.
//!
//! # Format
//!
//! A sequence of chunks, each self-delimiting and checked:
//!
//! ```text
//! length u32 | crc32c of payload u32 | crc32c of the 8 bytes before u32 | payload
//! ```
//!
//! All numbers are little-endian. The payload is a [`StoredChunk`]. The first chunk is the head, the
//! last one says how many records there were and what checksum all bytes before it have, so a file
//! that lost a chunk in the middle is noticed, too. The header's own checksum lets a reader trust a
//! length before it waits for that many bytes. In between come records in one fixed order: processes
//! by node, each followed by its remembered outcomes; then locks; then clients' requests; then queues;
//! then items of clients' requests.
//!
//! Records are made one at a time from a frozen copy of the state, each found by the key of the one
//! before it, so writing needs one chunk of memory however large the state is.
//!
//! The bytes depend on the state only, never on how it came about: the hash of them is the hash of
//! the state.
//!
//! # Checklist for a change of a type in here
//!
//! `Settings`, `RingTable`, `LockRecord`, `RequestRecord`, `QueueRecord`, `ItemRecord`, `Applied` and everything inside them is part of the format. Never touch
//! a published variant; add `StoredChunk::V2`; add its golden bytes; write it only above the feature
//! level at which every member reads it.

use std::ops::Bound::{self, Excluded, Unbounded};

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::command::Applied;
use super::hash_clock::HashClock;
use super::item_requests::{ItemCursor, ItemRecord};
use super::requests::{RequestCursor, RequestRecord};
use super::session::Session;
use super::{Founded, Machine};
use crate::audit::AuditHead;
use crate::cache::RingTable;
use crate::locks::{LockCursor, LockRecord};
use crate::queue::{QueueCursor, QueueRecord};
use crate::types::{ActiveTime, BootCount, BootId, ClusterTime, Index, NodeId};
use crate::wire;

/// Bytes of a chunk before its payload.
pub(super) const HEADER_BYTES: usize = 12;
/// A chunk is closed when its records have reached this size.
const CHUNK_BYTES: usize = 64 * 1024 - 2 * HEADER_BYTES;

/// The payload of one chunk of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredChunk {
    /// First format.
    V1(Chunk),
}

/// A chunk, by its place in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Chunk {
    /// The first.
    Head(Box<Head>),
    /// Any number of them, each as full as it gets.
    Records {
        /// How many.
        count: u32,
        /// [`Record`]s, one after the other.
        records: Bytes,
    },
    /// The last.
    End {
        /// How many records the file has.
        records: u64,
        /// crc32c of all bytes before this chunk.
        checksum: u32,
    },
}

/// What is there once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The last entry in it.
    pub(super) applied: Index,
    /// Cluster time.
    pub(super) time: ClusterTime,
    /// How much of it has passed while anything was timed.
    pub(super) active: ActiveTime,
    /// The founding entry's facts.
    pub(super) founded: Option<Founded>,
    /// The end of the audit trail.
    pub(super) audit: AuditHead,
    /// The homes in service: as many as there are voters, at most.
    pub(super) ring: RingTable,
    /// What was applied since the state was hashed.
    pub(super) hash_clock: HashClock,
}

/// What is there many times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Record {
    /// The newest process of a node.
    Boot { node: NodeId, boot: BootId, count: BootCount, draining: bool, low_water: u64 },
    /// A remembered outcome of the process before it.
    Answer { sequence: u64, applied: Applied },
    /// Of the lock table.
    Lock(LockRecord),
    /// Of the requests that are remembered.
    Request(RequestRecord),
    /// Of the queues.
    Queue(QueueRecord),
    /// Of the items of requests that are remembered.
    Item(ItemRecord),
}

impl Machine {
    /// The state as a sequence of chunks of about 64 KiB, made one at a time. Written one after the
    /// other they are the snapshot file. Call it on a clone: applying goes on meanwhile.
    pub fn snapshot_chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        Chunks { machine: self, part: Part::Head, records: 0, checksum: 0 }
    }

    /// A hash of the whole state: equal states have equal hashes, however they came about. It costs
    /// as much as writing a snapshot, so take it from a frozen copy.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut sha = Sha256::new();
        for chunk in self.clone().snapshot_chunks() {
            sha.update(&chunk);
        }
        sha.finalize().iter().take(8).fold(0, |hash, byte| hash << 8 | u64::from(*byte))
    }
}

struct Chunks {
    machine: Machine,
    part: Part,
    /// Written so far.
    records: u64,
    /// Of all bytes so far.
    checksum: u32,
}

/// What comes next.
enum Part {
    Head,
    Records(Cursor),
    End,
    Nothing,
}

/// Which record comes next.
enum Cursor {
    Boot(Bound<NodeId>),
    Answer(NodeId, Bound<u64>),
    Lock(Option<LockCursor>),
    Request(Option<RequestCursor>),
    Queue(Option<QueueCursor>),
    Item(Option<ItemCursor>),
}

impl Iterator for Chunks {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = match &mut self.part {
            Part::Head => {
                self.part = Part::Records(Cursor::Boot(Unbounded));
                Chunk::Head(Box::new(head(&self.machine)))
            }
            Part::Records(cursor) => match fill(&self.machine, cursor) {
                Some((count, records)) => {
                    self.records += u64::from(count);
                    Chunk::Records { count, records }
                }
                None => {
                    self.part = Part::End;
                    return self.next();
                }
            },
            Part::End => {
                self.part = Part::Nothing;
                Chunk::End { records: self.records, checksum: self.checksum }
            }
            Part::Nothing => return None,
        };
        let bytes = frame(&StoredChunk::V1(chunk));
        self.checksum = crc32c::crc32c_append(self.checksum, &bytes);
        Some(bytes)
    }
}

fn head(machine: &Machine) -> Head {
    Head {
        applied: machine.applied,
        time: machine.time,
        active: machine.active,
        founded: machine.founded.as_deref().cloned(),
        audit: machine.audit,
        ring: (*machine.ring).clone(),
        hash_clock: machine.hash_clock,
    }
}

/// The next chunk's worth of records, encoded; `None` if there are none left.
fn fill(machine: &Machine, cursor: &mut Cursor) -> Option<(u32, Bytes)> {
    let (mut count, mut records) = (0, BytesMut::new());
    while records.len() < CHUNK_BYTES {
        let Some(record) = next_record(machine, cursor) else { break };
        records.put_slice(&wire::encode(&record));
        count += 1;
    }
    (count > 0).then(|| (count, records.freeze()))
}

fn next_record(machine: &Machine, cursor: &mut Cursor) -> Option<Record> {
    let (record, next) = match &*cursor {
        Cursor::Boot(from) => match machine.sessions.range((*from, Unbounded)).next() {
            Some((node, session)) => {
                let Session { boot, count, draining, low_water, .. } = *session;
                let record = Record::Boot { node: *node, boot, count, draining, low_water };
                (Some(record), Cursor::Answer(*node, Unbounded))
            }
            None => (None, Cursor::Lock(None)),
        },
        Cursor::Answer(node, from) => {
            let answers = machine.sessions.get(node).map(|session| &session.answers);
            match answers.and_then(|answers| answers.range((*from, Unbounded)).next()) {
                Some((&sequence, applied)) => {
                    let record = Record::Answer { sequence, applied: applied.clone() };
                    (Some(record), Cursor::Answer(*node, Excluded(sequence)))
                }
                None => (None, Cursor::Boot(Excluded(*node))),
            }
        }
        Cursor::Lock(after) => match machine.locks.record_after(*after) {
            Some((at, record)) => (Some(Record::Lock(record)), Cursor::Lock(Some(at))),
            None => (None, Cursor::Request(None)),
        },
        Cursor::Request(after) => match machine.requests.record_after(after.as_ref()) {
            Some((at, record)) => (Some(Record::Request(record)), Cursor::Request(Some(at))),
            None => (None, Cursor::Queue(None)),
        },
        Cursor::Queue(after) => match machine.queues.record_after(after.as_ref()) {
            Some((at, record)) => (Some(Record::Queue(record)), Cursor::Queue(Some(at))),
            None => (None, Cursor::Item(None)),
        },
        Cursor::Item(after) => {
            let (at, record) = machine.items.record_after(after.as_ref())?;
            (Some(Record::Item(record)), Cursor::Item(Some(at)))
        }
    };
    *cursor = next;
    record.or_else(|| next_record(machine, cursor))
}

/// Length and checksums before the payload.
fn frame(chunk: &StoredChunk) -> Bytes {
    let payload = wire::encode(chunk);
    let mut bytes = BytesMut::with_capacity(HEADER_BYTES + payload.len());
    // A chunk is one record longer than its limit at most, and a record is far below 4 GiB.
    bytes.put_u32_le(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.put_u32_le(crc32c::crc32c(&payload));
    bytes.put_u32_le(crc32c::crc32c(&bytes));
    bytes.put_slice(&payload);
    bytes.freeze()
}
