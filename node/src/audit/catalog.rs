//! What the trail has, as everybody but its writer sees it: segments, and what is missing.

use dsync_core::audit::{AuditHash, AuditHead};

use super::segment::Segment;

/// The trail at one moment. Segments are in order and do not overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// The head before the oldest record that is kept: everything up to it was deleted for age or
    /// room, or never was.
    pub floor: AuditHead,
    /// Oldest first.
    pub segments: Vec<Segment>,
    /// The chain's head where the node's applying has come to, written or not.
    pub cursor: AuditHead,
    /// Why nothing is written, while nothing is.
    pub stopped: Option<String>,
}

/// Records that are missing, and what is known of the one after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First missing record.
    pub from: u64,
    /// Last missing record.
    pub to: u64,
    /// Its hash: the records after the gap prove it, and whatever fills the gap has to lead to it.
    pub hash: AuditHash,
}

impl Catalog {
    /// The segment with the record of that number.
    #[must_use]
    pub fn covering(&self, number: u64) -> Option<&Segment> {
        let after = self.segments.partition_point(|segment| segment.start.count < number);
        self.segments[..after].last().filter(|segment| segment.covers(number))
    }

    /// What is missing behind the floor and up to `head`, oldest first.
    #[must_use]
    pub fn gaps(&self, head: &AuditHead) -> Vec<Gap> {
        let mut gaps = Vec::new();
        let mut gap = |after: u64, head: &AuditHead| {
            if head.count > after {
                gaps.push(Gap { from: after + 1, to: head.count, hash: head.hash });
            }
        };
        let mut at = self.floor.count;
        for segment in self.segments.iter().take_while(|next| next.start.count < head.count) {
            gap(at, &segment.start);
            at = segment.end.count;
        }
        gap(at, head);
        gaps
    }

    /// The gaps up to where applying has come.
    #[must_use]
    pub fn own_gaps(&self) -> Vec<Gap> {
        self.gaps(&self.cursor)
    }

    /// Bytes of all segments.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The number of the last record that is written.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.segments.last().map_or(self.floor.count, |segment| segment.end.count)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn head(count: u64) -> AuditHead {
        AuditHead { count, hash: [u8::try_from(count).unwrap(); 32] }
    }

    fn catalog(floor: u64, segments: &[(u64, u64)]) -> Catalog {
        let segment = |&(start, end)| Segment {
            path: PathBuf::new(),
            start: head(start),
            end: head(end),
            bytes: 1,
            first_ms: 0,
            last_ms: 0,
            sealed: true,
        };
        let segments = segments.iter().map(segment).collect();
        Catalog { floor: head(floor), segments, ..Catalog::default() }
    }

    fn ranges(catalog: &Catalog, to: u64) -> Vec<(u64, u64)> {
        catalog.gaps(&head(to)).into_iter().map(|gap| (gap.from, gap.to)).collect()
    }

    #[test]
    fn gaps_stand_before_between_and_behind_the_segments() {
        assert_eq!(ranges(&catalog(0, &[]), 0), []);
        assert_eq!(ranges(&catalog(0, &[]), 5), [(1, 5)]);
        assert_eq!(ranges(&catalog(0, &[(0, 5), (5, 9)]), 9), []);
        assert_eq!(ranges(&catalog(2, &[(4, 5), (7, 9)]), 12), [(3, 4), (6, 7), (10, 12)]);
        assert_eq!(ranges(&catalog(0, &[(4, 9), (20, 30)]), 7), [(1, 4)]);
        assert_eq!(ranges(&catalog(9, &[(9, 12)]), 12), []);
        assert_eq!(catalog(2, &[(4, 5), (7, 9)]).gaps(&head(9))[1].hash, [7; 32]);
    }

    #[test]
    fn a_record_is_covered_by_one_segment_or_none() {
        let catalog = catalog(0, &[(0, 5), (7, 9)]);
        let starts = |number| catalog.covering(number).map(|segment| segment.start.count);
        assert_eq!(
            [0, 1, 5, 6, 7, 8, 9, 10].map(starts),
            [None, Some(0), Some(0), None, None, Some(7), Some(7), None]
        );
    }
}
