//! Snapshots of the machine, one file each: written from pieces, sent in pieces, received in pieces.
//!
//! ```text
//! magic 8 | version 4 | length of meta 4 | meta | pieces | 0 4 | length of all before 8 | crc32c 4
//! a piece: length 4 (not 0) | crc32c 4 | bytes
//! ```
//! Little-endian; the last checksum covers the whole file before it, header included. A leader sends
//! the file as it is, so *offsets count bytes of this file from its first*, and what a follower has
//! received is the same file, checked by the same code. A piece's own checksum tells where a damaged
//! file is bad; the last one tells that nothing is missing.
//!
//! A file gets its final name only when it is complete, checked and synced. So a file with such a
//! name that cannot be read is damage, and an error; whatever has the temporary name is void after a
//! restart. (A broken transfer resumes while the process lives. To resume it after a restart would
//! need a proof of what is on the disk, for the sake of a rare case.)
//!
//! A snapshot counts from the log's record on, not from its name: [`SnapshotStore::delete_older`] is
//! called when that record is synced.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use dsync_core::raft::{SnapshotMeta, SnapshotWrite};
use dsync_core::types::{Index, Term};
use dsync_core::wire;

use super::fs::{self, File};

/// Largest piece that [`SnapshotStore::read_piece`] gives out, in bytes.
pub const PIECE_BYTES_MAX: usize = 128 << 10;

const MAGIC: [u8; 8] = *b"dsyncsn\0";
const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16;
const PIECE_HEAD_BYTES: usize = 8;
const TRAILER_BYTES: usize = 16;
const SUFFIX: &str = ".snapshot";
const TAKEN: &str = "taken.tmp";
const RECEIVED: &str = "received.tmp";

/// Why a snapshot cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file is not what was once synced.
    #[error("snapshot damaged: {} at byte {offset}: {reason}", file.display())]
    Damage {
        /// Which file.
        file: PathBuf,
        /// Where in it.
        offset: usize,
        /// What is wrong.
        reason: &'static str,
    },
    /// There is no such snapshot (any more).
    #[error("no snapshot of entry {index} in {}", folder.display())]
    Absent {
        /// Where it was looked for.
        folder: PathBuf,
        /// Which one.
        index: Index,
    },
    /// What was received does not make the snapshot that was announced: start over.
    #[error("received snapshot of entry {index} is broken: {reason}")]
    Broken {
        /// Which one.
        index: Index,
        /// What is wrong.
        reason: &'static str,
    },
    /// The disk says no. Nothing that had its final name has changed.
    #[error("snapshots: {}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

/// A piece to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPiece {
    /// Bytes of the file.
    pub bytes: Bytes,
    /// They are its end.
    pub last: bool,
}

/// How a transfer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The byte wanted next; the piece was taken if that lies behind it, else it came out of turn.
    More {
        /// Offset.
        next_offset: u64,
    },
    /// Complete, checked, and durable under its final name.
    Stored(SnapshotMeta),
}

/// The snapshots in one folder.
#[derive(Debug)]
pub struct SnapshotStore {
    folder: PathBuf,
    transfer: Option<Transfer>,
}

/// A snapshot being received. `file` holds `received` bytes, not synced.
#[derive(Debug)]
struct Transfer {
    meta: SnapshotMeta,
    file: File,
    received: u64,
}

