//! How a stream of events is written: SSE or JSON lines.

use std::fmt::Write as _;

use dsync_core::audit::AuditRecord;
use dsync_core::locks::{EventItem, Mode, What};
use http::HeaderValue;
use http::header::GetAll;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use crate::http::fields::hold_id;
use crate::http::problem::Fault;
use crate::http::v1::schemas;

/// One of the two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Sse,
    JsonLines,
    /// The same under its older name.
    NdJson,
}

/// Something that happened to locks.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventAnswer {
    /// Its number in the audit trail, from 1, the same on every node.
    number: u64,
    /// The log entry that made it happen.
    index: u64,
    /// That entry's stamp: cluster time.
    stamp_ms: u64,
    /// What happened: `granted`, `released`, `expired`, ...
    #[schema(value_type = schemas::EventKind)]
    what: What,
    /// Whose request or hold.
    owner: String,
    /// The locks that it is about.
    locks: Vec<EventLock>,
    /// The hold.
    hold: Option<String>,
    /// The wait, of one who waits or has waited.
    wait: Option<String>,
    /// How long it was waited for, or held; else 0.
    elapsed_ms: u64,
    /// Who forced, and why; what a refusal says; the cycle of a deadlock; else empty.
    detail: String,
}

/// One lock of an event.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventLock {
    /// Its name.
    name: String,
    /// How.
    #[schema(value_type = schemas::ModeWord)]
    mode: Mode,
    /// How many permits; 1 for a plain lock.
    permits: u32,
    /// Its fencing token; 0: not granted.
    token: u64,
}

/// A line of the stream, in JSON lines.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code, reason = "only its schema is used")]
pub enum EventLine {
    /// Something happened.
    Event(EventAnswer),
    /// Everything up to a number has been seen.
    Bookmark(BookmarkLine),
    /// The last line.
    End(EndLine),
}

/// Everything up to this number has been seen, or was not asked for.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct BookmarkLine {
    /// The number.
    bookmark: u64,
}

/// There comes nothing more.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct EndLine {
    /// Why, and where to go on.
    end: StreamEnd,
}

/// Why a stream has ended.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct StreamEnd {
    /// Why.
    code: StreamEndCode,
    /// The first number that was not seen; with `compacted`, the oldest that is kept.
    next: u64,
}

/// Why a stream has ended.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum StreamEndCode {
    /// The node shuts down: go on at another one.
    Stopping,
    /// The time that was asked for is over.
    Timeout,
    /// This watcher was too slow, and has missed events.
    Compacted,
}

impl Form {
    /// The first of the accepted types that is to be had; JSON lines for who accepts anything.
    pub(super) fn accepted(accept: GetAll<'_, HeaderValue>) -> Result<Self, Fault> {
        let mut any = false;
        for value in accept {
            for part in value.to_str().unwrap_or_default().split(',') {
                let mut words = part.split(';').map(str::trim);
                let essence = words.next().unwrap_or_default().to_ascii_lowercase();
                // `q=0` says: not this one.
                if words.any(|word| matches!(word, "q=0" | "q=0.0" | "q=0.00" | "q=0.000")) {
                    any = true;
                    continue;
                }
                match essence.as_str() {
                    "text/event-stream" | "text/*" => return Ok(Self::Sse),
                    "application/jsonl" | "application/*" | "*/*" => return Ok(Self::JsonLines),
                    "application/x-ndjson" => return Ok(Self::NdJson),
                    "" => {}
                    _ => any = true,
                }
            }
        }
        if any {
            let types = "text/event-stream, application/jsonl and application/x-ndjson";
            return Err(Fault::not_acceptable(format!("events come as {types}")));
        }
        Ok(Self::JsonLines)
    }

    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::JsonLines => "application/jsonl",
            Self::NdJson => "application/x-ndjson",
        }
    }

    pub(super) fn event(self, to: &mut String, record: &AuditRecord) {
        // A filter lets nothing else through.
        let Some(event) = EventAnswer::new(record) else { return };
        let json = serde_json::to_string(&event).unwrap_or_default();
        match self {
            Self::Sse => {
                let what = json!(event.what);
                let what = what.as_str().unwrap_or_default();
                let _ = write!(to, "id: {}\nevent: {what}\ndata: {json}\n\n", event.number);
            }
            Self::JsonLines | Self::NdJson => {
                let _ = writeln!(to, "{json}");
            }
        }
    }

    /// Everything up to this number has been seen. An SSE block without data is no event, but its id
    /// is kept for the resumption.
    pub(super) fn bookmark(self, to: &mut String, number: u64) {
        let _ = match self {
            Self::Sse => write!(to, ": bookmark\nid: {number}\n\n"),
            Self::JsonLines | Self::NdJson => writeln!(to, "{}", json!({ "bookmark": number })),
        };
    }

    /// Why there comes nothing more, and where to go on.
    pub(super) fn end(self, to: &mut String, code: &str, next: u64) {
        let end = json!({ "end": { "code": code, "next": next } });
        let _ = match self {
            Self::Sse => write!(to, "event: end\ndata: {end}\n\n"),
            Self::JsonLines | Self::NdJson => writeln!(to, "{end}"),
        };
    }
}

impl EventAnswer {
    fn new(record: &AuditRecord) -> Option<Self> {
        let event = record.event.lock()?;
        Some(Self {
            number: record.number,
            index: record.index.0,
            stamp_ms: record.stamp.0,
            what: event.what,
            owner: event.owner.name.clone(),
            locks: event.items.iter().map(lock).collect(),
            hold: event.hold.map(hold_id),
            wait: event.wait.map(hold_id),
            elapsed_ms: event.elapsed_ms,
            detail: event.detail.clone(),
        })
    }
}

fn lock(item: &EventItem) -> EventLock {
    EventLock { name: item.name.clone(), mode: item.mode, permits: item.permits, token: item.token }
}
