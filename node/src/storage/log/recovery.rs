//! What a restarted node may believe of its log.
//!
//! **The problem.** After a power cut the last batch may be whole, torn, or there in part with holes
//! in it; a rotten disk may have spoilt any byte at any time. The first is normal and must be cut
//! off in silence, since nothing of it was promised. The second must stop the node: a member that
//! serves a log with a promised entry missing breaks the quorum that the entry rests on. Both look
//! the same: a frame whose checksum is wrong.
//!
//! **The idea.** The log says how far it was synced. Each batch begins by stating the synced end
//! that it follows; an idle writer states it in an end mark; a new segment states the end of the one
//! before. Each statement was true when it was written, and stays true: a sync is not undone. So:
//!
//! 1. *The highest stated end is found by a scan past bad frames, through all segments.* If the scan
//!    stopped at the first bad frame, damage would hide the very statements that prove it, and a
//!    flipped bit in the middle of the log would pass for a torn tail: everything after it would be
//!    dropped, acknowledged entries with it. A statement read in a place that was never synced
//!    counts too: it was written after the sync it tells of.
//! 2. *A bad frame below the highest stated end is damage.* It was synced, so no power cut explains
//!    it. The node stops and says where.
//! 3. *A bad frame at or above it is a torn tail, and cuts.* Nothing behind it counts, good frames
//!    neither: had the bad frame's batch been synced, the next batch behind it would say so. And
//!    records beyond a hole must never count: the log would have a gap, or a conflict record would
//!    be lost whose successors assume it.
//! 4. *What is good beyond the highest stated end is written again, into a fresh segment, and synced
//!    before it counts.* It was read, but maybe only from the page cache: if the process died
//!    because a sync failed, the kernel may hold these pages as clean, though the disk has never
//!    seen them. To sync the old file again would then succeed and write nothing. It cannot simply
//!    be dropped either: the sync may have succeeded, with its answer given, before the power cut.
//! 5. *The fresh segment appears whole or not at all.* It is written and synced under a temporary
//!    name, with an end mark, and renamed in; then the old segment is cut to the stated end (which
//!    leaves nothing behind it, as zeros would, and gives back the room) and synced. A power cut
//!    between the two does no harm: the fresh segment states where the old one ends, and what the
//!    old one holds behind that is not read any more.
//! 6. *A clean stop is continued in place.* If the last frame is an end mark at the highest stated
//!    end, with zeros behind it, nothing is unproven but the mark itself. It is written again and
//!    synced, so that what is written behind it never follows a hole. Without this rule each start
//!    of a process that crashes in a loop would take a segment.
//!
//! 7. *A file that is shorter than its header says has lost its end*, unless the next segment states an
//!    end at or below its length: then recovery cut it (rule 5).
//! 8. *A number that is missing above the highest stated end is damage.* Segments are made in order, and
//!    what is void up there is removed from the newest down, each removal synced before the next.
//! 9. *A log that ends before the end that `end_file.rs` states is damaged.*
//!
//! **What this cannot tell.** A bit that flips in the last batch, or in the end mark that states it,
//! before any later statement exists: that batch is taken for a torn tail. The writer narrows the
//! window to its idle time (50 ms by default) by writing end marks, and the loss of the log's whole last
//! piece to 250 ms of idleness by rule 9; nothing on one disk closes it.
//! The rest of the cluster does, in part: a log that ends before what it acknowledged is refused.
//!
//! **Rejected.** A separate file with the synced end of each batch: a second sync per batch. Trusting the length of a bad frame to find the next one: the length may be what is bad.

use std::collections::VecDeque;
use std::path::Path;

use dsync_core::raft::{Record, Recovered};
use dsync_core::types::Index;
use dsync_core::wire::{self, StoredRecord};

use super::frame::{self, ALIGNMENT, END_MARK_BYTES, Frame, Kind, Position, Seal};
use super::layout::{Part, place};
use super::segment::{self, Header, SEGMENT_HEADER_BYTES, Segment};
use super::tail::{Replay, Tail};
use super::{Closed, LogError, LogOptions, end_file};
use crate::storage::fs;

/// Everything that the log needs to go on.
#[derive(Debug)]
pub(super) struct Opened {
    pub current: Segment,
    /// Where the next frame goes. All before it is synced and stated by an end mark.
    pub end: u64,
    pub highest: Index,
    pub closed: VecDeque<Closed>,
    pub tail: Tail,
    pub recovered: Recovered,
}

