//! The search: by lock, topic, owner, time and number, in pages.
//!
//! There is no index. Records come in the order of their numbers, a segment says which times it holds,
//! and what is searched for one answer is bounded: an answer may hold few records, or none, and still
//! say where to go on.

use super::catalog::Catalog;
use super::line::AuditLine;
use super::segment::{self, Read, Reader, Segment};
use dsync_core::audit::Event;

/// Bytes that are searched for one answer, about: the segment in which this is reached is finished.
const SEARCH_BYTES_MAX: u64 = 32 << 20;

/// What is looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Only records that are about this lock.
    pub lock: Option<String>,
    /// Only records that are about this topic.
    pub topic: Option<String>,
    /// Only records of owners with this name.
    pub owner: Option<String>,
    /// Only records written at this time or later, in ms since 1970.
    pub from_ms: Option<u64>,
    /// Only records written before this time.
    pub to_ms: Option<u64>,
    /// Only records behind this number.
    pub after: u64,
    /// Only records up to this number.
    pub until: u64,
    /// At most so many.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the order of numbers.
    pub lines: Vec<AuditLine>,
    /// Where to go on: the `after` of the next question. `None`: there is nothing more.
    pub next: Option<u64>,
    /// Segments that could not be read to their end: first record not read, last record, and why.
    pub unreadable: Vec<(u64, u64, String)>,
}

impl Question {
    fn wants(&self, read: &Read<'_>) -> bool {
        let wall_ms = read.framed.wall_ms;
        self.wants_event(&read.record.event)
            && self.from_ms.is_none_or(|from| wall_ms >= from)
            && self.to_ms.is_none_or(|to| wall_ms < to)
    }

    fn wants_event(&self, event: &Event) -> bool {
        let is = |wanted: &Option<String>, given: &str| {
            wanted.as_ref().is_none_or(|wanted| given == wanted)
        };
        match event {
            Event::Lock(event) => {
                let about = |lock: &String| event.items.iter().any(|item| item.name == *lock);
                self.topic.is_none()
                    && self.lock.as_ref().is_none_or(about)
                    && is(&self.owner, &event.owner.name)
            }
            Event::Queue(event) => {
                self.lock.is_none() && self.owner.is_none() && is(&self.topic, &event.topic)
            }
        }
    }

    /// Whether any of the segment's records can be wanted.
    fn may_want(&self, segment: &Segment) -> bool {
        segment.end.count > self.after
            && self.from_ms.is_none_or(|from| segment.last_ms >= from)
            && self.to_ms.is_none_or(|to| segment.first_ms < to)
    }
}

/// Searches a trail.
#[must_use]
pub fn search(catalog: &Catalog, question: &Question) -> Found {
    let mut found = Found::default();
    let mut searched = 0;
    for segment in &catalog.segments {
        if segment.start.count >= question.until || !question.may_want(segment) {
            continue;
        }
        if searched >= SEARCH_BYTES_MAX {
            found.next = Some(segment.start.count.max(question.after));
            break;
        }
        searched += segment.bytes;
        search_segment(segment, question, &mut found);
        if found.next.is_some() {
            break;
        }
    }
    found
}

/// Sets `next` if there is a wanted record too many.
fn search_segment(segment: &Segment, question: &Question, found: &mut Found) {
    let mut at = segment.start.count;
    let unreadable = match segment::read(segment) {
        Err(error) => Some(error.to_string()),
        Ok(bytes) => match Reader::new(&bytes) {
            Err(wrong) => Some(wrong.to_string()),
            Ok(reader) => take_wanted(reader, question, found, &mut at),
        },
    };
    if let Some(reason) = unreadable {
        tracing::error!(file = %segment.path.display(), reason, "audit trail: a segment cannot be read");
        found.unreadable.push((at + 1, segment.end.count, reason));
    }
}

fn take_wanted(
    reader: Reader<'_>,
    question: &Question,
    found: &mut Found,
    at: &mut u64,
) -> Option<String> {
    for read in reader {
        let read = match read {
            Ok(read) => read,
            Err(wrong) => return Some(wrong.to_string()),
        };
        *at = read.head.count;
        if *at > question.until {
            return None;
        }
        if *at <= question.after || !question.wants(&read) {
            continue;
        }
        if found.lines.len() == question.limit {
            found.next = Some(found.lines.last().map_or(question.after, |line| line.number));
            return None;
        }
        found.lines.push(AuditLine::new(&read.record, read.framed.wall_ms, &read.head.hash));
    }
    None
}
