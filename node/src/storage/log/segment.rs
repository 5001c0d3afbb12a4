//! One segment file: zero-filled, made under a temporary name, renamed in.
//!
//! A segment is made whole before it is used. Its zeros are written and synced, so a later write
//! into it changes no metadata: `fdatasync` has one thing to do, and there is room by then (on file
//! systems that write in place). It gets its name only when its header is synced, so a header that
//! cannot be read is always damage and never a torn write. The header states the length that the
//! segment was made with: a file that has become shorter has lost its end, unless recovery cut it.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::Seal;
use crate::storage::fs::{self, File};

pub(super) const SEGMENT_HEADER_BYTES: usize = 64;
const MAGIC: [u8; 8] = *b"dsynclog";
const VERSION: u32 = 2;
const TEMPORARY: &str = "segment.tmp";
const SUFFIX: &str = ".segment";
/// Zeros are written in pieces of this size.
const FILL_BYTES: usize = 1 << 20;

/// What a segment's header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub seal: Seal,
    /// Length that the file was made with.
    pub made_bytes: u64,
}

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub seal: Seal,
    /// Length of the file.
    pub len: u64,
    pub file: File,
}

impl Segment {
    /// Makes a segment of `len` bytes, at least, that begins with `content` after its header, and
    /// gives it its name. When this returns, all of it is durable. A segment of that number is
    /// replaced in one step.
    pub(super) fn make(folder: &Path, seal: Seal, content: &[u8], len: u64) -> io::Result<Self> {
        let temporary = folder.join(TEMPORARY);
        let made = fill(&temporary, seal, content, len);
        if made.is_err() {
            // It may have failed for want of room: give back what it took.
            let _ = fs::remove_temporary(folder, TEMPORARY);
        }
        made?;
        fs::rename(&temporary, &path(folder, seal.segment))?;
        fs::sync_folder(folder)?;
        Self::open(folder, seal)
    }

    /// Opens a segment whose header has been read.
    pub(super) fn open(folder: &Path, seal: Seal) -> io::Result<Self> {
        let file = File::open(&path(folder, seal.segment))?;
        Ok(Self { seal, len: file.len()?, file })
    }
}

/// Numbers of the segments in a folder, ascending.
pub(super) fn list(folder: &Path) -> io::Result<Vec<u64>> {
    let names = fs::list(folder)?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_suffix(SUFFIX).and_then(|number| number.parse().ok()))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Deletes what an interrupted [`Segment::make`] left.
pub(super) fn remove_temporary(folder: &Path) -> io::Result<()> {
    fs::remove_temporary(folder, TEMPORARY)
}

/// Where a segment's file is.
pub(super) fn path(folder: &Path, segment: u64) -> PathBuf {
    folder.join(format!("{segment:020}{SUFFIX}"))
}

/// Checks the header of a segment's bytes and gives back what it says.
pub(super) fn read_header(bytes: &[u8], segment: u64) -> Result<Header, &'static str> {
    let found = bytes.get(..SEGMENT_HEADER_BYTES).ok_or("segment without a header")?;
    let number =
        |at: usize| found[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let (salt, made_bytes) = (number(24), number(32));
    let read = Header { seal: Seal { salt, segment }, made_bytes };
    if found[..8] == MAGIC && found[8..12] != VERSION.to_le_bytes() && sealed(found) {
        return Err("segment of another release's version");
    }
    if found != header(read) {
        return Err("bad segment header");
    }
    Ok(read)
}

/// magic 8, version 4, crc32c of everything else 4, number 8, salt 8, length of the file 8, zeros.
fn header(header: Header) -> [u8; SEGMENT_HEADER_BYTES] {
    let Header { seal, made_bytes } = header;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&seal.segment.to_le_bytes());
    bytes[24..32].copy_from_slice(&seal.salt.to_le_bytes());
    bytes[32..40].copy_from_slice(&made_bytes.to_le_bytes());
    let crc = header_crc(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn sealed(header: &[u8]) -> bool {
    header[12..16] == header_crc(header).to_le_bytes()
}

fn header_crc(header: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&header[..12]), &header[16..])
}

fn fill(path: &Path, seal: Seal, content: &[u8], len: u64) -> io::Result<()> {
    let file = File::create(path)?;
    let mut at = (SEGMENT_HEADER_BYTES + content.len()) as u64;
    let made_bytes = len.max(at);
    file.write_all_at(&header(Header { seal, made_bytes }), 0)?;
    file.write_all_at(content, SEGMENT_HEADER_BYTES as u64)?;
    while at < made_bytes {
        let piece = usize::try_from(made_bytes - at).unwrap_or(FILL_BYTES).min(FILL_BYTES);
        file.write_all_at(&vec![0; piece], at)?;
        at += piece as u64;
    }
    file.sync_data()
}