impl SnapshotStore {
    /// A second way to read the same folder, while the first one writes.
    #[must_use]
    pub fn reader(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), transfer: None }
    }

    /// Opens the store and deletes what interrupted writes left.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn open(folder: &Path) -> Result<Self, SnapshotError> {
        fs::create_folder(folder).map_err(|source| io_error(folder, source))?;
        for name in [TAKEN, RECEIVED] {
            fs::remove_temporary(folder, name).map_err(|source| io_error(folder, source))?;
        }
        Ok(Self { folder: folder.to_owned(), transfer: None })
    }

    /// Writes a snapshot of the own machine. When this returns it is durable under its final name.
    /// Empty pieces are left out.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn write(
        &self,
        meta: &SnapshotMeta,
        pieces: impl IntoIterator<Item = Bytes>,
    ) -> Result<(), SnapshotError> {
        let temporary = self.folder.join(TAKEN);
        let written = write_file(&temporary, meta, pieces);
        if written.is_err() {
            // It may have failed for want of room: give back what it took.
            let _ = fs::remove_temporary(&self.folder, TAKEN);
        }
        written
            .and_then(|()| self.give_name(&temporary, meta))
            .map_err(|source| io_error(&temporary, source))
    }

    /// The newest snapshot's meta, from a file whose header is good. `None`: there is none.
    ///
    /// # Errors
    /// [`SnapshotError::Damage`], [`SnapshotError::Io`].
    pub fn newest(&self) -> Result<Option<SnapshotMeta>, SnapshotError> {
        let Some((index, term)) = self.list()?.into_iter().next_back() else { return Ok(None) };
        let path = self.path(index, term);
        let file = File::open(&path).map_err(|source| io_error(&path, source))?;
        let read =
            |offset, len| file.read_at(offset, len).map_err(|source| io_error(&path, source));
        let damage = |reason| damage(&path, 0, reason);
        let head = read(0, HEAD_BYTES)?;
        let meta_len = decode_head(&head).map_err(damage)?;
        let meta = decode_meta(&read(HEAD_BYTES as u64, meta_len)?).map_err(damage)?;
        if (meta.index, meta.term) == (index, term) {
            return Ok(Some(meta));
        }
        Err(damage("meta of another snapshot"))
    }

    /// Size of a snapshot's file.
    ///
    /// # Errors
    /// [`SnapshotError::Absent`], [`SnapshotError::Io`].
    pub fn size_bytes(&self, meta: &SnapshotMeta) -> Result<u64, SnapshotError> {
        File::open(&self.path(meta.index, meta.term))
            .and_then(|file| file.len())
            .map_err(|source| self.absent_or_io(meta.index, source))
    }

    /// Reads a whole snapshot back, checked, as the pieces that it was written from.
    ///
    /// # Errors
    /// [`SnapshotError::Absent`], [`SnapshotError::Damage`], [`SnapshotError::Io`].
    pub fn load(&self, meta: &SnapshotMeta) -> Result<Vec<Bytes>, SnapshotError> {
        let path = self.path(meta.index, meta.term);
        let bytes = fs::read(&path).map_err(|source| self.absent_or_io(meta.index, source))?;
        let (found, pieces) = decode(&Bytes::from(bytes))
            .map_err(|(offset, reason)| damage(&path, offset, reason))?;
        if found == *meta { Ok(pieces) } else { Err(damage(&path, 0, "meta of another snapshot")) }
    }

    /// Reads a piece of a snapshot's file, of at most [`PIECE_BYTES_MAX`].
    ///
    /// # Errors
    /// [`SnapshotError::Absent`] also if `offset` is not in the file; [`SnapshotError::Io`].
    pub fn read_piece(
        &self,
        meta: &SnapshotMeta,
        offset: u64,
    ) -> Result<SnapshotPiece, SnapshotError> {
        let path = self.path(meta.index, meta.term);
        let file = File::open(&path).map_err(|source| self.absent_or_io(meta.index, source))?;
        let read = |file: &File| Ok((file.len()?, file.read_at(offset, PIECE_BYTES_MAX)?));
        let (len, bytes) = read(&file).map_err(|source| io_error(&path, source))?;
        if bytes.is_empty() {
            return Err(self.absent(meta.index));
        }
        let last = offset + bytes.len() as u64 == len;
        Ok(SnapshotPiece { bytes: Bytes::from(bytes), last })
    }

    /// Takes a piece that the leader sent. A piece at 0 starts over; one that is not the next says
    /// which is.
    ///
    /// # Errors
    /// [`SnapshotError::Broken`], [`SnapshotError::Io`]: what was received is dropped.
    pub fn receive(&mut self, piece: &SnapshotWrite) -> Result<Incoming, SnapshotError> {
        let result = self.take_piece(piece);
        if result.is_err() {
            self.transfer = None;
            let _ = fs::remove_temporary(&self.folder, RECEIVED);
        }
        result
    }

    /// Deletes every snapshot older than this one, but for those of `spared`.
    ///
    /// # Errors
    /// [`SnapshotError::Io`].
    pub fn delete_older(
        &self,
        than: &SnapshotMeta,
        spared: &BTreeSet<Index>,
    ) -> Result<(), SnapshotError> {
        let mut deleted = false;
        let old = |index: Index| index < than.index && !spared.contains(&index);
        for (index, term) in self.list()?.into_iter().filter(|(index, _)| old(*index)) {
            let path = self.path(index, term);
            fs::remove(&path).map_err(|source| io_error(&path, source))?;
            deleted = true;
        }
        if deleted {
            fs::sync_folder(&self.folder).map_err(|source| io_error(&self.folder, source))?;
        }
        Ok(())
    }

    fn take_piece(&mut self, piece: &SnapshotWrite) -> Result<Incoming, SnapshotError> {
        let path = self.folder.join(RECEIVED);
        if piece.offset == 0 {
            let file = File::create(&path).map_err(|source| io_error(&path, source))?;
            self.transfer = Some(Transfer { meta: piece.meta.clone(), file, received: 0 });
        }
        let Some(transfer) = self.transfer.as_mut().filter(|it| it.meta == piece.meta) else {
            return Ok(Incoming::More { next_offset: 0 });
        };
        if transfer.received != piece.offset {
            return Ok(Incoming::More { next_offset: transfer.received });
        }
        transfer
            .file
            .write_all_at(&piece.bytes, piece.offset)
            .map_err(|source| io_error(&path, source))?;
        transfer.received += piece.bytes.len() as u64;
        if piece.last {
            return self.complete(&path);
        }
        Ok(Incoming::More { next_offset: transfer.received })
    }

    fn complete(&mut self, path: &Path) -> Result<Incoming, SnapshotError> {
        let Some(Transfer { meta, file, .. }) = self.transfer.take() else {
            return Ok(Incoming::More { next_offset: 0 });
        };
        let io = |source| io_error(path, source);
        file.sync_data().map_err(io)?;
        drop(file);
        let broken = |reason| SnapshotError::Broken { index: meta.index, reason };
        let bytes = Bytes::from(fs::read(path).map_err(io)?);
        let (found, _) = decode(&bytes).map_err(|(_, reason)| broken(reason))?;
        if found != meta {
            return Err(broken("it is not the announced one"));
        }
        self.give_name(path, &meta).map_err(io)?;
        Ok(Incoming::Stored(meta))
    }

    fn give_name(&self, temporary: &Path, meta: &SnapshotMeta) -> io::Result<()> {
        fs::rename(temporary, &self.path(meta.index, meta.term))?;
        fs::sync_folder(&self.folder)
    }

    /// Ascending by index.
    fn list(&self) -> Result<Vec<(Index, Term)>, SnapshotError> {
        let names = fs::list(&self.folder).map_err(|source| io_error(&self.folder, source))?;
        Ok(names.iter().filter_map(|name| parse_name(name)).collect())
    }

    fn path(&self, index: Index, term: Term) -> PathBuf {
        self.folder.join(format!("{index:020}-{term:020}{SUFFIX}", index = index.0, term = term.0))
    }

    fn absent(&self, index: Index) -> SnapshotError {
        SnapshotError::Absent { folder: self.folder.clone(), index }
    }

    fn absent_or_io(&self, index: Index, source: io::Error) -> SnapshotError {
        match source.kind() {
            io::ErrorKind::NotFound => self.absent(index),
            _ => io_error(&self.folder, source),
        }
    }
}

