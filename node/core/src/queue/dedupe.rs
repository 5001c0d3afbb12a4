//! Deduplication keys: a push that is sent again makes no second message.
//!
//! A key belongs to its topic and to the window that the topic had at the push. While it is remembered, a
//! push with it and the same content is answered with the first message's id, whatever has become of the
//! message; with other content it is refused, since it is a mistake. Nothing is forgotten early: at the
//! limit a push with a new key is refused, since a forgotten key would be a second message.
//!
//! This is not the request id of a client ([`crate::machine`]): that one names a request, and is for the
//! client's own retries; a key names a thing of the user's world ("invoice 17"), whoever pushes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::request::{MessageId, PushItem, TopicId};
use super::table::QueueTable;
use super::turn::Turn;
use crate::encoding;
use crate::types::ClusterTime;

/// A key, as wide as it is known. A topic that is deleted and made again is another one.
pub(super) type KeyId = (TopicId, Arc<str>);

/// What is remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Key {
    pub(super) message: MessageId,
    pub(super) digest: [u8; 16],
    pub(super) forget_at: ClusterTime,
}

impl QueueTable {
    /// What is remembered of a key now.
    pub(super) fn live_key(&self, id: &KeyId, now: ClusterTime) -> Option<Key> {
        self.keys.get(id).filter(|key| key.forget_at > now).copied()
    }

    pub(super) fn remember_key(&mut self, id: KeyId, key: Key) {
        if let Some(before) = self.keys.get(&id) {
            self.forget.remove_mut(&(before.forget_at, id.clone()));
        }
        self.forget.insert_mut((key.forget_at, id.clone()));
        self.keys.insert_mut(id, key);
    }

    /// Forgets what is old enough, a bounded number.
    pub(super) fn forget_keys(&mut self, turn: &Turn) {
        for _ in 0..turn.rules.ends_per_entry_max {
            let due = self.forget.first().filter(|(at, _)| *at <= turn.now).cloned();
            let Some(due) = due else { break };
            self.forget.remove_mut(&due);
            self.keys.remove_mut(&due.1);
        }
    }
}

impl PushItem {
    /// Of what a repeat has in common with the first: when, how long and how urgently it is wanted may
    /// differ.
    pub(super) fn digest(&self) -> [u8; 16] {
        let said = (self.kind, &self.headers, &self.group);
        let sha = Sha256::new().chain_update(encoding::encode(&said)).chain_update(&self.body);
        let hash = sha.finalize();
        std::array::from_fn(|at| hash[at])
    }
}
