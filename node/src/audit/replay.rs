//! The hashes of records that are on the disk, for comparing them with what is applied again.
//!
//! A replay walks the trail forwards, so one segment at a time is read and kept.

use dsync_core::audit::AuditHash;

use super::segment::{self, Reader, Segment};
use super::trail::TrailError;

/// The hashes of one segment's records.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// The segment, as it was when it was read.
    of: Option<Segment>,
    hashes: Vec<AuditHash>,
}

impl Replay {
    /// The hash of a record that the segment covers.
    pub(super) fn hash(&mut self, of: &Segment, number: u64) -> Result<AuditHash, TrailError> {
        if self.of.as_ref() != Some(of) {
            self.hashes = hashes(of)?;
            self.of = Some(of.clone());
        }
        let at = usize::try_from(number - of.first()).unwrap_or(usize::MAX);
        self.hashes.get(at).copied().ok_or(TrailError::Differs { number })
    }
}

fn hashes(of: &Segment) -> Result<Vec<AuditHash>, TrailError> {
    let bytes = segment::read(of).map_err(|source| TrailError::io(&of.path, source))?;
    let damaged = |wrong| TrailError::Damaged { path: of.path.clone(), wrong };
    let reader = Reader::new(&bytes).map_err(damaged)?;
    reader.map(|read| Ok(read.map_err(damaged)?.head.hash)).collect()
}