/// Opens the log in a folder, or begins it there.
pub(super) fn recover(folder: &Path, options: &LogOptions) -> Result<Opened, LogError> {
    segment::remove_temporary(folder).map_err(|source| LogError::io(folder, source))?;
    let surveys = survey_all(folder)?;
    let stated_end = match surveys.first() {
        None => Position::default(),
        Some(oldest) => highest_stated(&surveys).ok_or_else(|| oldest.no_statement(folder))?,
    };
    let mut recovery = Recovery::new(folder, options, stated_end);
    recovery.sort_out(surveys)?;
    recovery.expect_whole_files()?;
    recovery.read_trusted()?;
    recovery.expect_end_of_idle_log()?;
    if recovery.stopped_clean() { recovery.continue_in_place() } else { recovery.begin_fresh() }
}

/// What one segment holds, as far as it can be told from itself alone.
#[derive(Debug)]
struct Survey {
    seal: Seal,
    len: u64,
    /// Length that the header states.
    made_bytes: u64,
    /// The frames before this offset are good, without a gap.
    good_end: usize,
    /// What its first frame states, if it is a good segment start.
    start: Option<Position>,
    highest_stated: Option<Position>,
    /// Offset of the last good frame, if that is an end mark.
    mark: Option<usize>,
    /// Only zeros follow `good_end`.
    zeros_follow: bool,
}

impl Survey {
    fn take(folder: &Path, number: u64) -> Result<Self, LogError> {
        let path = segment::path(folder, number);
        let bytes = fs::read(&path).map_err(|source| LogError::io(&path, source))?;
        let Header { seal, made_bytes } = segment::read_header(&bytes, number)
            .map_err(|reason| LogError::damage(&path, 0, Index(0), reason))?;
        let mut survey = Self {
            seal,
            len: bytes.len() as u64,
            made_bytes,
            good_end: SEGMENT_HEADER_BYTES,
            start: None,
            highest_stated: None,
            mark: None,
            zeros_follow: false,
        };
        survey.read_good(&bytes);
        survey.scan_past_bad(&bytes);
        survey.zeros_follow = bytes[survey.good_end..].iter().all(|byte| *byte == 0);
        Ok(survey)
    }

    fn read_good(&mut self, bytes: &[u8]) {
        while let Some(frame) = frame::parse(bytes, self.seal, self.good_end) {
            let first = self.good_end == SEGMENT_HEADER_BYTES;
            if first && frame.kind == Kind::SegmentStart {
                self.start = frame.stated_end();
            }
            self.mark = (frame.kind == Kind::EndMark).then_some(self.good_end);
            self.highest_stated = self.highest_stated.max(frame.stated_end());
            self.good_end = frame.end;
        }
    }

    /// Rule 1. Frames begin at multiples of the alignment, and all statements have one size, so the
    /// scan is cheap whatever the bytes are.
    fn scan_past_bad(&mut self, bytes: &[u8]) {
        for offset in (self.good_end..bytes.len()).step_by(ALIGNMENT) {
            let Some(candidate) = bytes.get(offset..offset + END_MARK_BYTES) else { break };
            if candidate[0] == 0 {
                continue;
            }
            let stated = frame::parse_statement(bytes, self.seal, offset);
            self.highest_stated = self.highest_stated.max(stated);
        }
    }

    fn number(&self) -> u64 {
        self.seal.segment
    }

    /// Made ahead and never written to.
    fn is_blank(&self) -> bool {
        self.good_end == SEGMENT_HEADER_BYTES && self.zeros_follow
    }

    fn no_statement(&self, folder: &Path) -> LogError {
        let path = segment::path(folder, self.number());
        LogError::damage(&path, SEGMENT_HEADER_BYTES, Index(0), "no synced end is stated anywhere")
    }
}

/// Recovery under way.
struct Recovery<'a> {
    folder: &'a Path,
    options: &'a LogOptions,
    stated_end: Position,
    /// Up to the stated end's segment, without a gap in their numbers.
    trusted: Vec<Survey>,
    /// The segment after it, if it exists.
    next: Option<Survey>,
    /// Remains of interrupted deletions below.
    void: Vec<u64>,
    /// Made ahead further than by one, ascending.
    void_above: Vec<u64>,
    replay: Replay,
    closed: VecDeque<Closed>,
}

