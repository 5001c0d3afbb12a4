//! The ring: which member a name belongs to.
//!
//! # Problem
//!
//! Every node has to name the same member for a topic or a cache key, without asking anybody, and when a
//! member comes or goes only that member's share may move: whatever else moved would be looked for in the
//! wrong place for nothing.
//!
//! # Idea
//!
//! Consistent hashing (Karger et al. 1997). Each member has many points, its *virtual nodes*, on a circle
//! of 128-bit numbers; a name belongs to the member of the first point at or after the name's own hash. A
//! member that goes leaves its pieces to the next ones on the circle, which are all others alike; one that
//! comes takes its pieces from all alike. The hash is murmur3 (x64, 128 bits, seed 0): fast, even, and the
//! same in every language.
//!
//! With few points the shares are uneven: with one each, three members differ by 69 %. The more points, the
//! more even, by the square root; see `ring_test.rs` for what [`VIRTUAL_NODES`] give.
//!
//! # Who is on it
//!
//! The members, by their stable names, as the log has them; the *epoch* is the log index of the entry that
//! changed them last. Two nodes with one epoch have one ring. Two with different epochs may both take a
//! name for theirs, so ownership is a hint that saves work, never what keeps data right.
//!
//! # The form of the hashed bytes is a contract between releases
//!
//! A name is hashed as its bytes; a virtual node as `NAME#NUMBER`, numbers from 0 in decimal. Golden vectors
//! in the test hold it.

use crate::types::{Index, NodeName};

/// Points of each member.
pub const VIRTUAL_NODES: u32 = 1_024;

/// Who owns what, as of one epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ring {
    epoch: Index,
    /// In the order of names.
    members: Vec<NodeName>,
    /// In the order of the circle, each with the place of its member.
    points: Vec<(u128, usize)>,
}

impl Ring {
    /// The ring of these members, in any order, each with so many points.
    #[must_use]
    pub fn new(
        epoch: Index,
        members: impl IntoIterator<Item = NodeName>,
        virtual_nodes: u32,
    ) -> Self {
        let mut members: Vec<NodeName> = members.into_iter().collect();
        members.sort_unstable();
        members.dedup();
        let of = |(at, member): (usize, &NodeName)| {
            let name = member.0.clone();
            (0..virtual_nodes).map(move |number| (hash(&format!("{name}#{number}")), at))
        };
        let mut points: Vec<(u128, usize)> = members.iter().enumerate().flat_map(of).collect();
        // Two members at one point: the first by name, which is what sorting by place says.
        points.sort_unstable();
        points.dedup_by_key(|(point, _)| *point);
        Self { epoch, members, points }
    }

    /// The log index of the entry that changed the members last.
    #[must_use]
    pub fn epoch(&self) -> Index {
        self.epoch
    }

    /// The members, in the order of names.
    #[must_use]
    pub fn members(&self) -> &[NodeName] {
        &self.members
    }

    /// Whose this name is; `None` if there is nobody.
    #[must_use]
    pub fn owner(&self, name: &str) -> Option<&NodeName> {
        let hash = hash(name);
        let next = self.points.partition_point(|(point, _)| *point < hash);
        let (_, at) = self.points.get(next).or_else(|| self.points.first())?;
        self.members.get(*at)
    }
}

/// murmur3 x64, 128 bits, seed 0.
#[allow(clippy::expect_used)]
fn hash(text: &str) -> u128 {
    let mut bytes = text.as_bytes();
    murmur3::murmur3_x64_128(&mut bytes, 0).expect("bytes in memory can be read")
}

#[cfg(test)]
#[path = "ring_test.rs"]
mod tests;
