//! The trail's writer: which record goes where, and what stops it.
//!
//! **The problem.** A node applies its log again after every start, from its last snapshot on; it
//! skips a stretch when it installs a snapshot; its disk fills up. The files must hold each record
//! once, must show what is missing, and must never make the node wait.
//!
//! **The idea.** The writer follows the chain as the node applies: `cursor` is the head after the last
//! record that was handed over, written or not. A record whose place is taken is compared with what
//! stands there; any other is written, to the segment that ends at the cursor, or to a new one whose
//! header says where in the chain it begins. So a replay fills what a crash has lost without a rule of
//! its own, a jump of the cursor is a gap between two segments, and everything that meets (the next
//! segment, a snapshot's head, a page from a peer) is held against the chain.
//!
//! **What makes it stop.** A full disk: it tries again, and what was applied meanwhile is a gap. A
//! record that differs, damage where it has to compare, a failed sync or any other error of the disk:
//! it stops until the next start, since every further record would build on something unexplained.
//! The node goes on in all cases.
//!
//! **Caveat.** The wall time of a record is when it was written. What a replay or a lagging node
//! writes carries a later time than it happened; the stamp inside the record tells the distances.

use std::io;
use std::path::{Path, PathBuf};

use dsync_core::audit::{self, AuditHead, AuditRecord};

use super::catalog::Catalog;
use super::frame::{self, HEADER_BYTES, Seal};
use super::replay::Replay;
use super::segment::{self, Segment, Wrong};
use super::{floor, recovery};
use crate::storage::fs::{self, File};

/// After a full disk the next try comes so much later.
const FULL_RETRY_MS: u64 = 10_000;
/// A segment takes records for at most this part of the greatest age, so that old records can go.
const SEGMENTS_PER_AGE: u64 = 8;

/// Bounds of a trail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrailOptions {
    /// A segment of this many bytes gets no further record.
    pub segment_bytes: u64,
    /// Bytes of all segments; the oldest are deleted above this.
    pub bytes_max: u64,
    /// Age in ms above which a segment is deleted. `None`: never for its age.
    pub age_max_ms: Option<u64>,
    /// Bytes of the disk that the trail leaves free. The log shares that disk and comes first: without
    /// room for its next segment the node acknowledges nothing.
    pub spare_bytes: u64,
}

impl TrailOptions {
    /// A trail of at most `bytes_max` bytes, in segments that are a small part of it.
    #[must_use]
    pub fn new(bytes_max: u64, age_max_ms: Option<u64>) -> Self {
        let segment_bytes = (bytes_max / 16).clamp(64 << 10, 4 << 20);
        Self { segment_bytes, bytes_max, age_max_ms, spare_bytes: 0 }
    }
}

/// Why the trail is not, or no longer, what it should be.
#[derive(Debug, thiserror::Error)]
pub enum TrailError {
    /// The disk says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
    /// A sync failed. What is on the disk is unknown until the next start reads it, so it is never
    /// repeated.
    #[error("{}: cannot be made durable: {source}", path.display())]
    Sync {
        /// Which segment.
        path: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
    /// What stands on this disk is not what the cluster has agreed on.
    #[error("record {number} on this disk differs from the one that the cluster has applied")]
    Differs {
        /// Which.
        number: u64,
    },
    /// A file that had to be read is damaged.
    #[error("{}: {wrong}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        wrong: Wrong,
    },
    /// The node handed over another record than the next one: a bug.
    #[error("record {found} was applied where record {number} should have been")]
    OutOfOrder {
        /// The one expected.
        number: u64,
        /// The one that came.
        found: u64,
    },
    /// A page from a peer does not fit into any gap.
    #[error("the records {first} to {last} from a peer do not lead to what is known here")]
    Unproven {
        /// First record of the page.
        first: u64,
        /// Last one.
        last: u64,
    },
}

impl TrailError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if fs::is_full(source))
    }
}

/// Why nothing is written.
#[derive(Debug)]
enum Stop {
    /// There was no room.
    Full { retry_at_ms: u64 },
    /// Anything else: not before the next start.
    Final,
}

