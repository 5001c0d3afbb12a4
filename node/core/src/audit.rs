//! The audit trail's chain: what makes a removed or altered record show.
//!
//! # Problem
//!
//! Who held what, when, and who took it away by force? The answer has to come from records that
//! nobody can change unseen, not even somebody with a node's disk.
//!
//! # Idea
//!
//! Every event that somebody has to answer for, in log order, is a record with a number. That is all that
//! happens to locks, and what administrators do to any service. What flows through a queue or a cache is
//! not: one message is nobody's claim against others, there are far more of them than of anything else,
//! and a trail that they fill forgets in minutes what it is kept for. Who watches a queue counts by a
//! number of the queue's own.
//!
//! A record's hash covers the hash before it, so the hash of the last one, the *head*, stands for all of them. The replicated state
//! holds only the count and the head: every node computes them, a snapshot carries them, and the
//! state's hash covers them. The records themselves go into each node's own files. Whoever has a file
//! and one trusted head can check every record in front of it.
//!
//! The same record has the same bytes on every node, so files of different nodes can be compared, and
//! a gap (a node that installed a snapshot has not seen the records before it) can be filled from
//! another node and checked against the own chain.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::locks::LockEvent;
use crate::queue::QueueEvent;
use crate::types::{ClusterTime, Index};
use crate::wire;

/// A SHA-256.
pub type AuditHash = [u8; 32];

/// What is hashed and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredAudit {
    /// First format.
    V1(AuditRecord),
}

/// What happened, by service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// To a lock.
    Lock(LockEvent),
    /// To a topic, by an administrator.
    Queue(QueueEvent),
}

impl Event {
    /// What happened to locks, if it did.
    #[must_use]
    pub fn lock(&self) -> Option<&LockEvent> {
        if let Self::Lock(event) = self { Some(event) } else { None }
    }

    /// About how much memory it takes: what stands in the struct and behind its pointers.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let behind = match self {
            Self::Lock(event) => {
                let items = event.items.iter().map(|item| size_of_val(item) + item.name.len());
                let owner = event.owner.principal.len() + event.owner.name.len();
                owner + event.detail.len() + items.sum::<usize>()
            }
            Self::Queue(event) => event.principal.len() + event.topic.len(),
        };
        size_of::<Self>() + behind
    }
}

/// One event, at its place in the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// Which record of the trail, from 1.
    pub number: u64,
    /// The entry that made it happen.
    pub index: Index,
    /// That entry's stamp.
    pub stamp: ClusterTime,
    /// What happened.
    pub event: Event,
}

/// The end of the trail: part of the replicated state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditHead {
    /// How many records there are: the number of the last one.
    pub count: u64,
    /// The hash of the last one, and so of all. Zeros before the first.
    pub hash: AuditHash,
}

impl AuditHead {
    /// Appends an event, and gives back its record.
    pub fn append(&mut self, index: Index, stamp: ClusterTime, event: Event) -> AuditRecord {
        let record = AuditRecord { number: self.count + 1, index, stamp, event };
        *self = self.after(&encode(&record));
        record
    }

    /// The head once `record`, as encoded, follows this one.
    #[must_use]
    pub fn after(&self, record: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(self.hash).chain_update(record).finalize();
        Self { count: self.count + 1, hash: hash.into() }
    }
}

/// The bytes of a record, which its hash covers.
#[must_use]
pub fn encode(record: &AuditRecord) -> Vec<u8> {
    wire::encode(&StoredAudit::V1(record.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locks::{Owner, What};

    fn event(name: &str) -> Event {
        Event::Lock(LockEvent {
            what: What::Refused,
            owner: Owner { principal: "p".to_owned(), name: name.to_owned() },
            items: Vec::new(),
            hold: None,
            wait: None,
            attachment: None,
            elapsed_ms: 0,
            detail: String::new(),
        })
    }

    fn head_of(records: &[AuditRecord]) -> AuditHead {
        records.iter().fold(AuditHead::default(), |head, record| head.after(&encode(record)))
    }

    #[test]
    fn the_head_is_another_if_any_record_is_changed_removed_or_moved() {
        let mut head = AuditHead::default();
        let names = ["ann", "bob", "cid"];
        let records: Vec<_> =
            names.iter().map(|who| head.append(Index(7), ClusterTime(9), event(who))).collect();
        assert_eq!(head_of(&records), head);
        assert_eq!(head.count, 3);
        let mut changed = records.clone();
        changed[1].event = event("bo");
        assert_ne!(head_of(&changed).hash, head.hash);
        assert_ne!(head_of(&records[1..]).hash, head.hash);
        let moved = [records[1].clone(), records[0].clone(), records[2].clone()];
        assert_ne!(head_of(&moved).hash, head.hash);
    }
}