impl<'a> Recovery<'a> {
    fn new(folder: &'a Path, options: &'a LogOptions, stated_end: Position) -> Self {
        Self {
            folder,
            options,
            stated_end,
            trusted: Vec::new(),
            next: None,
            void: Vec::new(),
            void_above: Vec::new(),
            replay: Replay::default(),
            closed: VecDeque::new(),
        }
    }

    /// Deletion runs from the oldest on, but a power cut may bring an older one back: then there is
    /// a gap, and what lies before it is not needed. If it were, the entries would not be complete,
    /// and that is checked at the end.
    fn sort_out(&mut self, surveys: Vec<Survey>) -> Result<(), LogError> {
        self.sort(surveys);
        self.expect_stated_segment()?;
        self.expect_no_gap_above()
    }

    fn sort(&mut self, surveys: Vec<Survey>) {
        for survey in surveys {
            let number = survey.number();
            if number > self.stated_end.segment + 1 {
                self.void_above.push(number);
            } else if number == self.stated_end.segment + 1 {
                self.next = Some(survey);
            } else {
                if self.trusted.last().is_some_and(|before| before.number() + 1 != number) {
                    self.void.extend(self.trusted.drain(..).map(|before| before.number()));
                }
                self.trusted.push(survey);
            }
        }
    }

    /// The segment of the highest stated end is never deleted: see `Log::delete_unneeded`, and rule
    /// 5 for the first one of all.
    fn expect_stated_segment(&self) -> Result<(), LogError> {
        let newest = self.trusted.last().map_or(0, Survey::number);
        if newest == self.stated_end.segment && (newest > 0 || self.next.is_none()) {
            return Ok(());
        }
        let path = segment::path(self.folder, self.stated_end.segment.max(1));
        let reason = "the segment of the highest stated end is missing, or its end marks are bad";
        Err(LogError::damage(&path, SEGMENT_HEADER_BYTES, Index(0), reason))
    }

    /// Rule 8.
    fn expect_no_gap_above(&self) -> Result<(), LogError> {
        let numbers = self.next.iter().map(Survey::number).chain(self.void_above.iter().copied());
        for (number, expected) in numbers.zip(self.stated_end.segment + 1..) {
            if number != expected {
                let path = segment::path(self.folder, expected);
                return Err(LogError::damage(
                    &path,
                    0,
                    Index(0),
                    "a segment of the log is missing",
                ));
            }
        }
        Ok(())
    }

    /// Rule 7. A segment after `next` was never used.
    fn expect_whole_files(&self) -> Result<(), LogError> {
        let mut surveys = self.trusted.iter().chain(&self.next).peekable();
        while let Some(survey) = surveys.next() {
            let cut_at = surveys.peek().and_then(|next| next.start);
            let was_cut = cut_at
                .is_some_and(|end| end.segment == survey.number() && end.offset <= survey.len);
            if survey.len < survey.made_bytes && !was_cut {
                let path = segment::path(self.folder, survey.number());
                let at = usize::try_from(survey.len).unwrap_or(usize::MAX);
                let reason = "the file is shorter than it was made";
                return Err(LogError::damage(&path, at, Index(0), reason));
            }
        }
        Ok(())
    }

    /// Rule 9.
    fn expect_end_of_idle_log(&self) -> Result<(), LogError> {
        let path = end_file::path(self.folder);
        let stated = end_file::read(self.folder).map_err(|source| LogError::io(&path, source))?;
        let stated = stated.map_err(|reason| LogError::damage(&path, 0, Index(0), reason))?;
        if stated <= self.stated_end {
            return Ok(());
        }
        let same = self.stated_end.segment == stated.segment;
        let at = if same { self.stated_end.offset } else { SEGMENT_HEADER_BYTES as u64 };
        let file = segment::path(self.folder, stated.segment);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let reason = "the log ends before the end that it had when it was last idle";
        Err(LogError::damage(&file, at, self.next_index(), reason))
    }

    /// Rule 2.
    fn read_trusted(&mut self) -> Result<(), LogError> {
        for at in 0..self.trusted.len() {
            let (seal, limit) = (self.trusted[at].seal, self.limit(at)?);
            let mut highest = Index(0);
            self.read(seal, SEGMENT_HEADER_BYTES, limit, |record| {
                if let Record::Entry(entry) = record {
                    highest = highest.max(entry.index);
                }
            })?;
            self.closed.push_back(Closed { segment: seal.segment, highest });
        }
        Ok(())
    }

