//! The write-ahead log: what a node has promised, in the order in which it did.
//!
//! **The problem.** Every vote and every entry must survive a power cut before anybody hears of it,
//! at the price of one `fdatasync` for as many records as can be had together.
//!
//! **The idea.** Segments, zero-filled and made ahead of need, so that a sync writes data and no
//! metadata, and so that a disk runs full while a segment is made, where that can be tried again,
//! and not in the middle of a promise. Records are appended as frames (`frame.rs`). A record at index
//! i replaces all earlier records at i and above; the hard state is a record too; so reading back is
//! reading in order, and nothing is ever changed in place.
//!
//! **Which end counts.** `synced <= end`. Each batch begins by stating `synced`;
//! [`Log::write_end_mark`] states it when nothing follows. What recovery does with these statements,
//! and why, stands in `recovery.rs`.
//!
//! **From one segment to the next.** The current segment is synced before the first byte goes into
//! the next one. So unsynced bytes are in one segment only, and a segment's first frame can state the
//! end of the one before. Until the next sync that end stays the synced one: a statement of the new
//! segment's own beginning, by a second batch before that sync, would promise a first frame that no
//! sync has covered. The first frame then repeats the hard state and the newest snapshot's record. A segment
//! may be deleted when all its entries lie below `log_start` and an end mark in a later segment has
//! been synced: the segments that remain prove by themselves where the log stood.
//!
//! **A failed sync is the end.** The kernel reports a failed write-back once, and may then hold the
//! pages for clean: a second sync would report success for bytes that are not on the disk. So the
//! first failure poisons the log, and every later call fails. The process ends; recovery sorts it
//! out. Any other failed write is treated the same way, since how much was written is unknown.
//!
//! **Caveat.** On a file system that never writes in place (btrfs, zfs) zero-filling reserves no
//! room. A disk that fills up there ends the process, which loses nothing.

mod end_file;
mod frame;
mod layout;
mod recovery;
mod segment;
mod tail;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use dsync_core::raft::{Record, Recovered};
use dsync_core::types::Index;

use self::end_file::EndFile;
use self::frame::{Kind, Position};
use self::layout::{Layout, Part};
use self::recovery::{Opened, recover};
use self::segment::Segment;
use self::tail::Tail;
use super::fs;

/// Settings of a log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Length of a segment in bytes. A record that needs more gets a longer one.
    pub segment_bytes: u64,
    /// Any random number. New segments are sealed with it, so that no client can pack bytes into a
    /// command that recovery would take for the log's own.
    pub salt: u64,
}

impl LogOptions {
    /// Segments of 16 MiB.
    #[must_use]
    pub fn new(salt: u64) -> Self {
        Self { segment_bytes: 16 << 20, salt }
    }
}

/// Why the log cannot be opened, or cannot go on. Only [`LogError::SpaceShort`] passes.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// There is no room for the segments that a batch needs. Nothing of the batch was written:
    /// append it again when there is room.
    #[error("no room on the disk for another log segment in {}", folder.display())]
    SpaceShort {
        /// Where room is needed.
        folder: PathBuf,
    },
    /// What was once synced cannot be read back: this disk has lost or changed data.
    #[error("log damaged: {} at byte {offset}, at or after entry {index}: {reason}; this node must not serve from this disk", file.display())]
    Damage {
        /// In which file.
        file: PathBuf,
        /// At which byte of it.
        offset: u64,
        /// The entry that was expected there, or the next one after it.
        index: Index,
        /// What is wrong.
        reason: &'static str,
    },
    /// A file could not be read, made or written.
    #[error("log: {}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
    /// A sync failed, now or before.
    #[error(transparent)]
    Sync(#[from] SyncFailed),
}

/// A write or a sync of the log failed: what is on the disk is unknown. The process must end; no
/// later call on the same log succeeds.
#[derive(Debug, thiserror::Error)]
#[error("log: {}: cannot be made durable: {reason}; the process must end", path.display())]
pub struct SyncFailed {
    /// Which segment.
    pub path: PathBuf,
    /// What the disk said. Text, since it is told again at every later call.
    pub reason: String,
}

/// Whether the next segment could be made ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// It is there.
    Ready,
    /// There was no room for it. What fits into the current segment is still taken.
    Short,
}

/// A segment that is full.
#[derive(Clone, Copy, Debug)]
struct Closed {
    segment: u64,
    /// Highest entry in it.
    highest: Index,
}

