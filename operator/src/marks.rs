//! What is known for good about a cluster's founding.
//!
//! The mark stands on the identity Secret first, and is copied to the StatefulSet and the claims. It
//! only ever goes from founding to founded. While it says founding the nodes may found by themselves,
//! which they do only if *all* their disks are empty; from founded on they never do, so that a cluster
//! whose disks are all lost does not come up as a new, empty one under the old name.

use dsync_core::contract::kubernetes::{PHASE_FOUNDED, PHASE_FOUNDING};

/// How far the founding is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing was promised to anybody yet, as far as is known.
    #[default]
    Founding,
    /// A quorum has confirmed it.
    Founded,
}

impl Phase {
    /// As it stands in the annotation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Founding => PHASE_FOUNDING,
            Self::Founded => PHASE_FOUNDED,
        }
    }

    /// From the annotation. What cannot be read counts as founded: it forbids more.
    #[must_use]
    pub fn read(annotation: Option<&str>) -> Self {
        match annotation {
            None => Self::Founding,
            Some(text) if text == PHASE_FOUNDING => Self::Founding,
            Some(_) => Self::Founded,
        }
    }
}

/// The marks of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// How far the founding is.
    pub phase: Phase,
    /// Identity of the cluster, in hex, once a quorum has confirmed it.
    pub cluster_id: Option<String>,
}