    /// Where the trusted part of a segment ends: where the next one says, or at the stated end.
    fn limit(&self, at: usize) -> Result<usize, LogError> {
        let end = match self.trusted.get(at + 1) {
            None => self.stated_end,
            Some(next) => next.start.ok_or_else(|| {
                let path = segment::path(self.folder, next.number());
                let reason = "bad segment start below the synced end";
                LogError::damage(&path, SEGMENT_HEADER_BYTES, self.next_index(), reason)
            })?,
        };
        Ok(usize::try_from(end.offset).unwrap_or(usize::MAX))
    }

    /// Replays the frames of a segment between two offsets; all of them must be good.
    fn read(
        &mut self,
        seal: Seal,
        from: usize,
        to: usize,
        mut each: impl FnMut(&Record),
    ) -> Result<(), LogError> {
        let path = segment::path(self.folder, seal.segment);
        let bytes = fs::read(&path).map_err(|source| LogError::io(&path, source))?;
        let mut offset = from;
        while offset < to {
            let bad = |index, reason| LogError::damage(&path, offset, index, reason);
            let frame = frame::parse(&bytes, seal, offset)
                .filter(|frame| frame.end <= to)
                .ok_or_else(|| bad(self.next_index(), "bad record below the synced end"))?;
            let index = self.next_index();
            let record = self.follow(seal, offset, frame).map_err(|reason| bad(index, reason))?;
            record.iter().for_each(&mut each);
            offset = frame.end;
        }
        Ok(())
    }