fn parse_name(name: &str) -> Option<(Index, Term)> {
    let (index, term) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    Some((Index(index.parse().ok()?), Term(term.parse().ok()?)))
}

fn write_file(
    path: &Path,
    meta: &SnapshotMeta,
    pieces: impl IntoIterator<Item = Bytes>,
) -> io::Result<()> {
    let mut file = Summed { file: File::create(path)?, len: 0, crc: 0 };
    file.push(&encode_head(meta)?)?;
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        let len = u32::try_from(piece.len()).map_err(io::Error::other)?;
        file.push(&[len.to_le_bytes(), crc32c::crc32c(&piece).to_le_bytes()].concat())?;
        file.push(&piece)?;
    }
    let trailer = [&[0; 4][..], &file.len.to_le_bytes()].concat();
    file.push(&trailer)?;
    file.push(&file.crc.to_le_bytes())?;
    file.file.sync_data()
}

/// A file that is written from its start to its end, and the checksum of that.
struct Summed {
    file: File,
    len: u64,
    crc: u32,
}

impl Summed {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.len)?;
        self.len += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }
}

/// The meta is followed by its own checksum, so that it can be read without the rest.
fn encode_head(meta: &SnapshotMeta) -> io::Result<Vec<u8>> {
    let mut meta = wire::encode(meta);
    meta.extend_from_slice(&crc32c::crc32c(&meta).to_le_bytes());
    let len = u32::try_from(meta.len()).map_err(io::Error::other)?;
    Ok([&MAGIC[..], &VERSION.to_le_bytes(), &len.to_le_bytes(), &meta].concat())
}

