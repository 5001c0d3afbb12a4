//! The floor: the head before the oldest record that is kept, in a small file of its own.
//!
//! Without it nobody could tell records that were deleted for their age from records that are missing.

use std::io;
use std::path::Path;

use dsync_core::audit::AuditHead;

use super::frame;
use crate::storage::fs;

/// Name of the file.
pub const NAME: &str = "floor";

/// Writes it, durably, in place of the one before.
pub(super) fn write(folder: &Path, floor: &AuditHead) -> io::Result<()> {
    // The same bytes as the header of a segment that begins there.
    fs::replace(folder, NAME, &frame::header(floor))
}

/// Reads it. Nothing has been deleted yet if there is none. `Ok(None)`: there is one, but it is
/// damaged.
///
/// # Errors
/// Whatever the disk says.
pub fn read(folder: &Path) -> io::Result<Option<AuditHead>> {
    match fs::read(&folder.join(NAME)) {
        Ok(bytes) if bytes.len() == frame::HEADER_BYTES => Ok(frame::read_header(&bytes)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(AuditHead::default())),
        Err(error) => Err(error),
    }
}
