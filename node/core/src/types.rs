//! The small words everything else is written in: who, when, where in the log.
//!
//! Each is its own type, so that an index is never compared with a term, nor a stamp of the
//! cluster's time with a reading of this machine's clock.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $inner:ty, $width:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!("{:0", $width, "x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:0", $width, "x})"), self.0)
            }
        }
    };
}

random_id!(
    /// Random identity of one disk: minted when the disk is empty, saved on it, never used again.
    NodeId, u64, "16"
);
random_id!(
    /// Random identity of one process: minted at every start.
    BootId, u64, "16"
);
random_id!(
    /// Random identity of one cluster, part of its founding entry.
    ClusterId, u128, "32"
);

number!(
    /// How many processes have started on this disk, this one included.
    BootCount
);
number!(
    /// A Raft term: at most one leader each. 0 is before the first.
    Term
);
number!(
    /// Position of an entry in the log. The founding entry stands at 1; 0 is before it.
    Index
);
number!(
    /// Cluster time in milliseconds since the founding: stamped by leaders into entries, never read
    /// from a clock while an entry is applied. It does not run while there is no leader.
    ClusterTime
);
number!(
    /// Cluster time that has passed while anything was timed, in milliseconds since the founding: what
    /// the age of a command is counted by. It stands still in a cluster where no lease, no place and no
    /// memory of a request has an end to come, so that the first command after a quiet hour is not old.
    ActiveTime
);
number!(
    /// A reading of this machine's boot-time clock in milliseconds, from an arbitrary start. It
    /// never goes into the log, and two machines' readings mean nothing to each other.
    LocalTime
);

impl Term {
    /// The term after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Index {
    /// The index after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The index before this one; 0 stays 0.
    #[must_use]
    pub fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl ClusterTime {
    /// This time and `ms` milliseconds.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl ActiveTime {
    /// This time and `ms` milliseconds.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl LocalTime {
    /// This time and `ms` milliseconds.
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time; 0 if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Stable name of a node: its DNS name on Kubernetes, `local-1` on a laptop. Resolved to an address
/// at every dial; an address is never stored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeName(pub String);

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a request's id has against it. Nothing was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RequestRefusal {
    /// The id was used for a request with another body.
    #[error("this request id was used for another request")]
    OtherBody,
    /// The number is below the client's own low-water mark.
    #[error("this request was settled before, by the client's own word")]
    Forgotten,
    /// As many ids are remembered as the settings allow; none is forgotten early.
    #[error("as many request ids are remembered as the settings allow")]
    Full,
}

impl RequestRefusal {
    /// The stable word for programs: HTTP's `code`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::OtherBody => "request_id_reused",
            Self::Forgotten => "request_settled",
            Self::Full => "request_ids_full",
        }
    }
}
