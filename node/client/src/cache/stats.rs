//! What a node has cached.

use serde::{Deserialize, Serialize};

/// The caches of one node. Counts are since its process started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheStats {
    /// Which node.
    pub node: String,
    /// Values that it keeps: its own keys' and copies of others'.
    pub entries: u64,
    /// Most values that it may keep.
    pub entries_max: u64,
    /// What they take.
    pub bytes: u64,
    /// Most bytes that they may take.
    pub bytes_max: u64,
    /// Gets that it served alone.
    pub hits: u64,
    /// Gets for which a home was asked.
    pub misses: u64,
    /// Values that had to make room for others.
    pub evictions: u64,
    /// It serves as the home of a share of the keys.
    pub home: bool,
    /// Homes of the ring that it has installed.
    pub homes: u64,
    /// Epoch of that ring.
    pub epoch: u64,
    /// Other homes whose values it may serve now.
    pub sessions: u64,
}
