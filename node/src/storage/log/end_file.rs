//! Where the log was known to end, in a file of its own.
//!
//! **The problem.** Everything that proves how far the log goes stands in the log's last segment. If
//! the end of that segment is lost, by a file system check that cuts a file, by a disk that gives back
//! zeros, or by somebody who deletes the newest file, then what remains proves itself: it looks as if
//! the power had gone before the rest was written, and entries that were acknowledged are dropped in
//! silence.
//!
//! **The idea.** When the log has been idle for a while, and when it is closed, its end is also written
//! here, after it was synced there. A log that ends before it has lost something. There are two slots,
//! written in turn: the power may go during a write and spoil one, and the other still states an
//! earlier end. An earlier end is never wrong, since a log's end only rises.
//!
//! **What this cannot tell.** A loss of what was written after the last idle moment. To write this file
//! with each batch would cost a second sync for each.

use std::io;
use std::path::{Path, PathBuf};

use super::frame::Position;
use crate::storage::fs::{self, File};

const NAME: &str = "end";
const MAGIC: [u8; 8] = *b"dsyncend";
const SLOT_BYTES: usize = 36;
/// Far enough apart that no write of one can spoil the other.
const SLOT_STRIDE_BYTES: u64 = 4096;

/// The file, open.
#[derive(Debug)]
pub(super) struct EndFile {
    file: File,
    next_slot: u64,
    stated: Position,
}

/// Where the file is.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The end that the file states; (0, 0) if there is none yet.
///
/// `Ok(Err(_))`: it is damaged.
pub(super) fn read(folder: &Path) -> io::Result<Result<Position, &'static str>> {
    let bytes = match fs::read(&path(folder)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Ok(Position::default()));
        }
        Err(error) => return Err(error),
    };
    let slots = [Slot::read(&bytes, 0), Slot::read(&bytes, 1)];
    if slots.iter().all(|slot| matches!(slot, Slot::Bad)) {
        return Ok(Err("both statements of the log's end are bad"));
    }
    let stated = slots.into_iter().filter_map(|slot| match slot {
        Slot::States(end) => Some(end),
        Slot::Blank | Slot::Bad => None,
    });
    Ok(Ok(stated.max().unwrap_or_default()))
}

enum Slot {
    Blank,
    States(Position),
    Bad,
}

impl Slot {
    /// magic 8, crc32c of the rest 4, number of the slot 8, segment 8, offset 8; little-endian.
    fn read(file: &[u8], slot: u64) -> Self {
        let start = usize::try_from(slot * SLOT_STRIDE_BYTES).unwrap_or(usize::MAX);
        let Some(bytes) = file.get(start..).and_then(|rest| rest.get(..SLOT_BYTES)) else {
            return Self::Bad;
        };
        if bytes.iter().all(|byte| *byte == 0) {
            return Self::Blank;
        }
        let number = |at: usize| {
            bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        let end = Position { segment: number(20), offset: number(28) };
        if *bytes == encode(slot, end) { Self::States(end) } else { Self::Bad }
    }
}

impl EndFile {
    /// Opens the file, or makes it. Whichever slot `stated` stands in, the other is written next.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        let bytes = match fs::read(&path(folder)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let blank = vec![0; usize::try_from(2 * SLOT_STRIDE_BYTES).unwrap_or(0)];
                fs::replace(folder, NAME, &blank)?;
                blank
            }
            Err(error) => return Err(error),
        };
        let end = |slot| match Slot::read(&bytes, slot) {
            Slot::States(end) => end,
            Slot::Blank | Slot::Bad => Position::default(),
        };
        let next_slot = u64::from(end(0) > end(1));
        let stated = end(0).max(end(1));
        Ok(Self { file: File::open(&path(folder))?, next_slot, stated })
    }

    /// States an end that is synced. Does nothing if it stands there already.
    pub(super) fn state(&mut self, end: Position) -> io::Result<()> {
        if self.stated == end {
            return Ok(());
        }
        let slot = encode(self.next_slot, end);
        self.file.write_all_at(&slot, self.next_slot * SLOT_STRIDE_BYTES)?;
        self.file.sync_data()?;
        self.next_slot = 1 - self.next_slot;
        self.stated = end;
        Ok(())
    }
}

fn encode(slot: u64, end: Position) -> [u8; SLOT_BYTES] {
    let mut bytes = [0; SLOT_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[12..20].copy_from_slice(&slot.to_le_bytes());
    bytes[20..28].copy_from_slice(&end.segment.to_le_bytes());
    bytes[28..].copy_from_slice(&end.offset.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..8]), &bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}
