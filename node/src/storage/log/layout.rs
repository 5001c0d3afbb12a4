//! Where the records of one batch come to stand: the bytes for the current segment, and for each
//! further segment that they need.
//!
//! The whole layout is made before the first byte is written. So want of room is found while the
//! log is still as it was, and the batch can be tried again. A batch may be larger than a segment;
//! a record larger than a segment gets one of its own size.
//!
//! Every segment keeps room for one end mark: a writer that falls idle can always state its end.

use dsync_core::raft::Record;
use dsync_core::types::{Index, Term};
use dsync_core::wire::{self, StoredRecord};

use super::LogOptions;
use super::frame::{self, END_MARK_BYTES, Kind, Position, Seal};
use super::segment::SEGMENT_HEADER_BYTES;
use super::tail::Tail;

/// Bytes for one segment.
#[derive(Debug)]
pub(super) struct Part {
    pub seal: Seal,
    /// Offset of the first byte.
    pub start: u64,
    pub bytes: Vec<u8>,
    /// Length that the segment must have.
    pub segment_bytes: u64,
    /// Highest entry in this part.
    pub highest: Index,
}

impl Part {
    pub(super) fn end(&self) -> Position {
        Position { segment: self.seal.segment, offset: self.start + self.bytes.len() as u64 }
    }

    fn has_room(&self, len: usize) -> bool {
        self.end().offset + (len + END_MARK_BYTES) as u64 <= self.segment_bytes
    }

    fn push(&mut self, record: &Record, body: &[u8]) {
        frame::push(&mut self.bytes, self.start, self.seal, Kind::Record, place(record), body);
        if let Record::Entry(entry) = record {
            self.highest = self.highest.max(entry.index);
        }
    }

    /// States `stated` and the log's last entry.
    pub(super) fn push_statement(&mut self, kind: Kind, last: (Index, Term), stated: Position) {
        frame::push_statement(&mut self.bytes, self.start, self.seal, kind, last, stated);
    }
}

/// One batch, laid out. `parts[0]` goes into the current segment and may be empty.
#[derive(Debug)]
pub(super) struct Layout {
    pub parts: Vec<Part>,
    pub tail: Tail,
}

impl Layout {
    /// Lays out records from the end of `current` on.
    pub(super) fn of(
        records: &[Record],
        current: Part,
        synced: Position,
        tail: &Tail,
        options: &LogOptions,
    ) -> Self {
        let mut layout = Self { parts: Vec::new(), tail: tail.clone() };
        let mut part = current;
        for record in records {
            let body = encode(record);
            let start = if part.bytes.is_empty() { END_MARK_BYTES } else { 0 };
            let len = frame::frame_bytes(body.len());
            if !part.has_room(start + len) {
                let next = Part::begin(part.end(), &layout.tail, len, options);
                layout.parts.push(std::mem::replace(&mut part, next));
            } else if part.bytes.is_empty() {
                part.push_statement(Kind::BatchStart, layout.tail.last, synced);
            }
            part.push(record, &body);
            layout.tail.follow(record);
        }
        layout.parts.push(part);
        layout
    }
}

impl Part {
    /// Begins the segment after `previous`, which ends there, with the state so far and room for
    /// `len` bytes more.
    pub(super) fn begin(previous: Position, tail: &Tail, len: usize, options: &LogOptions) -> Self {
        let LogOptions { segment_bytes, salt } = *options;
        let seal = Seal { salt, segment: previous.segment + 1 };
        let start = SEGMENT_HEADER_BYTES as u64;
        let mut part = Self { seal, start, bytes: Vec::new(), segment_bytes, highest: Index(0) };
        part.push_statement(Kind::SegmentStart, tail.last, previous);
        for record in tail.preamble() {
            part.push(&record, &encode(&record));
        }
        let needed = part.end().offset + (len + END_MARK_BYTES) as u64;
        part.segment_bytes = segment_bytes.max(needed);
        part
    }

    /// Adds a record and makes the segment as large as that needs.
    pub(super) fn push_growing(&mut self, record: &Record) {
        self.push(record, &encode(record));
        self.segment_bytes = self.segment_bytes.max(self.end().offset + END_MARK_BYTES as u64);
    }
}

/// The index and term that stand in the header of a record's frame.
pub(super) fn place(record: &Record) -> (Index, Term) {
    match record {
        Record::HardState(hard_state) => (Index(0), hard_state.term),
        Record::Entry(entry) => (entry.index, entry.term),
        Record::Snapshot { meta, .. } => (meta.index, meta.term),
    }
}

fn encode(record: &Record) -> Vec<u8> {
    wire::encode(&StoredRecord::V1(record.clone()))
}
