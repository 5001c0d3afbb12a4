//! An empty node's way into a cluster: meet the others, and propose the founding if it is ours to do.

use bytes::Bytes;
use dsync_core::machine::{FirstState, Settings};
use dsync_core::raft::{Bootstrap, Founding, Introduction, NotYet, Raft};
use dsync_core::types::ClusterId;
use dsync_core::wire;

use super::founding_clock::{FoundingFault, Moment};
use crate::peers;

/// What an empty node would propose, and whom it has met.
#[derive(Debug)]
pub struct Founder {
    bootstrap: Bootstrap,
    cluster_id: ClusterId,
    settings: Settings,
    /// A node may be told to wait to be taken in instead (no founders declared).
    may_propose: bool,
    waiting_for: Option<NotYet>,
    refusal: Option<String>,
    /// The others say that another process has this node's id.
    in_use: bool,
    /// Why a proposal is not made, or not confirmed.
    fault: Option<String>,
}

impl Founder {
    /// A founder with its own introduction. `cluster_id` is fresh randomness. `founders` 0: never
    /// propose.
    #[must_use]
    pub fn new(
        own: Introduction,
        founders: usize,
        cluster_id: ClusterId,
        settings: Settings,
    ) -> Self {
        Self {
            bootstrap: Bootstrap::new(own, founders),
            cluster_id,
            settings,
            may_propose: founders > 0,
            waiting_for: None,
            refusal: None,
            in_use: false,
            fault: None,
        }
    }

    /// A node introduced itself.
    pub fn introduced(&mut self, peer: &peers::Introduction) {
        self.in_use = false;
        // Who holds an unconfirmed proposal does not name its cluster yet, but is not empty either.
        let holds = (!peer.empty).then(|| peer.cluster_id.unwrap_or_default());
        self.bootstrap.introduced(Introduction {
            name: peer.name.clone(),
            node_id: peer.node_id,
            boot_id: peer.boot_id,
            holds,
        });
    }

    /// A node that knows the secret does not talk to this one.
    pub fn refused(&mut self, refusal: &peers::Refusal, by_peer: bool) {
        self.in_use = by_peer && matches!(refusal, peers::Refusal::NodeIdInUse { .. });
        self.refusal = Some(refusal.to_string());
    }

    /// The proposal to hold now, if there is one to make. `clock` is read only if there is.
    pub fn proposal(&mut self, raft: &Raft, clock: impl FnOnce() -> Moment) -> Option<Founding> {
        if !raft.is_empty() || !self.may_propose {
            return None;
        }
        match self.bootstrap.proposal(self.cluster_id, Bytes::new()) {
            Ok(founding) => match self.first_state(clock()) {
                Ok(machine) => Some(Founding { machine, ..founding }),
                Err(fault) => {
                    self.note(fault.to_string());
                    None
                }
            },
            Err(why) => {
                if self.waiting_for.as_ref() != Some(&why) {
                    tracing::info!(reason = %why, "no cluster yet");
                    self.waiting_for = Some(why);
                }
                None
            }
        }
    }

    /// True if this node, whose disk is empty, may hold the proposal of another: it is not contradicted by
    /// this node's clock, which is the last moment at which a wrong one can be told.
    pub fn confirms(&mut self, founding: &Founding, clock: Moment) -> bool {
        match clock.confirms(&founding.machine) {
            Ok(()) => {
                self.fault = None;
                true
            }
            Err(fault) => {
                let founders: Vec<_> =
                    founding.founders.values().map(ToString::to_string).collect();
                let maker = founders.iter().min().cloned().unwrap_or_default();
                self.note(format!("the founding proposal of {maker} is not confirmed: {fault}"));
                false
            }
        }
    }

    fn first_state(&self, clock: Moment) -> Result<Bytes, FoundingFault> {
        let (settings, token_base) = (self.settings.clone(), clock.token_base()?);
        settings.check()?;
        Ok(wire::encode(&FirstState::V1 { settings, token_base }).into())
    }

    fn note(&mut self, fault: String) {
        let known = self.fault.as_ref().is_some_and(|known| same_but_for_digits(known, &fault));
        if !known {
            tracing::error!(reason = fault, "no cluster is founded");
        }
        self.fault = Some(fault);
    }

    /// Why this node does not take part, if it does not: a sentence for people.
    #[must_use]
    pub fn outside(&self, raft: &Raft) -> Option<String> {
        if raft.is_empty() && !self.may_propose {
            return Some(
                "this disk is empty and this node does not found a cluster by itself: it is not a \
                 member, does not vote and serves nothing until it is told to found or taken in"
                    .into(),
            );
        }
        if raft.is_empty() {
            if let Some(fault) = &self.fault {
                return Some(format!("no cluster yet: {fault}"));
            }
            return Some(match &self.waiting_for {
                Some(NotYet::ClusterExists { name }) => format!(
                    "this disk is empty and {name} belongs to a cluster: this node is not a member, \
                     does not vote and serves nothing until it is taken in"
                ),
                Some(why) => match &self.refusal {
                    Some(refusal) => format!("no cluster yet: {why}; refused by a peer: {refusal}"),
                    None => format!("no cluster yet: {why}"),
                },
                None => "no cluster yet: nobody has answered".into(),
            });
        }
        if !raft.hard_state().founded {
            return Some("no cluster yet: waiting until all founders hold the proposal".into());
        }
        if let Some(refusal) = self.refusal.as_ref().filter(|_| self.in_use)
            && raft.status().leader.is_none()
        {
            return Some(format!("refused by the other nodes: {refusal}"));
        }
        let member = raft.membership().is_some_and(|m| m.contains(raft.id()));
        (!member).then(|| "this node is not a member of the cluster".into())
    }
}

/// A clock that is named runs on; it is the same fault.
fn same_but_for_digits(a: &str, b: &str) -> bool {
    let words = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    words(a) == words(b)
}