/// The open log of one node. See the module's text.
#[derive(Debug)]
pub struct Log {
    folder: PathBuf,
    options: LogOptions,
    current: Segment,
    /// Where the next frame goes, in the current segment.
    end: u64,
    /// Everything before it is durable. In the current segment, or the end of the one before.
    synced: Position,
    /// An end mark stands right before `end`, synced.
    marked: bool,
    /// Highest entry in the current segment.
    highest: Index,
    /// Made ahead, in order.
    ready: VecDeque<Segment>,
    /// Older than the current one, in order.
    closed: VecDeque<Closed>,
    tail: Tail,
    /// Made when the log is first idle, and there is room.
    end_file: Option<EndFile>,
    written_bytes: u64,
    failed: Option<String>,
}

impl Log {
    /// Opens the log in a folder, or begins one in an empty folder, and gives back what is on it.
    /// When this returns, all that it gives back is durable.
    ///
    /// # Errors
    /// [`LogError::Damage`] if something that was synced is not there; [`LogError::Io`].
    pub fn open(folder: &Path, options: LogOptions) -> Result<(Self, Recovered), LogError> {
        let Opened { current, end, highest, closed, tail, recovered } = recover(folder, &options)?;
        let synced = Position { segment: current.seal.segment, offset: end };
        let log = Self {
            folder: folder.to_owned(),
            options,
            current,
            end,
            synced,
            marked: true,
            highest,
            ready: VecDeque::new(),
            closed,
            tail,
            end_file: None,
            written_bytes: 0,
            failed: None,
        };
        Ok((log, recovered))
    }

    /// Writes one batch. It is durable only after [`Log::sync`].
    ///
    /// # Errors
    /// [`LogError::SpaceShort`]: nothing was written, try again later. Anything else is final.
    pub fn append(&mut self, records: &[Record]) -> Result<(), LogError> {
        self.check()?;
        if records.is_empty() {
            return Ok(());
        }
        let layout = Layout::of(records, self.empty_part(), self.synced, &self.tail, &self.options);
        self.make_room(&layout.parts[1..])?;
        for (at, part) in layout.parts.iter().enumerate() {
            if at > 0 {
                self.enter_next()?;
            }
            self.write(part)?;
        }
        self.tail = layout.tail;
        Ok(())
    }

    /// Makes everything appended durable, by one `fdatasync`.
    ///
    /// # Errors
    /// [`SyncFailed`]: final, see the module's text.
    pub fn sync(&mut self) -> Result<(), SyncFailed> {
        self.check()?;
        let end = self.empty_part().end();
        if self.synced == end {
            return Ok(());
        }
        let result = self.current.file.sync_data();
        self.settle(result)?;
        self.synced = end;
        Ok(())
    }

    /// Syncs, and states the end, for when nothing follows soon. Costs nothing if nothing was
    /// appended since the last one.
    ///
    /// # Errors
    /// [`SyncFailed`]: final.
    pub fn write_end_mark(&mut self) -> Result<(), SyncFailed> {
        self.sync()?;
        if self.marked {
            return Ok(());
        }
        let mut part = self.empty_part();
        part.push_statement(Kind::EndMark, self.tail.last, part.end());
        self.write(&part)?;
        self.sync()?;
        self.marked = true;
        Ok(())
    }

    /// Syncs, and states the end in a file of its own too, for when nothing has followed for a while, or
    /// nothing will: so the loss of the log's last piece is noticed. Without room for that file nothing
    /// is stated.
    ///
    /// # Errors
    /// [`SyncFailed`]: final.
    pub fn state_end(&mut self) -> Result<(), SyncFailed> {
        self.write_end_mark()?;
        let result = self.write_end_file();
        self.settle(result)
    }

