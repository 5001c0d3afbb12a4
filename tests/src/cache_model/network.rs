//! What is under way between the nodes: a bag out of which anything may arrive next, or never.

use std::collections::BTreeSet;

use dsync_core::cache::{CacheMessage, Process};

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packet {
    /// Its sender.
    pub from: Process,
    /// For whom.
    pub to: Process,
    /// The message.
    pub message: CacheMessage,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Network(BTreeSet<Packet>);

impl Network {
    /// Sends.
    pub fn send(&mut self, packet: Packet) {
        self.0.insert(packet);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In order.
    pub fn iter(&self) -> impl Iterator<Item = &Packet> {
        self.0.iter()
    }

    /// Takes one out, and keeps it for another time if `keep`.
    pub fn take(&mut self, at: usize, keep: bool) -> Option<Packet> {
        let packet = self.0.iter().nth(at).cloned()?;
        if !keep {
            self.0.remove(&packet);
        }
        Some(packet)
    }

    /// Loses all others.
    pub fn retain(&mut self, keep: impl FnMut(&Packet) -> bool) {
        self.0.retain(keep);
    }

    /// Changes each.
    pub fn rewrite(&mut self, mut change: impl FnMut(&mut Packet)) {
        let all = std::mem::take(&mut self.0).into_iter();
        self.0 = all
            .map(|mut packet| {
                change(&mut packet);
                packet
            })
            .collect();
    }

    /// Where those stand of which one has to be lost, since there are too many: of one kind of renewal
    /// between two processes, or of everything else.
    pub fn surplus(&self, renewals_max: usize, others_max: usize) -> Vec<usize> {
        let others: Vec<usize> = self.places(|packet| packet.renewal().is_none());
        if others.len() > others_max {
            return others;
        }
        for packet in &self.0 {
            let kind = packet.renewal();
            let same = |other: &Packet| {
                (other.from, other.to, other.renewal()) == (packet.from, packet.to, kind)
            };
            let alike = if kind.is_some() { self.places(same) } else { Vec::new() };
            if alike.len() > renewals_max {
                return alike;
            }
        }
        Vec::new()
    }

    fn places(&self, wanted: impl Fn(&Packet) -> bool) -> Vec<usize> {
        let found = self.0.iter().enumerate().filter(|(_, packet)| wanted(packet));
        found.map(|(at, _)| at).collect()
    }
}

impl Packet {
    /// Which half of a renewal it is.
    fn renewal(&self) -> Option<bool> {
        match self.message {
            CacheMessage::Renew { .. } => Some(false),
            CacheMessage::Granted { .. } => Some(true),
            _ => None,
        }
    }
}
