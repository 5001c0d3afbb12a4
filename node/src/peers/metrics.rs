//! Counters of the peer side, for the metrics page.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only rises.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The number now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, amount: usize) {
        // Counters are read by people, one at a time: no order between them is needed.
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(super) fn one(&self) {
        self.add(1);
    }
}

/// What the peer side has done since the process started.
#[derive(Debug, Default)]
pub struct PeerMetrics {
    /// Bytes of frames read, headers included, handshakes not.
    pub bytes_in: Counter,
    /// Bytes of frames written, headers included, handshakes not.
    pub bytes_out: Counter,
    /// Frames read.
    pub frames_in: Counter,
    /// Frames written.
    pub frames_out: Counter,
    /// Messages dropped because no connection leads to their node.
    pub drops_unconnected: Counter,
    /// Messages dropped because the queue of their connection was full.
    pub drops_overflow: Counter,
    /// Messages dropped because they do not fit into a frame: a bug of whoever built them.
    pub drops_oversized: Counter,
    /// Messages received that were addressed to another node id, and dropped.
    pub drops_misaddressed: Counter,
    /// Messages received for which the node had no room, and dropped.
    pub drops_unheard: Counter,
    /// Connections closed because a message named a sender other than their peer.
    pub forged_senders: Counter,
    /// Connections closed for a bad length, checksum or body.
    pub broken_frames: Counter,
    /// Connections dialled and proven.
    pub dialled: Counter,
    /// Connections accepted and proven.
    pub accepted: Counter,
    /// Attempts to dial that did not lead to a proven connection.
    pub dial_failures: Counter,
    /// Incoming connections that ended before they were proven: strangers, silence, wrong secrets.
    pub accept_failures: Counter,
    /// Proven peers that were refused, or that refused this node, for a named reason.
    pub refusals: Counter,
    /// Unproven incoming connections closed early to make room for newer ones.
    pub evictions: Counter,
}
