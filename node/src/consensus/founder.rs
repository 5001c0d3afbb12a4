//! An empty node's way into a cluster: meet the others, and propose the founding if it is ours to do.

use bytes::Bytes;
use dsync_core::machine::{FirstState, Settings};
use dsync_core::raft::{Bootstrap, Founding, Introduction, NotYet, Raft};
use dsync_core::types::ClusterId;
use dsync_core::wire;

use crate::peers;

/// Fencing tokens of a cluster start at the seconds since 2025-01-01 shifted by this many bits, so a
/// cluster that is founded again later starts above everything an earlier one can have minted.
const TOKEN_SECONDS_SHIFT: u32 = 22;

/// What an empty node would propose, and whom it has met.
#[derive(Debug)]
pub struct Founder {
    bootstrap: Bootstrap,
    cluster_id: ClusterId,
    first_state: Bytes,
    /// A node may be told to wait to be taken in instead (no founders declared).
    may_propose: bool,
    waiting_for: Option<NotYet>,
    refusal: Option<String>,
    /// The others say that another process has this node's id.
    in_use: bool,
}

impl Founder {
    /// A founder with its own introduction. `cluster_id` is fresh randomness; `seconds_since_2025` is
    /// the only use of a wall clock, and it is data from here on. `founders` 0: never propose.
    #[must_use]
    pub fn new(
        own: Introduction,
        founders: usize,
        cluster_id: ClusterId,
        settings: Settings,
        seconds_since_2025: u64,
    ) -> Self {
        let token_base = (seconds_since_2025 << TOKEN_SECONDS_SHIFT).max(1);
        let first = FirstState::V1 { settings, token_base };
        Self {
            bootstrap: Bootstrap::new(own, founders),
            cluster_id,
            first_state: wire::encode(&first).into(),
            may_propose: founders > 0,
            waiting_for: None,
            refusal: None,
            in_use: false,
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

    /// The proposal to hold now, if there is one to make.
    pub fn proposal(&mut self, raft: &Raft) -> Option<Founding> {
        if !raft.is_empty() || !self.may_propose {
            return None;
        }
        match self.bootstrap.proposal(self.cluster_id, self.first_state.clone()) {
            Ok(founding) => Some(founding),
            Err(why) => {
                if self.waiting_for.as_ref() != Some(&why) {
                    tracing::info!(reason = %why, "no cluster yet");
                    self.waiting_for = Some(why);
                }
                None
            }
        }
    }

    /// Why this node does not take part, if it does not: a sentence for people.
    #[must_use]
    pub fn outside(&self, raft: &Raft) -> Option<String> {
        if raft.is_empty() {
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
