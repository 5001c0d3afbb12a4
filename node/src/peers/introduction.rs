//! Who a node says it is, and whether two nodes may talk.

use dsync_core::raft::{Boot, BootFault, Fatal, HeldBoot, judge_boot};
use dsync_core::types::{BootCount, BootId, ClusterId, Index, NodeId, NodeName};
use serde::{Deserialize, Serialize};

/// The versions of the peer protocol that this release speaks.
pub const PROTOCOL: ProtocolVersions = ProtocolVersions { min: 4, max: 4 };

/// A range of protocol versions, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtocolVersions {
    /// The oldest that is understood.
    pub min: u16,
    /// The newest that is understood.
    pub max: u16,
}

impl ProtocolVersions {
    /// The newest version that both understand.
    #[must_use]
    pub fn common(self, other: Self) -> Option<u16> {
        let newest = self.max.min(other.max);
        (newest >= self.min.max(other.min)).then_some(newest)
    }
}

/// What a node tells its peers about itself. Its bytes are part of the first frame of every version
/// of the protocol, so its fields never change; more of them go into a frame of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The versions it speaks.
    pub versions: ProtocolVersions,
    /// Its name.
    pub name: NodeName,
    /// The identity of its disk.
    pub node_id: NodeId,
    /// The identity of its process.
    pub boot_id: BootId,
    /// Its cluster. `None` until it is founded for good: while a proposal is unconfirmed two
    /// proposals have to be able to meet, and nodes of two different cluster ids cannot.
    pub cluster_id: Option<ClusterId>,
    /// It holds no founding entry, so it may be named in one.
    pub empty: bool,
    /// How many quorum-loss recoveries its lineage has been through.
    pub recovery: u64,
    /// How many processes have started on its disk, itself included.
    pub boot_count: BootCount,
    /// The end of the log that this process found on its disk.
    pub recovered_end: Index,
}

impl Introduction {
    /// The process.
    #[must_use]
    pub fn boot(&self) -> Boot {
        Boot { id: self.boot_id, count: self.boot_count, recovered: self.recovered_end }
    }
}

/// For which messages a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Votes and heartbeats, which must not queue behind bulk data.
    Urgent,
    /// All the rest.
    Bulk,
}

/// Why two nodes that share the secret do not talk. The same enum goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The name belongs to a living node with another disk.
    #[error("name_in_use: {name} is held by the living node {holder}")]
    NameInUse {
        /// Which name.
        name: NodeName,
        /// Who has it.
        holder: NodeId,
    },
    /// Another living process has the same node id: one of the two disks is a copy.
    #[error(
        "node_id_in_use: another living process has the node id {node_id}; one of the two disks is a copy"
    )]
    NodeIdInUse {
        /// Which id.
        node_id: NodeId,
    },
    /// Each belongs to a cluster, and not to the same.
    #[error("other_cluster: it belongs to cluster {theirs}, this node to {ours}")]
    OtherCluster {
        /// The cluster of the node that refuses.
        ours: ClusterId,
        /// The cluster of the one that is refused.
        theirs: ClusterId,
    },
    /// The disk of that process was set back: it has held more of the log than it has now.
    #[error(
        "disk_refused: its disk has held the log up to entry {held} and now ends at {recovered}"
    )]
    DiskSetBack {
        /// The process that is refused.
        boot: BootId,
        /// What its disk is known to have held.
        held: Index,
        /// What the process found there.
        recovered: Index,
    },
    /// Another process of that node, as new or newer, is known.
    #[error("boot_superseded: it is start {count} of its data folder, and start {newest} is known")]
    BootSuperseded {
        /// The process that is refused.
        boot: BootId,
        /// Its count.
        count: BootCount,
        /// The newest that is known.
        newest: BootCount,
    },
    /// No version of the protocol that both speak.
    #[error("no_common_version: one speaks {}-{}, the other {}-{}", ours.min, ours.max, theirs.min, theirs.max)]
    NoCommonVersion {
        /// What the node that refuses speaks.
        ours: ProtocolVersions,
        /// What the one that is refused speaks.
        theirs: ProtocolVersions,
    },
    /// The address that was given for one node belongs to another.
    #[error("wrong_node: dialled {expected}, found {found}")]
    WrongNode {
        /// Who was meant.
        expected: NodeName,
        /// Who answered.
        found: NodeName,
    },
    /// It is this very process, met at one of its own addresses.
    #[error("own_address: the address leads back to the node itself")]
    OwnAddress,
    /// The dialler is connected to that process already, by another of its addresses.
    #[error("already_connected: by another address of the same node")]
    AlreadyConnected {
        /// Which node.
        node_id: NodeId,
    },
}

impl Refusal {
    /// True for what people have to look after; false for what only comes of one node having several
    /// addresses.
    #[must_use]
    pub fn is_trouble(&self) -> bool {
        !matches!(self, Self::OwnAddress | Self::AlreadyConnected { .. })
    }

    /// What a refusal by a peer means for the process `boot`, if it must stop for it. Another process
    /// may have been meant: one on a copy of the folder.
    #[must_use]
    pub fn fatal_for(&self, own: BootId) -> Option<Fatal> {
        match *self {
            Self::DiskSetBack { boot, held, recovered } if boot == own => {
                Some(Fatal::DiskRefused { boot, held, recovered })
            }
            Self::BootSuperseded { boot, count, newest } if boot == own => {
                Some(Fatal::BootSuperseded { ours: count, newest })
            }
            _ => None,
        }
    }
}

/// Judges a process by what the log says of its node.
pub(super) fn judge_process(
    known: Option<&HeldBoot>,
    theirs: &Introduction,
) -> Result<(), Refusal> {
    let boot = theirs.boot_id;
    judge_boot(known, &theirs.boot()).map_err(|fault| match fault {
        BootFault::SetBack(known) => {
            Refusal::DiskSetBack { boot, held: known.held, recovered: theirs.recovered_end }
        }
        BootFault::Superseded(known) => {
            let (count, newest) = (theirs.boot_count, known.count);
            Refusal::BootSuperseded { boot, count, newest }
        }
    })
}

/// Decides whether `own` may talk to `theirs`, and in which version. `expected` is the name that was
/// dialled, if one was given. Whether a third node holds the name is for the table to say.
pub(super) fn judge(
    own: &Introduction,
    theirs: &Introduction,
    expected: Option<&NodeName>,
) -> Result<u16, Refusal> {
    if theirs.node_id == own.node_id {
        return Err(if theirs.boot_id == own.boot_id {
            Refusal::OwnAddress
        } else {
            Refusal::NodeIdInUse { node_id: own.node_id }
        });
    }
    if let Some(expected) = expected.filter(|expected| **expected != theirs.name) {
        let (expected, found) = (expected.clone(), theirs.name.clone());
        return Err(Refusal::WrongNode { expected, found });
    }
    if theirs.name == own.name {
        return Err(Refusal::NameInUse { name: own.name.clone(), holder: own.node_id });
    }
    if let (Some(ours), Some(theirs)) = (own.cluster_id, theirs.cluster_id)
        && ours != theirs
    {
        return Err(Refusal::OtherCluster { ours, theirs });
    }
    let (ours, theirs) = (own.versions, theirs.versions);
    ours.common(theirs).ok_or(Refusal::NoCommonVersion { ours, theirs })
}
