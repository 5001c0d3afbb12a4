//! The calls of the admin port that an operator makes: found, members, transfer, drain.
//!
//! Bodies are JSON. Ids are lower-case hex, as everywhere in HTTP. A call that changes something is
//! proven by HMAC-SHA256 with the cluster secret over [`proof_input`]; the secret itself never
//! travels. The nonce is asked for first, belongs to one process of one node, and is good once: so a
//! recorded call can neither be repeated nor shown to another node.
//!
//! Every call may be lost, before or after it had its effect, and is sent again: `found` answers what
//! is held, `transfer` and `drain` are ended by a term or a process that the caller did not mean.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::types::NodeName;

/// `POST`: [`FoundRequest`] to [`FoundAnswer`]. Proven.
pub const FOUND_PATH: &str = "/admin/v1/found";
/// `GET`: [`MembersAnswer`], confirmed by a quorum.
pub const MEMBERS_PATH: &str = "/admin/v1/members";
/// `POST`: [`TransferRequest`] to [`TransferAnswer`]. Proven.
pub const TRANSFER_PATH: &str = "/admin/v1/transfer";
/// `POST`: [`DrainRequest`] to [`DrainAnswer`]. Proven.
pub const DRAIN_PATH: &str = "/admin/v1/drain";
/// `POST`, without a body: [`NonceAnswer`].
pub const NONCE_PATH: &str = "/admin/v1/nonce";

/// Header of a proven call: the nonce that it uses up.
pub const NONCE_HEADER: &str = "dsync-admin-nonce";
/// Header of a proven call: the process that it is meant for.
pub const BOOT_HEADER: &str = "dsync-admin-boot";
/// Header of a proven call: the HMAC, in hex.
pub const PROOF_HEADER: &str = "dsync-admin-proof";

/// What a proof covers. Each part is preceded by its length, so that no two calls have the same bytes.
#[must_use]
pub fn proof_input(method: &str, path: &str, body: &[u8], boot_id: &str, nonce: &str) -> Vec<u8> {
    let parts = [
        b"dsync-admin-1",
        method.as_bytes(),
        path.as_bytes(),
        boot_id.as_bytes(),
        nonce.as_bytes(),
        body,
    ];
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

/// A number for one proven call to one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NonceAnswer {
    /// The process that accepts it.
    pub boot_id: String,
    /// The number, in hex.
    pub nonce: String,
}

/// Found the cluster. All of it is written down by the caller before the first call, so that every
/// repetition says the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundRequest {
    /// Identity of the cluster, in hex: 128 random bits.
    pub cluster_id: String,
    /// Names of all founders, the node that is asked included.
    pub founders: BTreeSet<NodeName>,
    /// The first fencing token is above this.
    pub token_base: u64,
    /// Settings that differ from the defaults.
    #[serde(default)]
    pub settings: FoundSettings,
}

/// The settings that a cluster can be founded with. What is not set has the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundSettings {
    /// The lease of who does not say, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_lease_ms: Option<u64>,
    /// Longest lease, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms_max: Option<u64>,
    /// Most waiters of one lock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_waiters_max: Option<u32>,
    /// Most holds and waits of one owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_holds_max: Option<u32>,
}

/// What the node holds now, whether by this call or an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FoundAnswer {
    /// The cluster that it holds the first entry of.
    pub cluster_id: String,
    /// SHA-256 of the whole first entry, in hex: one id with two contents is a conflict.
    pub digest: String,
    /// All founders are known to hold the same.
    pub founded: bool,
}

/// The members as the leader knows them, confirmed by a quorum after the request came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MembersAnswer {
    /// The cluster, in hex.
    pub cluster_id: String,
    /// Name of the leader.
    pub leader: NodeName,
    /// The leader's term.
    pub term: u64,
    /// Last entry of the configuration that is in force: what a change has to expect.
    pub configuration_index: u64,
    /// Last committed entry.
    pub commit_index: u64,
    /// In the order of their names.
    pub members: Vec<AdminMember>,
}

/// One member, seen from the leader.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdminMember {
    /// Its name.
    pub name: NodeName,
    /// Its disk, in hex.
    pub node_id: String,
    /// Whether it counts.
    pub role: AdminRole,
    /// Last entry that the leader knows it to hold durably.
    pub match_index: u64,
    /// How many entries it is behind the leader's log.
    pub lag_entries: u64,
    /// Milliseconds since the leader heard of it; `None`: never in this term.
    pub last_contact_ms: Option<u64>,
}

/// Whether a member counts in decisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminRole {
    /// It votes, and entries count when a majority of such hold them.
    Voter,
    /// It receives the log and does not count.
    Learner,
}

/// Hand the lead to another voter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// To whom; the one that has most of the log if nobody is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeName>,
    /// Refused unless this is the term: what the caller knows may be old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_term: Option<u64>,
}

/// How a hand-over ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case", deny_unknown_fields)]
pub enum TransferAnswer {
    /// Another node leads.
    Done {
        /// Who.
        leader: NodeName,
        /// Since which term.
        term: u64,
    },
    /// Nothing was begun.
    Refused {
        /// Why.
        reason: String,
    },
    /// It was begun, and given up: the old leader leads on, or an election decides.
    TimedOut,
}

/// Take no new clients and lead no longer, as before a stop. Ends by itself after 30 s, so that a
/// caller that vanishes leaves no node behind that does not serve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Refused unless this is the term.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_term: Option<u64>,
}

/// What a drain has come to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrainAnswer {
    /// The node leads no longer, and nobody waits for an answer of it.
    pub drained: bool,
    /// After how many milliseconds it serves again.
    pub ends_in_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_proof_can_be_moved_into_another() {
        let calls = [
            proof_input("POST", "/a", b"bc", "d", "e"),
            proof_input("POST", "/ab", b"c", "d", "e"),
            proof_input("POST", "/a", b"bc", "de", ""),
            proof_input("POST", "/a", b"bce", "d", ""),
            proof_input("POSTA", "/", b"bc", "d", "e"),
        ];
        for (one, first) in calls.iter().enumerate() {
            for second in &calls[one + 1..] {
                assert_ne!(first, second);
            }
        }
    }

    #[test]
    fn the_bytes_of_a_proof_are_part_of_the_protocol() {
        let mut golden = Vec::new();
        for part in ["dsync-admin-1", "POST", "/p", "b", "n", "{}"] {
            golden.extend([0, 0, 0, 0, 0, 0, 0, u8::try_from(part.len()).unwrap()]);
            golden.extend(part.as_bytes());
        }
        assert_eq!(proof_input("POST", "/p", b"{}", "b", "n"), golden);
    }
}
