//! Bytes on the wire and on disk: postcard, inside enums that name their version.
//!
//! postcard is not self-describing: the order of fields and variants *is* the format. A published
//! variant never changes; a change is a new variant here, with golden bytes in the tests, proposed
//! only above the feature level at which every member can read it.

use serde::{Deserialize, Serialize};

pub use crate::encoding::{DecodeError, decode, encode, encoded_bytes};
use crate::raft::{Envelope, Record};

/// A record of the log on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoredRecord {
    /// First format.
    V1(Record),
}

/// A message between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerFrame {
    /// First format.
    V1(Envelope),
}
