//! One frame: what a record, or a statement about the log, looks like in a segment.
//!
//! ```text
//! magic 4 | crc32c 4 | length of body 4 | kind 1 | zero 3 | index 8 | term 8 | body | zeros to 8
//! ```
//! Little-endian. The checksum covers everything after itself, padding too, and is seeded with the
//! log's salt, the segment's number and the frame's offset. So a frame is good in one place of one
//! log only: bytes that a disk put in the wrong place are bad, and so is a frame that a client
//! packed into a command to be found by recovery's scan (it does not know the salt).

use dsync_core::types::{Index, Term};

pub(super) const HEADER_BYTES: usize = 32;
pub(super) const ALIGNMENT: usize = 8;
/// Size of an end mark: a header and one position.
pub(super) const END_MARK_BYTES: usize = HEADER_BYTES + POSITION_BYTES;
const POSITION_BYTES: usize = 16;
const MAGIC: [u8; 4] = *b"dsFr";

/// A place in the log: everything before it, in this segment and all earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// Number of the segment. 0 is before the first.
    pub segment: u64,
    /// Byte in its file.
    pub offset: u64,
}

/// What makes a frame good only where it was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seal {
    pub salt: u64,
    pub segment: u64,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// First frame of every segment in use. States the end of the segment before.
    SegmentStart,
    /// First frame of every batch. States the synced end.
    BatchStart,
    /// Written when the writer falls idle. States its own position.
    EndMark,
    /// An encoded record.
    Record,
}

/// A frame as read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub kind: Kind,
    /// Of a record: its own. Of the others: the last entry of the log at this place.
    pub last: (Index, Term),
    pub body: &'a [u8],
    /// Offset of the byte after it.
    pub end: usize,
}

impl Frame<'_> {
    /// The position up to which this frame says that the log is synced.
    pub(super) fn stated_end(&self) -> Option<Position> {
        if self.kind == Kind::Record || self.body.len() != POSITION_BYTES {
            return None;
        }
        Some(Position { segment: number(self.body, 0), offset: number(self.body, 8) })
    }
}

/// Bytes that a body of this length takes in the file.
pub(super) fn frame_bytes(body_len: usize) -> usize {
    (HEADER_BYTES + body_len).next_multiple_of(ALIGNMENT)
}

/// Appends a frame to `out`; `start` is the offset in the segment at which `out` begins.
pub(super) fn push(
    out: &mut Vec<u8>,
    start: u64,
    seal: Seal,
    kind: Kind,
    last: (Index, Term),
    body: &[u8],
) {
    let at = out.len();
    #[allow(clippy::cast_possible_truncation)] // every record is bounded far below 4 GiB
    let len = body.len() as u32;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&[kind.code(), 0, 0, 0]);
    out.extend_from_slice(&last.0.0.to_le_bytes());
    out.extend_from_slice(&last.1.0.to_le_bytes());
    out.extend_from_slice(body);
    out.resize(at + frame_bytes(body.len()), 0);
    let crc = checksum(seal, start + at as u64, &out[at + 8..]);
    out[at + 4..at + 8].copy_from_slice(&crc.to_le_bytes());
}

/// Appends a frame that states a position.
pub(super) fn push_statement(
    out: &mut Vec<u8>,
    start: u64,
    seal: Seal,
    kind: Kind,
    last: (Index, Term),
    stated: Position,
) {
    let mut body = [0; POSITION_BYTES];
    body[..8].copy_from_slice(&stated.segment.to_le_bytes());
    body[8..].copy_from_slice(&stated.offset.to_le_bytes());
    push(out, start, seal, kind, last, &body);
}

/// The frame at `offset` of a segment's bytes; `None` if what stands there is not a good frame.
pub(super) fn parse(segment: &[u8], seal: Seal, offset: usize) -> Option<Frame<'_>> {
    let rest = segment.get(offset..)?;
    let header = rest.get(..HEADER_BYTES)?;
    if header[..4] != MAGIC {
        return None;
    }
    let body_len = u32::from_le_bytes(header[8..12].try_into().ok()?) as usize;
    let len = frame_bytes(body_len);
    let whole = rest.get(..len)?;
    if header[4..8] != checksum(seal, offset as u64, &whole[8..]).to_le_bytes() {
        return None;
    }
    Some(Frame {
        kind: Kind::from_code(header[12])?,
        last: (Index(number(header, 16)), Term(number(header, 24))),
        body: &whole[HEADER_BYTES..HEADER_BYTES + body_len],
        end: offset + len,
    })
}

/// The position stated by the frame at `offset`, if a good statement stands there. Costs the same
/// whatever length the bytes there claim to have.
pub(super) fn parse_statement(segment: &[u8], seal: Seal, offset: usize) -> Option<Position> {
    let candidate = segment.get(..offset + END_MARK_BYTES)?;
    parse(candidate, seal, offset)?.stated_end()
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Self::SegmentStart => 1,
            Self::BatchStart => 2,
            Self::EndMark => 3,
            Self::Record => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::SegmentStart, Self::BatchStart, Self::EndMark, Self::Record]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

fn checksum(seal: Seal, offset: u64, bytes: &[u8]) -> u32 {
    let mut place = [0; 24];
    place[..8].copy_from_slice(&seal.salt.to_le_bytes());
    place[8..16].copy_from_slice(&seal.segment.to_le_bytes());
    place[16..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&place), bytes)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
