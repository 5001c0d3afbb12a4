//! The first entry of all.
//!
//! To hold the founding proposal on disk is to be a member with it as entry 1. Whoever holds it offers
//! it to everybody it names, by node id, until all have said that they hold it too, synced. Only then
//! may a node stand for election. So an election among founders proves that all of them hold the same
//! proposal, and no second one can ever gather votes: a node takes one proposal only.
//!
//! A lost offer or answer is repeated. A founder whose disk is lost before all hold the proposal blocks
//! the founding for good, by design: the others may not guess. Nothing has been promised to anybody by
//! then, so the cure is empty disks.

use std::collections::BTreeSet;

use super::entry::{Entry, Payload};
use super::membership::Founding;
use super::message::{Envelope, Message};
use super::{Fatal, Raft};
use crate::types::{ClusterId, ClusterTime, Index, LocalTime, NodeId, Term};

/// Offers are repeated this often, in milliseconds.
const OFFER_MS: u64 = 250;

/// Who is known to hold the proposal.
#[derive(Debug, Default)]
pub(super) struct FoundingRound {
    held_by: BTreeSet<NodeId>,
    offer_at: LocalTime,
}

impl Raft {
    /// Writes the proposal as entry 1. A node that holds anything keeps what it has.
    pub(super) fn hold_founding(&mut self, founding: Founding) {
        if !self.is_empty() {
            return;
        }
        self.hard.term = Term(1);
        self.save_hard_state();
        self.append_entry(Entry {
            term: Term(1),
            index: Index(1),
            stamp: ClusterTime(0),
            payload: Payload::Founding(founding),
        });
    }

    /// What an empty node listens to: a proposal that names it. It does not vote, take entries, or
    /// answer at all; it may be the empty disk of a member that promised something.
    pub(super) fn receive_empty(&mut self, envelope: Envelope) {
        if let Message::FoundingOffer(founding) = envelope.message {
            self.founding_offered(envelope.from, founding);
        }
    }

    /// Holds the proposal if it is the first, and says so once it is on disk.
    pub(super) fn founding_offered(&mut self, from: NodeId, founding: Founding) {
        let named = founding.founders.contains_key(&self.options.id)
            && founding.founders.contains_key(&from);
        if !named {
            return;
        }
        let cluster_id = founding.cluster_id;
        if self.is_empty() {
            self.hold_founding(founding);
        }
        match self.founding().map(|held| held.cluster_id) {
            Some(held) if held == cluster_id => {
                self.founding.held_by.insert(from);
                self.send_after_sync(from, Message::FoundingHeld { cluster_id });
            }
            Some(held) if !self.hard.founded => {
                self.fail(Fatal::BootstrapConflict { ours: held, theirs: cluster_id });
            }
            // Founded, and of another cluster, or so long ago that entry 1 is compacted. No answer is
            // needed: whoever still asks learns from the first heartbeat that the founding is over.
            Some(_) | None => {}
        }
    }

    /// Another founder holds the proposal.
    pub(super) fn founding_held(&mut self, from: NodeId, cluster_id: ClusterId) {
        if self.cluster_id() == Some(cluster_id) {
            self.founding.held_by.insert(from);
            self.found_if_all_hold();
        }
    }

    /// The own copy may have become durable.
    pub(super) fn founding_persisted(&mut self) {
        if !self.hard.founded && self.disk.durable() >= Index(1) {
            self.founding.held_by.insert(self.options.id);
            self.found_if_all_hold();
        }
    }

    /// Repeats the offer to those who have not answered.
    pub(super) fn founding_tick(&mut self) {
        if self.hard.founded || self.now < self.founding.offer_at {
            return;
        }
        self.founding_persisted();
        self.founding.offer_at = self.now.plus(OFFER_MS);
        let Some(founding) = self.founding().cloned() else { return };
        let silent: Vec<NodeId> = founding
            .founders
            .keys()
            .copied()
            .filter(|id| *id != self.options.id && !self.founding.held_by.contains(id))
            .collect();
        if self.disk.durable() >= Index(1) {
            for id in silent {
                self.send(id, Message::FoundingOffer(founding.clone()));
            }
        }
    }

    fn found_if_all_hold(&mut self) {
        let all_hold = self
            .founding()
            .is_some_and(|f| f.founders.keys().all(|id| self.founding.held_by.contains(id)));
        if all_hold {
            self.found();
        }
    }

    /// All founders hold the proposal. A leader's word proves it too: somebody could only be elected
    /// because of it.
    pub(super) fn found(&mut self) {
        if !self.hard.founded {
            self.hard.founded = true;
            self.save_hard_state();
            self.rearm_election();
        }
    }
}