fn decode_head(head: &[u8]) -> Result<usize, &'static str> {
    if head.len() != HEAD_BYTES || head[..8] != MAGIC {
        return Err("not a snapshot");
    }
    if head[8..12] != VERSION.to_le_bytes() {
        return Err("version of another release");
    }
    Ok(number_32(head, 12) as usize)
}

fn decode_meta(bytes: &[u8]) -> Result<SnapshotMeta, &'static str> {
    let Some((meta, crc)) = bytes.split_last_chunk::<4>() else { return Err("no meta") };
    if *crc != crc32c::crc32c(meta).to_le_bytes() {
        return Err("bad meta");
    }
    wire::decode("snapshot meta", meta).map_err(|_| "meta of an unknown form")
}

/// Takes a whole file apart, checking everything. An error says at which byte.
fn decode(file: &Bytes) -> Result<(SnapshotMeta, Vec<Bytes>), (usize, &'static str)> {
    let meta_len =
        decode_head(file.get(..HEAD_BYTES).unwrap_or(&[])).map_err(|reason| (0, reason))?;
    let pieces_at = HEAD_BYTES.saturating_add(meta_len);
    let meta = decode_meta(file.get(HEAD_BYTES..pieces_at).unwrap_or(&[]))
        .map_err(|reason| (HEAD_BYTES, reason))?;
    let (pieces, end) = decode_pieces(file, pieces_at)?;
    check_trailer(file, end)?;
    Ok((meta, pieces))
}

fn decode_pieces(
    file: &Bytes,
    mut at: usize,
) -> Result<(Vec<Bytes>, usize), (usize, &'static str)> {
    let mut pieces = Vec::new();
    loop {
        let head = file.get(at..at + PIECE_HEAD_BYTES).ok_or((at, "file is too short"))?;
        let len = number_32(head, 0) as usize;
        if len == 0 {
            return Ok((pieces, at));
        }
        let start = at + PIECE_HEAD_BYTES;
        let piece = file.get(start..start + len).ok_or((at, "piece is cut off"))?;
        if number_32(head, 4) != crc32c::crc32c(piece) {
            return Err((at, "bad piece"));
        }
        pieces.push(file.slice(start..start + len));
        at = start + len;
    }
}

fn check_trailer(file: &[u8], at: usize) -> Result<(), (usize, &'static str)> {
    let Some(trailer) = file.get(at..).filter(|trailer| trailer.len() == TRAILER_BYTES) else {
        return Err((at, "file has the wrong length"));
    };
    if trailer[4..12] != (at as u64).to_le_bytes() {
        return Err((at, "file has lost a part"));
    }
    if number_32(trailer, 12) != crc32c::crc32c(&file[..at + 12]) {
        return Err((at, "bad checksum of the whole"));
    }
    Ok(())
}

fn number_32(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

fn damage(file: &Path, offset: usize, reason: &'static str) -> SnapshotError {
    SnapshotError::Damage { file: file.to_owned(), offset, reason }
}

fn io_error(path: &Path, source: io::Error) -> SnapshotError {
    SnapshotError::Io { path: path.to_owned(), source }
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "snapshots_test.rs"]
mod tests;
