//! What is under way between the nodes: a bag out of which anything may arrive next, or never.

use dsync_core::cache::{CacheMessage, Process};

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// Its sender.
    pub from: Process,
    /// For whom.
    pub to: Process,
    /// The message.
    pub message: CacheMessage,
}

/// All of them, in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Network(Vec<Packet>);

impl Network {
    /// Sends. With more than `max` under way the oldest renewal (else the oldest message) is lost.
    pub fn send(&mut self, packet: Packet, max: usize) {
        if self.0.contains(&packet) {
            return;
        }
        self.0.push(packet);
        if self.0.len() > max {
            let renewal = self.0.iter().position(Packet::is_renewal).unwrap_or(0);
            self.0.remove(renewal);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Delivers one, and keeps it for another time if `keep`.
    pub fn take(&mut self, at: usize, keep: bool) -> Packet {
        if keep { self.0[at].clone() } else { self.0.remove(at) }
    }

    /// Those that a dead process will not read.
    pub fn drop_for(&mut self, process: Process) {
        self.0.retain(|packet| packet.to != process);
    }
}

impl Packet {
    fn is_renewal(&self) -> bool {
        matches!(self.message, CacheMessage::Renew { .. } | CacheMessage::Granted { .. })
    }
}
