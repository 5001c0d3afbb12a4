//! What homes and sharers say to each other, process to process. Any message may be lost, doubled, or
//! overtaken by another one.

use serde::{Deserialize, Serialize};

use super::placement::Incarnation;
use super::value::{Key, Value, Version, Write, WriteOutcome};

/// One message. `home` is the home that it is for, or from: who is not (any more) that home drops it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CacheMessage {
    /// A sharer, three times per session length: let me serve my copies on. Lost: asked again.
    Renew {
        /// To whom.
        home: Incarnation,
        /// Of this sharer, rising: names the answer, and so the moment of sending.
        request: u64,
        /// The session that it is in.
        session: Option<u64>,
        /// Every invalidation of that session up to this number has been carried out.
        seen: u64,
        /// The epoch that it has installed: copies of keys that moved are gone.
        epoch: u64,
    },
    /// A home, to Renew.
    Granted {
        /// From whom.
        home: Incarnation,
        /// The Renew.
        request: u64,
        /// The session. Another one than the sharer's: its copies from this home are void.
        session: u64,
        /// How long from the *sending* of Renew; 0: not longer than before.
        length_ms: u64,
        /// The last invalidation of the session. One that the sharer has not seen: its lease does not
        /// grow before it has.
        sent: u64,
    },
    /// A sharer that has no copy. Lost: the client's patience ends.
    Get {
        /// To whom.
        home: Incarnation,
        /// Of this sharer, rising.
        request: u64,
        /// The session in which a copy would be kept.
        session: Option<u64>,
        /// What.
        key: Key,
    },
    /// A home, to Get.
    Value {
        /// From whom.
        home: Incarnation,
        /// The Get.
        request: u64,
        /// What is visible; `None`: nothing is.
        found: Option<Found>,
        /// The home has noted the sharer, in the session of the Get, and no write is under way: it
        /// may be kept.
        cacheable: bool,
    },
    /// A home that has a write for a key of which the sharer has, or may get, a copy. Repeated until
    /// acknowledged, or until the session's lease is over.
    Invalidate {
        /// From whom.
        home: Incarnation,
        /// The session.
        session: u64,
        /// Counts the session's invalidations from 1 on.
        number: u64,
        /// What.
        key: Key,
        /// Values below this version are void.
        below: Version,
    },
    /// A sharer, to Invalidate: neither a copy nor a fill of that version can be read here any more.
    Invalidated {
        /// To whom.
        home: Incarnation,
        /// The session.
        session: u64,
        /// Which.
        number: u64,
    },
    /// A client's write, from the node that has the client. Never repeated: a second copy would act
    /// after what came between.
    Write {
        /// To whom.
        home: Incarnation,
        /// Of this process, rising over its writes: a home acts on each once.
        request: u64,
        /// What.
        key: Key,
        /// What for.
        write: Write,
    },
    /// A home, to Write.
    Written {
        /// From whom.
        home: Incarnation,
        /// The Write.
        request: u64,
        /// What became of it.
        outcome: WriteOutcome,
    },
    /// A home, to Get and Write: this key is not served here now. Nothing was done.
    Refused {
        /// From whom.
        home: Incarnation,
        /// Which.
        request: u64,
    },
}

/// A visible value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Found {
    /// The value.
    pub value: Value,
    /// Its version.
    pub version: Version,
    /// It goes by itself after so many milliseconds.
    pub ttl_left_ms: Option<u64>,
}

impl CacheMessage {
    /// True if sharers say it to homes; else homes say it to sharers.
    #[must_use]
    pub fn is_for_home(&self) -> bool {
        match self {
            Self::Renew { .. }
            | Self::Get { .. }
            | Self::Invalidated { .. }
            | Self::Write { .. } => true,
            Self::Granted { .. }
            | Self::Value { .. }
            | Self::Invalidate { .. }
            | Self::Written { .. }
            | Self::Refused { .. } => false,
        }
    }

    /// True if it can have a value in it, and so be large.
    #[must_use]
    pub fn can_be_large(&self) -> bool {
        matches!(self, Self::Value { .. } | Self::Write { .. })
    }

    /// Its name, for metrics.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Renew { .. } => "renew",
            Self::Granted { .. } => "granted",
            Self::Get { .. } => "get",
            Self::Value { .. } => "value",
            Self::Invalidate { .. } => "invalidate",
            Self::Invalidated { .. } => "invalidated",
            Self::Write { .. } => "write",
            Self::Written { .. } => "written",
            Self::Refused { .. } => "refused",
        }
    }

    /// The home that it is for, or from.
    #[must_use]
    pub fn home(&self) -> Incarnation {
        match self {
            Self::Renew { home, .. }
            | Self::Granted { home, .. }
            | Self::Get { home, .. }
            | Self::Value { home, .. }
            | Self::Invalidate { home, .. }
            | Self::Invalidated { home, .. }
            | Self::Write { home, .. }
            | Self::Written { home, .. }
            | Self::Refused { home, .. } => *home,
        }
    }
}