    fn write_end_file(&mut self) -> io::Result<()> {
        let mut file = match self.end_file.take().map_or_else(|| EndFile::open(&self.folder), Ok) {
            Ok(file) => file,
            Err(error) if fs::is_full(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        // What the last end mark states: the end before itself.
        let mark = frame::END_MARK_BYTES as u64;
        let (segment, offset) = (self.current.seal.segment, self.end - mark);
        file.state(Position { segment, offset })?;
        self.end_file = Some(file);
        Ok(())
    }

    /// Does what can be done between two batches: makes the next segment ahead, deletes those that
    /// hold nothing needed. Call it after every sync; mostly it finds nothing to do.
    ///
    /// # Errors
    /// Anything but want of room, which is a state: [`Space::Short`]. All are final.
    pub fn maintain(&mut self) -> Result<Space, LogError> {
        self.check()?;
        self.delete_unneeded()?;
        if !self.ready.is_empty() {
            return Ok(Space::Ready);
        }
        match self.make_ready(self.options.segment_bytes) {
            Ok(()) => Ok(Space::Ready),
            Err(LogError::SpaceShort { .. }) => Ok(Space::Short),
            Err(error) => Err(error),
        }
    }

    /// Bytes written since the log was opened, frames and padding included.
    #[must_use]
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// True if something was appended since the last end mark.
    #[must_use]
    pub fn wants_end_mark(&self) -> bool {
        !self.marked
    }

    fn empty_part(&self) -> Part {
        Part {
            seal: self.current.seal,
            start: self.end,
            bytes: Vec::new(),
            segment_bytes: self.current.len,
            highest: Index(0),
        }
    }

    fn write(&mut self, part: &Part) -> Result<(), SyncFailed> {
        if part.bytes.is_empty() {
            return Ok(());
        }
        let result = self.current.file.write_all_at(&part.bytes, part.start);
        self.settle(result)?;
        self.written_bytes += part.bytes.len() as u64;
        self.end = part.end().offset;
        self.highest = self.highest.max(part.highest);
        self.marked = false;
        Ok(())
    }

    /// The current segment is synced before the next is written: its end is about to be stated.
    fn enter_next(&mut self) -> Result<(), LogError> {
        self.sync()?;
        let Some(next) = self.ready.pop_front() else { unreachable!("room was made") };
        let segment = self.current.seal.segment;
        self.closed.push_back(Closed { segment, highest: self.highest });
        self.current = next;
        self.end = segment::SEGMENT_HEADER_BYTES as u64;
        self.highest = Index(0);
        Ok(())
    }

    /// Sees to it that each further part of a batch has a segment that is long enough.
    fn make_room(&mut self, parts: &[Part]) -> Result<(), LogError> {
        for (at, part) in parts.iter().enumerate() {
            if self.ready.get(at).is_some_and(|ready| ready.len < part.segment_bytes) {
                // From the newest on, so that no gap is left.
                while self.ready.len() > at {
                    self.drop_newest_ready()?;
                }
            }
            if self.ready.len() == at {
                self.make_ready(part.segment_bytes)?;
            }
        }
        Ok(())
    }

    fn make_ready(&mut self, len: u64) -> Result<(), LogError> {
        let newest = self.ready.back().unwrap_or(&self.current).seal.segment;
        let seal = frame::Seal { salt: self.options.salt, segment: newest + 1 };
        match Segment::make(&self.folder, seal, &[], len) {
            Ok(segment) => {
                self.ready.push_back(segment);
                Ok(())
            }
            Err(source) if fs::is_full(&source) => {
                Err(LogError::SpaceShort { folder: self.folder.clone() })
            }
            Err(source) => Err(self.fail_io(segment::path(&self.folder, seal.segment), source)),
        }
    }

    fn drop_newest_ready(&mut self) -> Result<(), LogError> {
        let Some(segment) = self.ready.pop_back() else { return Ok(()) };
        let path = segment::path(&self.folder, segment.seal.segment);
        // Synced, so that no power cut leaves a later one behind: a gap in the numbers is damage.
        fs::remove(&path)
            .and_then(|()| fs::sync_folder(&self.folder))
            .map_err(|source| self.fail_io(path, source))
    }

    fn delete_unneeded(&mut self) -> Result<(), LogError> {
        let log_start = self.tail.log_start();
        let unneeded = self.closed.iter().take_while(|closed| closed.highest < log_start).count();
        if unneeded == 0 {
            return Ok(());
        }
        self.write_end_mark()?;
        for closed in self.closed.drain(..unneeded).collect::<Vec<_>>() {
            let path = segment::path(&self.folder, closed.segment);
            fs::remove(&path).map_err(|source| self.fail_io(path, source))?;
        }
        fs::sync_folder(&self.folder).map_err(|source| self.fail_io(self.folder.clone(), source))
    }

    fn check(&self) -> Result<(), SyncFailed> {
        match &self.failed {
            Some(reason) => Err(SyncFailed { path: self.current_path(), reason: reason.clone() }),
            None => Ok(()),
        }
    }

    fn settle(&mut self, result: io::Result<()>) -> Result<(), SyncFailed> {
        if let Err(error) = result {
            self.failed = Some(error.to_string());
        }
        self.check()
    }

    fn fail_io(&mut self, path: PathBuf, source: io::Error) -> LogError {
        self.failed = Some(source.to_string());
        LogError::Io { path, source }
    }

    fn current_path(&self) -> PathBuf {
        segment::path(&self.folder, self.current.seal.segment)
    }
}

impl LogError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    fn damage(file: &Path, offset: usize, index: Index, reason: &'static str) -> Self {
        Self::Damage { file: file.to_owned(), offset: offset as u64, index, reason }
    }
}

#[cfg(all(test, not(feature = "simulated")))]
mod log_test;
