//! The caches' way to each other: beside consensus, over the same connections.
//!
//! What can have a value in it goes by the bulk lane, the rest by the urgent one: an acknowledgement that
//! stood behind a snapshot would be late, and its session would be lost. The two lanes overtake each other;
//! the protocol of the caches allows that, and that anything gets lost.
//!
//! A message names the process that it is for. A node that has started again is another one, with numbers
//! of its own: what was said to the former one would mean something else to it.

use std::sync::{Arc, OnceLock};

use dsync_core::cache::{CacheMessage, Process};
use dsync_core::types::BootId;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::frame::{self, Frame};
use super::introduction::{Introduction, Lane};
use super::outbox::Pushed;
use super::{Peers, Shared};
use crate::caches::Line;

/// Messages that may wait to be taken.
const MESSAGES_MAX: usize = 8_192;
/// What they may have in them, together.
const BYTES_MAX: usize = 32 << 20;

/// A message between two caches, on the wire. Who sends it is proven by the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CacheFrame {
    /// Which process of the receiving node it is for.
    pub(super) to: BootId,
    /// What it says.
    pub(super) message: CacheMessage,
}

/// A message that has arrived.
#[derive(Debug)]
pub struct Heard {
    /// From whom.
    pub from: Process,
    /// What.
    pub message: CacheMessage,
    /// What it takes of the room for messages, until it is taken in.
    _room: OwnedSemaphorePermit,
}

/// Sends messages to other nodes' caches. Clones are the same line.
#[derive(Clone, Debug)]
pub struct CacheLine(Arc<Shared>);

/// Where messages from other nodes go.
#[derive(Debug)]
pub(super) struct CacheEar {
    inbox: OnceLock<mpsc::Sender<Heard>>,
    room: Arc<Semaphore>,
}

impl Heard {
    /// One that takes no room.
    #[cfg(test)]
    pub(crate) fn new(from: Process, message: CacheMessage) -> Self {
        let room = Arc::new(Semaphore::new(0)).try_acquire_many_owned(0);
        Self { from, message, _room: room.expect("nothing is asked for") }
    }
}

impl Default for CacheEar {
    fn default() -> Self {
        Self { inbox: OnceLock::new(), room: Arc::new(Semaphore::new(BYTES_MAX)) }
    }
}

impl CacheEar {
    /// Hands a message on; false if there is no room for it, or nobody to take it, and it is dropped.
    /// Never waits: the reader of the stream has consensus to read, too.
    pub(super) fn hear(&self, peer: &Introduction, message: CacheMessage, bytes: usize) -> bool {
        let Some(inbox) = self.inbox.get() else { return false };
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let Ok(_room) = Arc::clone(&self.room).try_acquire_many_owned(bytes) else { return false };
        let from = Process { node: peer.node_id, boot: peer.boot_id };
        inbox.try_send(Heard { from, message, _room }).is_ok()
    }
}

impl Peers {
    /// The line, and what is heard on it. The first caller has it; a later one hears nothing.
    #[must_use]
    pub fn cache_line(&self) -> (CacheLine, mpsc::Receiver<Heard>) {
        let (inbox, heard) = mpsc::channel(MESSAGES_MAX);
        let _ = self.shared.caches.inbox.set(inbox);
        (CacheLine(self.shared.clone()), heard)
    }
}

impl Line for CacheLine {
    /// Drops it if no connection leads there, or the queue is full.
    fn send(&self, to: Process, message: CacheMessage) {
        let lane = if message.can_be_large() { Lane::Bulk } else { Lane::Urgent };
        let metrics = &self.0.metrics;
        let Some(outbox) = self.0.table.outbox(to.node, lane) else {
            return metrics.drops_unconnected.one();
        };
        match frame::encode(&Frame::Cache(CacheFrame { to: to.boot, message })) {
            Ok(bytes) => match outbox.push(bytes) {
                Pushed::Queued => {}
                Pushed::Closed => metrics.drops_unconnected.one(),
                Pushed::Dropped { messages, .. } => metrics.drops_overflow.add(messages),
            },
            Err(bytes) => {
                metrics.drops_oversized.one();
                tracing::error!(to = %to.node, bytes, "a cache message does not fit into a frame");
            }
        }
    }
}
