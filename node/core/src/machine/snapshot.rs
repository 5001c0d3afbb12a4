//! The state as a file, in chunks.

use bytes::Bytes;

use super::Machine;

/// Why bytes are not a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The bytes end before the snapshot does.
    #[error("the snapshot is cut off after {chunks} whole chunks")]
    Truncated {
        /// How many chunks were read.
        chunks: u64,
    },
    /// A checksum does not fit.
    #[error("chunk {chunk} of the snapshot is damaged: {what}")]
    Damaged {
        /// Which, from 0.
        chunk: u64,
        /// What was found.
        what: &'static str,
    },
    /// It was written by another release.
    #[error("chunk {chunk} of the snapshot has format {found}, this release reads 1")]
    Version {
        /// Which, from 0.
        chunk: u64,
        /// Its format.
        found: u8,
    },
    /// There is more after the end.
    #[error("bytes follow the end of the snapshot")]
    TrailingBytes,
    /// Every checksum fits, but the state contradicts itself.
    #[error("the snapshot contradicts itself: {0}")]
    Inconsistent(String),
}

/// Builds a machine from a snapshot's bytes, in pieces of any size.
#[derive(Debug, Default)]
pub struct Restore {}

impl Restore {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// As soon as they cannot belong to a snapshot. The rest is then refused with the same error.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let _ = bytes;
        Ok(())
    }

    /// The machine, if the bytes were a whole snapshot.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn finish(self) -> Result<Machine, RestoreError> {
        Ok(Machine::default())
    }
}

impl Machine {
    /// The state as a sequence of self-delimiting, checksummed chunks of about 64 KiB, made one at
    /// a time. Written one after the other they are the snapshot file. Call it on a clone: applying
    /// goes on meanwhile.
    pub fn snapshot_chunks(self) -> impl Iterator<Item = Bytes> + Send + 'static {
        std::iter::empty()
    }
}
