//! A machine from a snapshot's bytes. The format stands in `snapshot.rs`.
//!
//! The bytes come from the own disk or from another node, in pieces of any size, and are believed
//! only by their checksums. Nothing of a broken snapshot is used: there is a machine at the end, or
//! an error that says which chunk is wrong and how.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::Machine;
use super::session::Session;
use super::snapshot::{Chunk, HEADER_BYTES, Head, Record, StoredChunk};
use crate::types::NodeId;
use crate::wire;

/// The first byte of a payload: which variant of [`StoredChunk`].
const V1: u8 = 0;

/// Why bytes are not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The bytes end before the snapshot does.
    #[error("the snapshot is cut off after {chunks} whole chunks")]
    Truncated {
        /// How many chunks were read.
        chunks: u64,
    },
    /// A checksum does not fit.
    #[error("chunk {chunk} of the snapshot is damaged: {what}")]
    Damaged {
        /// Which, from 0.
        chunk: u64,
        /// What was found.
        what: &'static str,
    },
    /// It was written by another release.
    #[error("chunk {chunk} of the snapshot has format {found}, this release reads format 1")]
    Version {
        /// Which, from 0.
        chunk: u64,
        /// Its format.
        found: u32,
    },
    /// There is more after the end.
    #[error("bytes follow the end of the snapshot")]
    TrailingBytes,
    /// Every checksum fits, but the content contradicts itself.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(String),
}

/// Builds a machine from a snapshot's bytes, in pieces of any size.
#[derive(Debug, Default)]
pub struct Restore {
    /// The start of a chunk that is not whole yet.
    buffer: BytesMut,
    machine: Machine,
    /// Whole chunks read.
    chunks: u64,
    records: u64,
    /// Of all bytes of whole chunks.
    checksum: u32,
    /// The process that the next remembered outcome belongs to.
    node: Option<NodeId>,
    /// The last chunk was read.
    complete: bool,
    /// The first error; every later call says it again.
    failed: Option<RestoreError>,
}

impl Restore {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// As soon as they cannot belong to a snapshot; everything after that gets the same error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.buffer.extend_from_slice(bytes);
        let read = self.read_chunks();
        self.failed = read.clone().err();
        read
    }

    /// The machine, if the bytes were a whole snapshot.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn finish(self) -> Result<Machine, RestoreError> {
        match self.failed {
            Some(error) => Err(error),
            None if self.complete => Ok(self.machine),
            None => Err(RestoreError::Truncated { chunks: self.chunks }),
        }
    }

    fn read_chunks(&mut self) -> Result<(), RestoreError> {
        while !self.complete {
            let Some(payload_bytes) = self.payload_bytes()? else { return Ok(()) };
            if self.buffer.len() < HEADER_BYTES + payload_bytes {
                return Ok(());
            }
            let frame = self.buffer.split_to(HEADER_BYTES + payload_bytes).freeze();
            self.read_chunk(&frame)?;
        }
        if self.buffer.is_empty() { Ok(()) } else { Err(RestoreError::TrailingBytes) }
    }

    /// How long the next chunk's payload is, once its header is there.
    fn payload_bytes(&self) -> Result<Option<usize>, RestoreError> {
        let Some(mut header) = self.buffer.get(..HEADER_BYTES) else { return Ok(None) };
        let expected = crc32c::crc32c(&header[..8]);
        let length = header.get_u32_le();
        header.advance(4);
        if header.get_u32_le() != expected {
            return Err(self.damaged("the header's checksum does not fit"));
        }
        Ok(Some(usize::try_from(length).unwrap_or(usize::MAX)))
    }

    fn read_chunk(&mut self, frame: &Bytes) -> Result<(), RestoreError> {
        let payload = frame.slice(HEADER_BYTES..);
        if (&frame[4..]).get_u32_le() != crc32c::crc32c(&payload) {
            return Err(self.damaged("the payload's checksum does not fit"));
        }
        if let Some(version) = payload.first().filter(|version| **version != V1) {
            return Err(RestoreError::Version {
                chunk: self.chunks,
                found: 1 + u32::from(*version),
            });
        }
        let StoredChunk::V1(chunk) = wire::decode("snapshot chunk", &payload)
            .map_err(|_| self.damaged("the payload cannot be decoded"))?;
        self.take_chunk(chunk)?;
        self.checksum = crc32c::crc32c_append(self.checksum, frame);
        self.chunks += 1;
        Ok(())
    }

    fn take_chunk(&mut self, chunk: Chunk) -> Result<(), RestoreError> {
        match chunk {
            Chunk::Head(head) if self.chunks == 0 => self.take_head(*head),
            Chunk::Records { count, records } if self.chunks > 0 => {
                self.take_records(count, &records)?;
            }
            Chunk::End { records, checksum } if self.chunks > 0 => {
                if records != self.records || checksum != self.checksum {
                    return Err(self.damaged("the last chunk does not fit those before it"));
                }
                self.complete = true;
            }
            Chunk::Head(_) | Chunk::Records { .. } | Chunk::End { .. } => {
                return Err(self.damaged("the chunks are not in order"));
            }
        }
        Ok(())
    }

    fn take_head(&mut self, head: Head) {
        self.machine.applied = head.applied;
        self.machine.time = head.time;
        self.machine.active = head.active;
        self.machine.founded = head.founded.map(Arc::new);
        self.machine.audit = head.audit;
        self.machine.ring = Arc::new(head.ring);
        self.machine.hash_clock = head.hash_clock;
    }

    fn take_records(&mut self, count: u32, mut bytes: &[u8]) -> Result<(), RestoreError> {
        for _ in 0..count {
            let (record, rest) = postcard::take_from_bytes(bytes)
                .map_err(|_| self.damaged("a record cannot be decoded"))?;
            self.take_record(record).map_err(RestoreError::Inconsistent)?;
            bytes = rest;
        }
        self.records += u64::from(count);
        if bytes.is_empty() { Ok(()) } else { Err(self.damaged("more records than counted")) }
    }

    fn take_record(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Boot { node, boot, count, draining, low_water } => {
                let session = Session { draining, low_water, ..Session::new(boot, count) };
                self.machine.sessions.insert_mut(node, session);
                self.node = Some(node);
            }
            Record::Answer { sequence, applied } => {
                let session = self.node.and_then(|node| self.machine.sessions.get_mut(&node));
                session.ok_or("an outcome without a process")?.remember(sequence, applied);
            }
            Record::Lock(record) => self.machine.locks.restore(&record)?,
            Record::Request(record) => self.machine.requests.restore(record),
            Record::Queue(record) => self.machine.queues.restore(record)?,
            Record::Item(record) => self.machine.items.restore(record),
        }
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> RestoreError {
        RestoreError::Damaged { chunk: self.chunks, what }
    }
}
