//! One file of the trail, as it is known without reading it again, and as it is read.

use std::io;
use std::path::{Path, PathBuf};

use dsync_core::audit::{AuditHead, AuditRecord};

use super::frame::{self, Framed, HEADER_BYTES, SEAL_BYTES};
use crate::storage::fs;

/// End of a segment's name.
pub const SUFFIX: &str = ".audit";

/// What is known of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its file.
    pub path: PathBuf,
    /// The chain's head before its first record.
    pub start: AuditHead,
    /// The chain's head after its last record. `end.count > start.count`.
    pub end: AuditHead,
    /// Bytes in use: header, records, and the seal if it has one.
    pub bytes: u64,
    /// Earliest wall time of a record.
    pub first_ms: u64,
    /// Latest one.
    pub last_ms: u64,
    /// It ends with a seal; nothing is appended any more.
    pub sealed: bool,
}

impl Segment {
    /// The number of its first record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.start.count + 1
    }

    /// True if the record of that number stands in it.
    #[must_use]
    pub fn covers(&self, number: u64) -> bool {
        self.start.count < number && number <= self.end.count
    }
}

/// The file of the segment whose first record has this number.
#[must_use]
pub fn path(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{first:020}{SUFFIX}"))
}

/// One good record.
#[derive(Clone, Debug)]
pub struct Read<'a> {
    /// As it stands in the file.
    pub framed: Framed<'a>,
    /// What it says.
    pub record: AuditRecord,
    /// The chain's head after it.
    pub head: AuditHead,
}

/// Why a segment's bytes are not what was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// The first bytes are not a header.
    #[error("the header is damaged")]
    Header,
    /// Where a record should begin there is none that is whole.
    #[error("record {number}, at byte {offset}, is damaged or cut off")]
    Frame {
        /// The record that should stand there.
        number: u64,
        /// Byte of the file.
        offset: u64,
    },
    /// A whole record, but of another number.
    #[error("record {found} stands where record {number} should")]
    Number {
        /// The record that should stand there.
        number: u64,
        /// What stands there.
        found: u64,
    },
    /// A whole record of the right number that is not the one that was written, or follows one that
    /// is not.
    #[error("record {number} is not what was written, or does not follow the one before")]
    Link {
        /// Which.
        number: u64,
    },
    /// The records are good one by one, but the head behind them is another than the seal says.
    #[error("the records {first} to {last} do not lead to the head that the segment ends with")]
    Seal {
        /// First record of the segment.
        first: u64,
        /// Last one.
        last: u64,
    },
}

/// A segment's bytes, read from front to end. After something wrong it ends.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
    head: AuditHead,
    seal: Option<frame::Seal>,
    /// Where records end: before the seal, or at the end.
    until: usize,
    over: bool,
}

impl<'a> Reader<'a> {
    /// Begins to read.
    ///
    /// # Errors
    /// [`Wrong::Header`].
    pub fn new(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let head = frame::read_header(bytes).ok_or(Wrong::Header)?;
        let records = bytes.len().saturating_sub(SEAL_BYTES);
        let seal = (records >= HEADER_BYTES).then(|| frame::read_seal(&bytes[records..])).flatten();
        let until = if seal.is_some() { records } else { bytes.len() };
        Ok(Self { bytes, offset: HEADER_BYTES, head, seal, until, over: false })
    }

    /// The head before the next record.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        self.head
    }

    /// The byte at which the next record begins.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset as u64
    }

    /// What the segment says at its end, if it has been sealed.
    #[must_use]
    pub fn seal(&self) -> Option<frame::Seal> {
        self.seal
    }

    fn step(&mut self) -> Option<Result<Read<'a>, Wrong>> {
        let number = self.head.count + 1;
        if self.offset == self.until {
            let differs = self.seal.is_some_and(|seal| seal.end != self.head);
            let first = frame::read_header(self.bytes)?.count + 1;
            return differs.then_some(Err(Wrong::Seal { first, last: self.head.count }));
        }
        let offset = self.offset as u64;
        let framed = frame::read_record(&self.bytes[self.offset..self.until]);
        let read = framed.and_then(|framed| Some((framed, framed.record()?)));
        let Some((framed, record)) = read else {
            return Some(Err(Wrong::Frame { number, offset }));
        };
        if record.number != number {
            return Some(Err(Wrong::Number { number, found: record.number }));
        }
        let head = self.head.after(framed.bytes);
        if frame::link(&head.hash) != framed.link {
            return Some(Err(Wrong::Link { number }));
        }
        self.offset += framed.len();
        self.head = head;
        Some(Ok(Read { framed, record, head }))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Read<'a>, Wrong>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let next = self.step();
        self.over = !matches!(next, Some(Ok(_)));
        next
    }
}

/// The bytes of a segment that are in use, while its end may be growing.
///
/// # Errors
/// Whatever the disk says; `NotFound` if it has been deleted.
pub fn read(segment: &Segment) -> io::Result<Vec<u8>> {
    let len = usize::try_from(segment.bytes).map_err(io::Error::other)?;
    fs::File::open(&segment.path)?.read_at(0, len)
}
