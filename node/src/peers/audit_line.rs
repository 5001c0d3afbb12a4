//! The audit trails' way to each other: beside consensus, over the same connections.
//!
//! Words go by the bulk lane, to peers that speak version 2. They may get lost, like everything here.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dsync_core::types::NodeId;
use tokio::sync::mpsc;

use super::frame::{self, Frame};
use super::introduction::Lane;
use super::{Peers, Shared};
use crate::audit::filler::Carrier;

/// The first version of the protocol with these words.
const VERSION_MIN: u16 = 2;
/// Words that may wait to be taken; a node has one question under way.
const WORDS: usize = 16;

/// Sends words to other nodes' trails. Clones are the same line.
#[derive(Clone, Debug)]
pub struct AuditLine(Arc<Shared>);

/// Where words from other nodes go.
#[derive(Debug, Default)]
pub(super) struct Ear(OnceLock<mpsc::Sender<(NodeId, Bytes)>>);

impl Ear {
    /// A word that nobody takes is dropped: it is asked again.
    pub(super) fn hear(&self, from: NodeId, word: Bytes) {
        if let Some(ear) = self.0.get() {
            let _ = ear.try_send((from, word));
        }
    }
}

impl Peers {
    /// The line, and what is heard on it. The first caller has it; a later one hears nothing.
    #[must_use]
    pub fn audit_line(&self) -> (AuditLine, mpsc::Receiver<(NodeId, Bytes)>) {
        let (ear, heard) = mpsc::channel(WORDS);
        let _ = self.shared.audit.0.set(ear);
        (AuditLine(self.shared.clone()), heard)
    }
}

impl AuditLine {
    /// Runs what works with the line; it ends with the peer side.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let shared = self.0.clone();
        self.0.spawn(async move {
            tokio::select! {
                () = work => {}
                () = shared.draining() => {}
            }
        });
    }
}

impl Carrier for AuditLine {
    fn peers(&self) -> Vec<NodeId> {
        let known = self.0.table.known().into_iter();
        let able = known.filter(|peer| peer.is_connected() && peer.version >= VERSION_MIN);
        able.map(|peer| peer.introduction.node_id).collect()
    }

    fn send(&self, to: NodeId, word: Bytes) {
        let Some(outbox) = self.0.table.outbox(to, Lane::Bulk) else { return };
        match frame::encode(&Frame::Audit(word)) {
            Ok(bytes) => drop(outbox.push(bytes)),
            Err(bytes) => tracing::error!(%to, bytes, "an audit page does not fit into a frame"),
        }
    }
}
