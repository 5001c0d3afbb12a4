//! Who cannot be listened at: other members, if this node leads, or this one.

use super::silence::Silence;
use crate::machine::Machine;
use crate::raft::{Raft, RoleKind};
use crate::types::{BootId, LocalTime, NodeId};

/// Notices it. One for each process, told of every message and asked at every tick.
#[derive(Debug)]
pub struct Watch {
    silence: Silence,
    /// When a leader was last known, or this node was last found to be cut off.
    led_at: Option<LocalTime>,
}

/// What there is to do about it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// Processes of silent members, to be written down with
    /// [`NodeOperation::LoseListeners`](crate::machine::NodeOperation::LoseListeners).
    pub silent: Vec<(NodeId, BootId)>,
    /// This node has had no leader for as long as the machine keeps a place:
    /// [`Listeners::cut_off`](super::Listeners::cut_off).
    pub cut_off: bool,
}

impl Watch {
    /// `silence_limit_ms`: a leader declares nobody to listen at a node that was silent for this long.
    #[must_use]
    pub fn new(silence_limit_ms: u64) -> Self {
        Self { silence: Silence::new(silence_limit_ms), led_at: None }
    }

    /// A message came.
    pub fn heard(&mut self, node: NodeId, now: LocalTime) {
        self.silence.heard(node, now);
    }

    /// Time passes. Often, compared with the limit.
    pub fn tick(&mut self, now: LocalTime, raft: &Raft, machine: &Machine) -> Watched {
        let status = raft.status();
        let leads = status.role == RoleKind::Leader;
        self.silence.tick(now, leads);
        Watched {
            silent: if leads { self.silent(now, raft, machine) } else { Vec::new() },
            cut_off: self.is_cut_off(now, status.leader.is_some(), machine),
        }
    }

    fn silent(&mut self, now: LocalTime, raft: &Raft, machine: &Machine) -> Vec<(NodeId, BootId)> {
        let (own, membership) = (raft.id(), raft.membership());
        let others = machine.boots().filter(|(node, boot, _)| {
            let member = membership.is_some_and(|members| members.contains(*node));
            *node != own && member && !machine.locks().is_lost(*boot)
        });
        let silent = others.filter(|(node, ..)| self.silence.is_due(*node, now));
        silent.map(|(node, boot, _)| (node, boot)).collect()
    }

    /// Once for every time that the machine keeps a place to which nobody listens.
    fn is_cut_off(&mut self, now: LocalTime, led: bool, machine: &Machine) -> bool {
        let settings = machine.settings().cloned().unwrap_or_default();
        let since = *self.led_at.get_or_insert(now);
        let cut_off = !led && now.since(since) >= settings.locks.claim_window_ms;
        if led || cut_off {
            self.led_at = Some(now);
        }
        cut_off
    }
}