    fn follow(
        &mut self,
        seal: Seal,
        offset: usize,
        frame: Frame<'_>,
    ) -> Result<Option<Record>, &'static str> {
        let starts = frame.kind == Kind::SegmentStart;
        if starts != (offset == SEGMENT_HEADER_BYTES) {
            return Err("segment start in the wrong place");
        }
        if starts {
            let previous = frame.stated_end().map(|end| end.segment + 1);
            if previous != Some(seal.segment) {
                return Err("segment follows another than the one before it");
            }
            self.replay.begin_segment(frame.last)?;
        }
        if frame.kind != Kind::Record {
            return Ok(None);
        }
        let decoded = wire::decode("record of the log", frame.body);
        let StoredRecord::V1(record) = decoded.map_err(|_| "record of an unknown form")?;
        if place(&record) != frame.last {
            return Err("record is not the one its frame names");
        }
        self.replay.follow(record.clone())?;
        Ok(Some(record))
    }

    /// Rule 6.
    fn stopped_clean(&self) -> bool {
        let Some(last) = self.trusted.last() else { return false };
        last.mark.is_some_and(|mark| mark as u64 == self.stated_end.offset)
            && last.zeros_follow
            && self.next.as_ref().is_none_or(Survey::is_blank)
    }

    fn continue_in_place(mut self) -> Result<Opened, LogError> {
        let recovered = self.finish()?;
        let Some(last) = self.trusted.pop() else { unreachable!("a clean stop has a segment") };
        let highest = self.closed.pop_back().map_or(Index(0), |closed| closed.highest);
        let current = self.open(last.seal)?;
        let mut mark = Part {
            seal: last.seal,
            start: self.stated_end.offset,
            bytes: Vec::new(),
            segment_bytes: last.len,
            highest: Index(0),
        };
        mark.push_statement(Kind::EndMark, self.replay.tail.last, self.stated_end);
        let path = segment::path(self.folder, last.number());
        current
            .file
            .write_all_at(&mark.bytes, mark.start)
            .and_then(|()| current.file.sync_data())
            .map_err(|source| LogError::io(&path, source))?;
        self.remove_above()?;
        self.remove_void()?;
        Ok(self.opened(current, &mark, highest, recovered))
    }

    /// Rules 4 and 5.
    fn begin_fresh(mut self) -> Result<Opened, LogError> {
        let mut fresh = Part::begin(self.stated_end, &self.replay.tail, 0, self.options);
        self.copy_unstated(&mut fresh)?;
        fresh.push_statement(Kind::EndMark, self.replay.tail.last, fresh.end());
        let recovered = self.finish()?;
        self.remove_above()?;
        let current = self.make(&fresh)?;
        self.cut_to_stated_end()?;
        self.remove_void()?;
        let highest = fresh.highest;
        Ok(self.opened(current, &fresh, highest, recovered))
    }

    /// Copies the good records that follow the stated end; rule 3 ends them at the first bad one.
    fn copy_unstated(&mut self, fresh: &mut Part) -> Result<(), LogError> {
        let begun = self.next.as_ref().filter(|next| next.start == Some(self.stated_end));
        let found = match (begun, self.trusted.last()) {
            (Some(next), _) => Some((next.seal, SEGMENT_HEADER_BYTES, next.good_end)),
            (None, Some(last)) => {
                let from = usize::try_from(self.stated_end.offset).unwrap_or(usize::MAX);
                Some((last.seal, from, last.good_end))
            }
            (None, None) => None,
        };
        let Some((seal, from, to)) = found else { return Ok(()) };
        let mut copied = Vec::new();
        self.read(seal, from, to, |record| copied.push(record.clone()))?;
        copied.iter().for_each(|record| fresh.push_growing(record));
        Ok(())
    }

    fn finish(&mut self) -> Result<Recovered, LogError> {
        let tail = self.replay.tail.last.0;
        self.replay.finish().map_err(|reason| LogError::damage(self.folder, 0, tail, reason))
    }

    /// On a full disk a small segment will do: there is then no room to append, which is a state
    /// that passes, and not a reason to stay down.
    fn make(&self, fresh: &Part) -> Result<Segment, LogError> {
        let least = fresh.end().offset;
        Segment::make(self.folder, fresh.seal, &fresh.bytes, fresh.segment_bytes)
            .or_else(|error| match fs::is_full(&error) {
                true => Segment::make(self.folder, fresh.seal, &fresh.bytes, least),
                false => Err(error),
            })
            .map_err(|source| LogError::io(&segment::path(self.folder, fresh.seal.segment), source))
    }

    fn cut_to_stated_end(&self) -> Result<(), LogError> {
        let Some(last) = self.trusted.last() else { return Ok(()) };
        let file = self.open(last.seal)?.file;
        file.set_len(self.stated_end.offset)
            .and_then(|()| file.sync_data())
            .map_err(|source| LogError::io(&segment::path(self.folder, last.number()), source))
    }

    /// What was made ahead, from the newest down: each removal is synced before the next, see rule 8.
    /// It was made under another salt; a fresh segment takes the number, and on a full disk the room.
    fn remove_above(&self) -> Result<(), LogError> {
        let blank_next = self.next.iter().filter(|next| next.is_blank()).map(Survey::number);
        let above = self.void_above.iter().rev().copied().chain(blank_next);
        above.into_iter().try_for_each(|number| {
            self.remove(number)?;
            fs::sync_folder(self.folder).map_err(|source| LogError::io(self.folder, source))
        })
    }

    fn remove_void(&self) -> Result<(), LogError> {
        self.void.iter().try_for_each(|number| self.remove(*number))?;
        fs::sync_folder(self.folder).map_err(|source| LogError::io(self.folder, source))
    }

    fn remove(&self, number: u64) -> Result<(), LogError> {
        let path = segment::path(self.folder, number);
        fs::remove(&path).map_err(|source| LogError::io(&path, source))
    }

    fn open(&self, seal: Seal) -> Result<Segment, LogError> {
        let path = segment::path(self.folder, seal.segment);
        Segment::open(self.folder, seal).map_err(|source| LogError::io(&path, source))
    }

    fn next_index(&self) -> Index {
        self.replay.tail.last.0.next()
    }

    fn opened(self, current: Segment, part: &Part, highest: Index, recovered: Recovered) -> Opened {
        Opened {
            current,
            end: part.end().offset,
            highest,
            closed: self.closed,
            tail: self.replay.tail,
            recovered,
        }
    }
}

fn survey_all(folder: &Path) -> Result<Vec<Survey>, LogError> {
    let numbers = segment::list(folder).map_err(|source| LogError::io(folder, source))?;
    numbers.into_iter().map(|number| Survey::take(folder, number)).collect()
}

fn highest_stated(surveys: &[Survey]) -> Option<Position> {
    surveys.iter().filter_map(|survey| survey.highest_stated).max()
}
