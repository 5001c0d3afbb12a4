//! A record as people and programs get it, and back: who has all lines has all that the chain covers.

use dsync_core::audit::{AuditHash, AuditRecord, Event};
use dsync_core::locks::{Attachment, EventItem, HoldId, LockEvent, Owner, What};
use dsync_core::queue::{QueueEvent, QueueWhat};
use dsync_core::types::{BootId, ClusterTime, Index};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wall;

/// One record of the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditLine {
    /// Which record of the trail, from 1.
    pub number: u64,
    /// The log entry that made it happen.
    pub index: u64,
    /// When the node wrote it, by the node's clock, in RFC 3339. Not covered by the hash.
    pub time: String,
    /// The entry's stamp: cluster time in ms.
    pub stamp_ms: u64,
    /// What happened, to locks or to a topic: `granted`, `released`, `purged`, ...
    #[schema(value_type = String)]
    pub what: AuditWhat,
    /// Whose request or hold; of a topic: empty.
    pub owner: String,
    /// Who the owner, or who did something to a topic, authenticated as.
    pub principal: String,
    /// The topic it is about; null: it is about locks.
    pub topic: Option<String>,
    /// How many messages of the topic it was done to; null: it is about locks.
    pub messages: Option<u64>,
    /// The locks it is about.
    #[schema(value_type = Vec<crate::http::v1::events::EventLock>)]
    pub items: Vec<EventItem>,
    /// The hold, as `index-position`.
    pub hold: Option<String>,
    /// The wait, as `index-position`.
    pub wait: Option<String>,
    /// Who listened, as `boot-number`.
    pub attachment: Option<String>,
    /// How long it was waited for, or held, in ms.
    pub elapsed_ms: u64,
    /// Who forced and why, what a refusal says, the cycle of a deadlock.
    pub detail: String,
    /// The record's hash, in hex: it covers the record and the hash before it.
    pub hash: String,
}

/// What happened, by service; no two of them have a word in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AuditWhat {
    /// To a lock.
    Lock(What),
    /// To a topic.
    Queue(QueueWhat),
}

impl AuditLine {
    /// Draws a record.
    #[must_use]
    pub fn new(record: &AuditRecord, wall_ms: u64, hash: &AuditHash) -> Self {
        let blank = |what: AuditWhat, principal: String| Self {
            number: record.number,
            index: record.index.0,
            time: wall::format(wall_ms),
            stamp_ms: record.stamp.0,
            what,
            owner: String::new(),
            principal,
            topic: None,
            messages: None,
            items: Vec::new(),
            hold: None,
            wait: None,
            attachment: None,
            elapsed_ms: 0,
            detail: String::new(),
            hash: hex(hash),
        };
        let event = match record.event.clone() {
            Event::Lock(event) => event,
            Event::Queue(QueueEvent { what, principal, topic, messages }) => {
                let (topic, messages) = (Some(topic), Some(messages));
                return Self { topic, messages, ..blank(AuditWhat::Queue(what), principal) };
            }
        };
        let LockEvent { what, owner, items, hold, wait, attachment, elapsed_ms, detail } = event;
        Self {
            owner: owner.name,
            items,
            hold: hold.map(draw_hold),
            wait: wait.map(draw_hold),
            attachment: attachment.map(|it| format!("{}-{}", it.boot, it.number)),
            elapsed_ms,
            detail,
            ..blank(AuditWhat::Lock(what), owner.principal)
        }
    }

    /// The record that was drawn; `None` if the line is no drawing of one.
    #[must_use]
    pub fn record(&self) -> Option<AuditRecord> {
        let (number, index) = (self.number, Index(self.index));
        let (stamp, event) = (ClusterTime(self.stamp_ms), self.event()?);
        Some(AuditRecord { number, index, stamp, event })
    }

    fn event(&self) -> Option<Event> {
        let what = match self.what {
            AuditWhat::Lock(what) => what,
            AuditWhat::Queue(what) => {
                let (principal, topic) = (self.principal.clone(), self.topic.clone()?);
                let messages = self.messages?;
                return Some(Event::Queue(QueueEvent { what, principal, topic, messages }));
            }
        };
        Some(Event::Lock(LockEvent {
            what,
            owner: Owner { principal: self.principal.clone(), name: self.owner.clone() },
            items: self.items.clone(),
            hold: read_option(self.hold.as_deref(), read_hold)?,
            wait: read_option(self.wait.as_deref(), read_hold)?,
            attachment: read_option(self.attachment.as_deref(), read_attachment)?,
            elapsed_ms: self.elapsed_ms,
            detail: self.detail.clone(),
        }))
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(hash: &AuditHash) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A hash in hex.
#[must_use]
pub fn unhex(text: &str) -> Option<AuditHash> {
    let mut hash = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(hash)
}

fn draw_hold(hold: HoldId) -> String {
    format!("{}-{}", hold.index, hold.position)
}

fn read_option<T>(text: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| read(text).map(Some))
}

fn read_hold(text: &str) -> Option<HoldId> {
    let (index, position) = text.split_once('-')?;
    Some(HoldId { index: Index(index.parse().ok()?), position: position.parse().ok()? })
}

fn read_attachment(text: &str) -> Option<Attachment> {
    let (boot, number) = text.split_once('-')?;
    let boot = BootId(u64::from_str_radix(boot, 16).ok()?);
    Some(Attachment { boot, number: number.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use dsync_core::locks::Mode;

    use super::*;

    #[test]
    fn a_line_is_read_back_to_the_record_it_was_drawn_from() {
        let hold = HoldId { index: Index(7), position: 2 };
        let full = LockEvent {
            what: What::ClaimOpened,
            owner: Owner { principal: "p".into(), name: "ü\"-".into() },
            items: vec![EventItem {
                name: "a/b".into(),
                mode: Mode::Permits,
                permits: 3,
                token: u64::MAX,
            }],
            hold: Some(hold),
            wait: Some(HoldId { position: 0, ..hold }),
            attachment: Some(Attachment { boot: BootId(u64::MAX), number: 5 }),
            elapsed_ms: 12,
            detail: "why".into(),
        };
        let least = LockEvent { hold: None, wait: None, attachment: None, ..full.clone() };
        let topic = QueueEvent {
            what: QueueWhat::Purged,
            principal: "p".into(),
            topic: "a/b".into(),
            messages: 7,
        };
        for event in [Event::Lock(full), Event::Lock(least), Event::Queue(topic)] {
            let (number, index, stamp) = (3, Index(9), ClusterTime(1_000));
            let record = AuditRecord { number, index, stamp, event };
            let line = AuditLine::new(&record, 5, &[0xab; 32]);
            let text = serde_json::to_string(&line).unwrap();
            let read: AuditLine = serde_json::from_str(&text).unwrap();
            assert_eq!(read.record(), Some(record));
            assert_eq!(unhex(&read.hash), Some([0xab; 32]));
        }
    }

    #[test]
    fn a_hash_that_is_none_is_not_read() {
        let good = "0".repeat(64);
        assert!(unhex(&good).is_some());
        for bad in ["", &good[1..], &"g".repeat(64), &"é".repeat(32), &"0".repeat(66)] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