/// The segment that takes records.
#[derive(Debug)]
struct Current {
    file: File,
    /// As it will be once `buffer` is written.
    segment: Segment,
    /// Its last bytes, not handed to the disk yet.
    buffer: Vec<u8>,
}

/// Records with their wall times, as the chain covers them.
pub type Page = Vec<(u64, Vec<u8>)>;

/// The trail of one node. See the module's text.
#[derive(Debug)]
pub struct Trail {
    folder: PathBuf,
    options: TrailOptions,
    /// What has been handed to the disk. Its `cursor` may be ahead of that.
    catalog: Catalog,
    current: Option<Current>,
    replay: Replay,
    /// Something was written since the last sync.
    dirty: bool,
    stop: Option<Stop>,
}

impl Trail {
    /// Opens the trail in a folder, which is made if there is none. Always gives a trail: one that
    /// cannot be written is stopped.
    #[must_use]
    pub fn open(folder: &Path, options: TrailOptions) -> Self {
        let (catalog, failed) = recovery::recover(folder);
        let (folder, replay) = (folder.to_owned(), Replay::default());
        let mut trail =
            Self { folder, options, catalog, current: None, replay, dirty: false, stop: None };
        if let Some(error) = failed {
            trail.stop(&error, 0);
        }
        trail
    }

