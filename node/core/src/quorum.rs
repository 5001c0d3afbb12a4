//! Majorities, and nothing else. Imports nothing of Raft on purpose.

use std::collections::BTreeSet;

use crate::types::NodeId;

/// The smallest number of voters that any two majorities of `voters` share one of.
#[must_use]
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// True if those for whom `agrees` holds are a majority of `voters` and, while a change is under
/// way, also of `outgoing`. An empty `voters` never agrees; an empty `outgoing` asks nobody.
pub fn agreed(
    voters: &BTreeSet<NodeId>,
    outgoing: &BTreeSet<NodeId>,
    agrees: impl Fn(NodeId) -> bool,
) -> bool {
    let half = |set: &BTreeSet<NodeId>| {
        set.iter().filter(|id| agrees(**id)).count() >= majority(set.len())
    };
    !voters.is_empty() && half(voters) && (outgoing.is_empty() || half(outgoing))
}

/// The highest value that a majority of `voters` has reached.
///
/// Sorting is the point: openraft #1802 read the middle of an unsorted array and, with five voters,
/// committed without a quorum.
pub fn reached<T: Ord + Copy + Default>(
    voters: &BTreeSet<NodeId>,
    value: impl Fn(NodeId) -> T,
) -> T {
    let mut values: Vec<T> = voters.iter().map(|id| value(*id)).collect();
    if values.is_empty() {
        return T::default();
    }
    values.sort_unstable();
    values[values.len() - majority(values.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[u64]) -> BTreeSet<NodeId> {
        ids.iter().map(|id| NodeId(*id)).collect()
    }

    #[test]
    fn the_median_of_an_unsorted_five_is_what_three_have_reached() {
        let value = |id: NodeId| [9_u64, 1, 8, 2, 3][usize::try_from(id.0).unwrap()];
        assert_eq!(reached(&set(&[0, 1, 2, 3, 4]), value), 3);
    }

    #[test]
    fn half_of_four_is_not_a_majority() {
        assert!(!agreed(&set(&[1, 2, 3, 4]), &set(&[]), |id| id.0 <= 2));
        assert!(agreed(&set(&[1, 2, 3, 4]), &set(&[]), |id| id.0 <= 3));
    }

    #[test]
    fn a_joint_decision_needs_both_halves() {
        assert!(!agreed(&set(&[1, 2, 3]), &set(&[4, 5, 6]), |id| id.0 <= 3));
        assert!(agreed(&set(&[1, 2, 3]), &set(&[3, 4, 5]), |id| id.0 != 1 && id.0 != 5));
    }

    #[test]
    fn nobody_agrees_to_nothing() {
        assert!(!agreed(&set(&[]), &set(&[]), |_| true));
        assert_eq!(reached(&set(&[]), |_| 7_u64), 0);
    }
}
