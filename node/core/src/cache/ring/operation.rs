//! What changes the ring's members, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::cache::placement::Incarnation;
use crate::types::{Index, Term};

/// An operation on the ring's members.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RingOperation {
    /// The sending process becomes a home. It has dropped all copies, fills, sessions and values before.
    Enter,
    /// These homes are out. Proposed by the leader of the term, only when it has taken their grants to be
    /// over and grants none of them any more.
    Suspend {
        /// Which.
        homes: Vec<Incarnation>,
        /// In an entry of another term it changes nothing: that leader may have granted.
        term: Term,
    },
    /// The sending process is a home no more. Its own lease is over by then, stretched by the drift: so
    /// are the sessions of its sharers.
    Leave(Incarnation),
    /// No sharer has copies of keys that this home lost by the epoch.
    Release {
        /// Which home.
        home: Incarnation,
        /// The epoch.
        epoch: Index,
    },
}

/// What came of a [`RingOperation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RingOutcome {
    /// The sending process is this home.
    Entered(Incarnation),
    /// It is as was asked for.
    Done,
    /// Nothing has changed.
    Refused(RingRefusal),
}

/// Why nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, thiserror::Error)]
pub enum RingRefusal {
    /// The node is no voter of the cluster.
    #[error("the node is no voter")]
    NoVoter,
    /// The node, or its name, is in service: maybe an earlier process, whose lease has to end first.
    #[error("a home of this node is in service already")]
    InService(Incarnation),
    /// A home has not released what it lost by the last change.
    #[error("the last change of the ring is not settled yet")]
    NotSettled,
    /// The node was suspended a short while ago.
    #[error("the node may return in {left_ms} ms")]
    TooEarly {
        /// Cluster time to wait.
        left_ms: u64,
    },
    /// No such home is in service.
    #[error("this home is not in service")]
    NotInService,
    /// The leader that meant it leads no more.
    #[error("the leader that proposed it leads no more")]
    OtherTerm,
}