    /// What the trail has. What was appended shows after [`Trail::flush`].
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Something was written that a power cut would take away.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        self.dirty || self.current.as_ref().is_some_and(|current| !current.buffer.is_empty())
    }

    /// The node's state is another one now: that of a snapshot, whose trail ends at `head`.
    pub fn position(&mut self, head: AuditHead, now_ms: u64) {
        self.flush(now_ms);
        self.catalog.cursor = head;
        if self.stop.is_none()
            && let Err(error) = self.check_known(&head)
        {
            self.stop(&error, now_ms);
        }
    }

    /// Takes the next records of the chain, which the node applied at `wall_ms`.
    pub fn append(&mut self, records: &[AuditRecord], wall_ms: u64) {
        for record in records {
            let bytes = audit::encode(record);
            let before = self.catalog.cursor;
            let after = before.after(&bytes);
            let taken = match record.number == after.count {
                true if self.stop.is_some() => Ok(()),
                true => self.take(&before, &after, wall_ms, &bytes),
                false => {
                    let (number, found) = (after.count, record.number);
                    Err(TrailError::OutOfOrder { number, found })
                }
            };
            self.catalog.cursor = after;
            if let Err(error) = taken {
                self.stop(&error, wall_ms);
            }
        }
    }

    /// Writes records from a peer into a gap. They have to lead, by the chain, to the head at the
    /// gap's end, and from the head at its beginning if they reach it.
    ///
    /// # Errors
    /// [`TrailError::Unproven`]: nothing was written. [`TrailError::Differs`]: they are proven, and
    /// what stands before them here is not. [`TrailError::Io`].
    pub fn fill(&mut self, start: &AuditHead, page: &Page, now_ms: u64) -> Result<(), TrailError> {
        self.flush(now_ms);
        self.prove(start, page)?;
        let (path, temporary) = (self.path(start), self.folder.join("fill.tmp"));
        let (bytes, segment) = whole(&path, start, page);
        let write = || {
            self.check_spare(bytes.len() as u64)?;
            let file = File::create(&temporary)?;
            file.write_all_at(&bytes, 0)?;
            file.sync_data()?;
            drop(file);
            fs::rename(&temporary, &path)?;
            fs::sync_folder(&self.folder)
        };
        if let Err(source) = write() {
            let _ = fs::remove_temporary(&self.folder, "fill.tmp");
            return Err(TrailError::Io { path, source });
        }
        self.list(segment);
        Ok(())
    }

    /// Hands what was appended to the disk, so that it can be read.
    pub fn flush(&mut self, now_ms: u64) {
        if let Err(error) = self.write_buffer() {
            self.stop(&error, now_ms);
        }
    }

    /// Makes everything appended durable. True if it is: not if the trail is stopped.
    pub fn sync(&mut self, now_ms: u64) -> bool {
        self.flush(now_ms);
        if let (true, Some(current)) = (self.dirty, &self.current)
            && let Err(source) = current.file.sync_data()
        {
            let error = TrailError::Sync { path: current.segment.path.clone(), source };
            self.stop(&error, now_ms);
        }
        self.dirty &= self.stop.is_some();
        self.stop.is_none()
    }

    /// What has to be done now and then: goes on after a full disk, deletes what is too old or too
    /// much.
    pub fn maintain(&mut self, now_ms: u64) {
        if matches!(self.stop, Some(Stop::Full { retry_at_ms }) if retry_at_ms <= now_ms) {
            tracing::info!("audit trail: trying to write again");
            self.stop = None;
            self.catalog.stopped = None;
        }
        if self.stop.is_none()
            && let Err(error) = self.delete_old(now_ms)
        {
            self.stop(&error, now_ms);
        }
    }

    /// Whatever the trail has at `head` has to be `head`.
    fn check_known(&mut self, head: &AuditHead) -> Result<(), TrailError> {
        let known = match self.catalog.covering(head.count) {
            Some(segment) if segment.end.count == head.count => segment.end.hash,
            Some(segment) => self.replay.hash(segment, head.count)?,
            None if self.catalog.floor.count == head.count => self.catalog.floor.hash,
            None => return Ok(()),
        };
        if known == head.hash { Ok(()) } else { Err(TrailError::Differs { number: head.count }) }
    }

    fn take(
        &mut self,
        before: &AuditHead,
        after: &AuditHead,
        wall_ms: u64,
        bytes: &[u8],
    ) -> Result<(), TrailError> {
        if after.count <= self.catalog.floor.count {
            return Ok(());
        }
        if self.catalog.covering(after.count).is_some() {
            return self.check_known(after);
        }
        self.write(before, after, wall_ms, bytes)?;
        let next = self.catalog.segments.iter().rev().take_while(|s| s.start.count >= after.count);
        match next.last() {
            Some(next) if next.start.count == after.count && next.start.hash != after.hash => {
                Err(TrailError::Differs { number: after.count })
            }
            _ => Ok(()),
        }
    }

    fn write(
        &mut self,
        before: &AuditHead,
        after: &AuditHead,
        wall_ms: u64,
        bytes: &[u8],
    ) -> Result<(), TrailError> {
        if !self
            .current
            .as_ref()
            .is_some_and(|current| self.has_room(&current.segment, before, wall_ms))
        {
            self.close_current()?;
            self.open_current(before, wall_ms)?;
        }
        let Some(current) = &mut self.current else { unreachable!("opened above") };
        let len = current.buffer.len();
        frame::push_record(&mut current.buffer, wall_ms, &after.hash, bytes);
        let segment = &mut current.segment;
        segment.bytes += (current.buffer.len() - len) as u64;
        segment.end = *after;
        segment.first_ms = segment.first_ms.min(wall_ms);
        segment.last_ms = segment.last_ms.max(wall_ms);
        Ok(())
    }

    /// True if the record after `head` may go into this segment.
    fn has_room(&self, segment: &Segment, head: &AuditHead, now_ms: u64) -> bool {
        let age_max_ms = self.options.age_max_ms.map_or(u64::MAX, |age| age / SEGMENTS_PER_AGE);
        let young =
            now_ms.saturating_sub(segment.first_ms) <= age_max_ms || segment.first_ms == u64::MAX;
        !segment.sealed
            && segment.end == *head
            && segment.bytes < self.options.segment_bytes
            && young
    }

    fn open_current(&mut self, head: &AuditHead, now_ms: u64) -> Result<(), TrailError> {
        self.check_known(head)?;
        let unfinished = self.catalog.covering(head.count).cloned();
        let (file, segment) = match unfinished.filter(|found| self.has_room(found, head, now_ms)) {
            Some(segment) => {
                let file = File::open(&segment.path);
                (file.map_err(|source| TrailError::io(&segment.path, source))?, segment)
            }
            None => {
                if self.check_spare(self.options.segment_bytes).is_err() {
                    self.delete_old(now_ms)?;
                }
                self.make_segment(head)?
            }
        };
        self.current = Some(Current { file, segment, buffer: Vec::new() });
        Ok(())
    }

    /// An error as of a full disk, if so many bytes more would leave the log too little.
    fn check_spare(&self, bytes: u64) -> io::Result<()> {
        let needed = self.options.spare_bytes.saturating_add(bytes);
        if self.options.spare_bytes > 0 && fs::free_bytes(&self.folder)? < needed {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// The header is durable before anything follows it: a file with a bad header and something
    /// behind it is then damage, and no leftover of a crash.
    fn make_segment(&mut self, start: &AuditHead) -> Result<(File, Segment), TrailError> {
        let path = self.path(start);
        let make = || {
            self.check_spare(self.options.segment_bytes)?;
            let file = File::create(&path)?;
            file.write_all_at(&frame::header(start), 0)?;
            file.sync_data()?;
            fs::sync_folder(&self.folder)?;
            Ok(file)
        };
        let file = make().map_err(|source| {
            let _ = fs::remove(&path).and_then(|()| fs::sync_folder(&self.folder));
            TrailError::io(&path, source)
        })?;
        let (start, end, bytes) = (*start, *start, HEADER_BYTES as u64);
        let (first_ms, last_ms, sealed) = (u64::MAX, 0, false);
        Ok((file, Segment { path, start, end, bytes, first_ms, last_ms, sealed }))
    }

    /// Ends the current segment with its seal. Its records are durable first: a start takes a sealed
    /// segment by its seal, which must not outlive a power cut that the records do not. The seal itself
    /// may be lost; then the segment is read whole.
    fn close_current(&mut self) -> Result<(), TrailError> {
        self.write_buffer()?;
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let segment = &mut current.segment;
        if self.dirty {
            let synced = current.file.sync_data();
            synced.map_err(|source| TrailError::Sync { path: segment.path.clone(), source })?;
            self.dirty = false;
        }
        let seal = Seal { end: segment.end, first_ms: segment.first_ms, last_ms: segment.last_ms };
        let bytes = frame::seal(&seal);
        let written = current.file.write_all_at(&bytes, segment.bytes);
        written.map_err(|source| TrailError::io(&segment.path, source))?;
        segment.bytes += bytes.len() as u64;
        segment.sealed = true;
        self.list(current.segment);
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<(), TrailError> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.buffer.is_empty() {
            return Ok(());
        }
        let offset = current.segment.bytes - current.buffer.len() as u64;
        let written = current.file.write_all_at(&current.buffer, offset);
        written.map_err(|source| TrailError::io(&current.segment.path, source))?;
        current.buffer.clear();
        self.dirty = true;
        let segment = current.segment.clone();
        self.list(segment);
        Ok(())
    }

    /// After a write that failed: cuts away what may have been written of it.
    fn give_up_current(&mut self) {
        let Some(current) = self.current.take() else { return };
        let listed = self.catalog.segments.iter().find(|s| s.start == current.segment.start);
        let cut = match listed {
            Some(listed) => current.file.set_len(listed.bytes),
            None => fs::remove(&current.segment.path),
        };
        if let Err(error) = cut.and_then(|()| fs::sync_folder(&self.folder)) {
            tracing::warn!(%error, "audit trail: the rest of a failed write stays until the next start");
        }
    }

    /// Puts a segment, as it is on the disk now, in its place.
    fn list(&mut self, segment: Segment) {
        let segments = &mut self.catalog.segments;
        let at = segments.partition_point(|other| other.start.count < segment.start.count);
        match segments.get_mut(at).filter(|other| other.start == segment.start) {
            Some(old) => *old = segment,
            None => segments.insert(at, segment),
        }
    }

    fn prove(&self, start: &AuditHead, page: &Page) -> Result<(), TrailError> {
        let (first, last) = (start.count + 1, start.count + page.len() as u64);
        let unproven = TrailError::Unproven { first, last };
        let mut head = *start;
        for (_, bytes) in page {
            head = head.after(bytes);
            if frame::decode_record(bytes).is_none_or(|record| record.number != head.count) {
                return Err(unproven);
            }
        }
        let gaps = self.catalog.own_gaps();
        let Some(gap) = gaps.iter().find(|gap| gap.to == last && gap.from <= first) else {
            return Err(unproven);
        };
        if page.is_empty() || gap.hash != head.hash {
            return Err(unproven);
        }
        let before = self.catalog.covering(start.count).map_or(&self.catalog.floor, |s| &s.end);
        if before.count == start.count && before.hash != start.hash {
            return Err(TrailError::Differs { number: start.count });
        }
        Ok(())
    }

    /// Whole segments, oldest first. The floor is durable before the first file goes, so what is gone
    /// was deleted on purpose or is missing, and never in doubt.
    fn delete_old(&mut self, now_ms: u64) -> Result<(), TrailError> {
        let old = self.count_old(now_ms);
        let Some(newest) = old.checked_sub(1).map(|at| &self.catalog.segments[at]) else {
            return Ok(());
        };
        let floor = newest.end;
        if self.current.as_ref().is_some_and(|current| current.segment.start.count < floor.count) {
            self.close_current()?;
        }
        let failed = |source| TrailError::Io { path: self.folder.clone(), source };
        floor::write(&self.folder, &floor).map_err(failed)?;
        self.catalog.floor = floor;
        for segment in self.catalog.segments.drain(..old) {
            fs::remove(&segment.path).map_err(failed)?;
        }
        fs::sync_folder(&self.folder).map_err(failed)
    }

    /// How many of the oldest segments have to go: for their age, for what the trail may take, or for
    /// what it has to leave free. The newest goes only for its age.
    fn count_old(&self, now_ms: u64) -> usize {
        let old_before_ms = self.options.age_max_ms.map_or(0, |age| now_ms.saturating_sub(age));
        let segments = &self.catalog.segments;
        let mut bytes = self.catalog.bytes();
        let bytes_max = self.options.bytes_max.min(bytes.saturating_sub(self.spare_missing()));
        for (at, segment) in segments.iter().enumerate() {
            let too_much = bytes > bytes_max && at + 1 < segments.len();
            if !too_much && segment.last_ms >= old_before_ms {
                return at;
            }
            bytes -= segment.bytes;
        }
        segments.len()
    }

    /// Bytes by which the disk is fuller than it should be before the next segment.
    fn spare_missing(&self) -> u64 {
        let TrailOptions { spare_bytes, segment_bytes, .. } = self.options;
        let free = match spare_bytes {
            0 => u64::MAX,
            _ => fs::free_bytes(&self.folder).unwrap_or(u64::MAX),
        };
        spare_bytes.saturating_add(segment_bytes).saturating_sub(free)
    }

    fn path(&self, start: &AuditHead) -> PathBuf {
        segment::path(&self.folder, start.count + 1)
    }

    fn stop(&mut self, error: &TrailError, now_ms: u64) {
        self.save_current(error);
        self.catalog.stopped = Some(error.to_string());
        self.stop = Some(if error.is_full() {
            tracing::error!(%error, "audit trail: the disk is full; nothing is recorded until there is room; the node goes on");
            Stop::Full { retry_at_ms: now_ms.saturating_add(FULL_RETRY_MS) }
        } else {
            tracing::error!(%error, "audit trail: stopped until this node is started again; the node goes on");
            Stop::Final
        });
    }

    /// Keeps of the current segment what the disk will take.
    fn save_current(&mut self, error: &TrailError) {
        if self.write_buffer().is_err() {
            self.give_up_current();
        }
        let Some(current) = self.current.take() else { return };
        if self.dirty && !matches!(error, TrailError::Sync { .. }) {
            self.dirty = current.file.sync_data().is_err();
        }
    }
}

/// A sealed segment of these records.
fn whole(path: &Path, start: &AuditHead, page: &Page) -> (Vec<u8>, Segment) {
    let mut bytes = frame::header(start);
    let mut end = *start;
    for (wall_ms, record) in page {
        end = end.after(record);
        frame::push_record(&mut bytes, *wall_ms, &end.hash, record);
    }
    let times = || page.iter().map(|(wall_ms, _)| *wall_ms);
    let first_ms = times().min().unwrap_or(u64::MAX);
    let last_ms = times().max().unwrap_or(0);
    bytes.extend_from_slice(&frame::seal(&Seal { end, first_ms, last_ms }));
    let (path, start, len) = (path.to_owned(), *start, bytes.len() as u64);
    (bytes, Segment { path, start, end, bytes: len, first_ms, last_ms, sealed: true })
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "trail_test.rs"]
mod tests;
