//! A node's folder: one process at a time, one identity for life, and a count of its boots.
//!
//! The identity is what the rest of the cluster trusts this disk by: a vote given under it binds.
//! So it is minted only where nothing else has ever been: a folder without an identity but with a
//! log, or with an identity that cannot be read, is refused. Minting a new one there would let a
//! disk that has voted vote again as somebody else, or forget what it acknowledged.
//!
//! The boot count rises, durably, before anybody hears of it. Two processes that ever ran on copies
//! of one disk come to use the same count, and that is how the leader finds out.
//!
//! The identity file is replaced as a whole (temporary name, sync, rename, sync of the folder), so a
//! power cut leaves the old one or the new one. Its order of writing also matters: it is durable
//! before the first byte of the log exists.

use std::io;
use std::path::{Path, PathBuf};

use dsync_core::types::{BootCount, NodeId};

use super::fs::{self, FolderLock};

const LOCK: &str = "lock";
const IDENTITY: &str = "identity";
/// Says that the log has been made: from then on an empty log folder is a loss, not a beginning.
const LOG_MADE: &str = "log-made";
/// Says why this folder must not take part again, in words for people.
const REFUSED: &str = "refused";
const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";
const AUDIT: &str = "audit";
const IDENTITY_MAGIC: [u8; 8] = *b"dsyncid\0";
const IDENTITY_VERSION: u32 = 1;
const IDENTITY_BYTES: usize = 32;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another process has it.
    #[error("data folder {} is in use by another process; stop that one, or give this one a folder of its own", folder.display())]
    InUse {
        /// Which folder.
        folder: PathBuf,
    },
    /// The identity file is there and cannot be trusted.
    #[error("identity file {} is damaged ({reason}); this disk must not take part again: empty the folder to join as a new member", file.display())]
    IdentityDamaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is a log or a snapshot, but no identity.
    #[error("data folder {} holds {found} but no identity; restore the identity file, or empty the folder to join as a new member", folder.display())]
    IdentityMissing {
        /// Which folder.
        folder: PathBuf,
        /// What was found.
        found: String,
    },
    /// Something is in it that no node has made, and no identity: surely another folder was meant.
    #[error("data folder {} holds {found}, which is not dsync's; give the node a folder of its own", folder.display())]
    Foreign {
        /// Which folder.
        folder: PathBuf,
        /// What was found.
        found: String,
    },
    /// The identity has had a log, and the log is gone. Under its old identity this disk could vote
    /// against what it has promised.
    #[error("data folder {} has lost its log; it must not take part under its old identity: empty the folder to join as a new member", folder.display())]
    LogMissing {
        /// Which folder.
        folder: PathBuf,
    },
    /// It was refused before, by evidence.
    #[error("data folder {}: {reason}", folder.display())]
    Refused {
        /// Which folder.
        folder: PathBuf,
        /// What was said then.
        reason: String,
    },
    /// The disk says no.
    #[error("data folder {}: {source}", folder.display())]
    Io {
        /// Which folder.
        folder: PathBuf,
        /// What the disk says.
        source: io::Error,
    },
}

/// An open data folder, locked until it is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    identity: Identity,
    _lock: FolderLock,
}

impl DataFolder {
    /// Opens a folder, or makes it: locks it, reads or mints its identity, counts this boot.
    /// `random` is called once, only to mint a node id.
    ///
    /// # Errors
    /// See [`DataFolderError`].
    pub fn open(path: &Path, random: impl FnOnce() -> u64) -> Result<Self, DataFolderError> {
        let io = |source| DataFolderError::Io { folder: path.to_owned(), source };
        // Before anything is made in it.
        refuse_foreign(path)?;
        fs::create_folder(path).map_err(io)?;
        let lock = FolderLock::take(&path.join(LOCK))
            .map_err(io)?
            .ok_or_else(|| DataFolderError::InUse { folder: path.to_owned() })?;
        refuse_refused(path)?;
        let identity = match Identity::read(path)? {
            Some(identity) => identity.booted(),
            None => Identity::mint(path, random)?,
        };
        fs::replace(path, IDENTITY, &identity.encode()).map_err(io)?;
        let folder = Self { path: path.to_owned(), identity, _lock: lock };
        fs::create_folder(&folder.log()).map_err(io)?;
        fs::create_folder(&folder.snapshots()).map_err(io)?;
        folder.refuse_lost_log()?;
        Ok(folder)
    }

    /// The log has been made and synced: from now on it must be there.
    ///
    /// # Errors
    /// [`DataFolderError::Io`].
    pub fn note_log_made(&self) -> Result<(), DataFolderError> {
        fs::replace(&self.path, LOG_MADE, b"")
            .map_err(|source| DataFolderError::Io { folder: self.path.clone(), source })
    }

    /// This folder is a copy or was set back, and must not take part again: every later open fails with
    /// these words.
    ///
    /// # Errors
    /// [`DataFolderError::Io`].
    pub fn note_refused(&self, reason: &str) -> Result<(), DataFolderError> {
        fs::replace(&self.path, REFUSED, reason.as_bytes())
            .map_err(|source| DataFolderError::Io { folder: self.path.clone(), source })
    }

    fn refuse_lost_log(&self) -> Result<(), DataFolderError> {
        let folder = || self.path.clone();
        let io = |source| DataFolderError::Io { folder: folder(), source };
        let made = fs::list(&self.path).map_err(io)?.iter().any(|name| name == LOG_MADE);
        if made && fs::list(&self.log()).map_err(io)?.is_empty() {
            return Err(DataFolderError::LogMissing { folder: folder() });
        }
        Ok(())
    }

    /// Identity of this disk.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.identity.node_id
    }

    /// How many processes have opened this folder, this one included.
    #[must_use]
    pub fn boot_count(&self) -> BootCount {
        self.identity.boot_count
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Folder of the log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// Folder of the audit trail.
    #[must_use]
    pub fn audit(&self) -> PathBuf {
        self.path.join(AUDIT)
    }

    /// Folder of the snapshots.
    #[must_use]
    pub fn snapshots(&self) -> PathBuf {
        self.path.join(SNAPSHOTS)
    }
}

#[derive(Clone, Copy, Debug)]
struct Identity {
    node_id: NodeId,
    boot_count: BootCount,
}

impl Identity {
    fn mint(folder: &Path, random: impl FnOnce() -> u64) -> Result<Self, DataFolderError> {
        if let Some(found) = first_of_log_or_snapshots(folder)? {
            return Err(DataFolderError::IdentityMissing { folder: folder.to_owned(), found });
        }
        Ok(Self { node_id: NodeId(random()), boot_count: BootCount(1) })
    }

    fn booted(self) -> Self {
        Self { boot_count: BootCount(self.boot_count.0 + 1), ..self }
    }

    fn read(folder: &Path) -> Result<Option<Self>, DataFolderError> {
        let file = folder.join(IDENTITY);
        match fs::read(&file) {
            Ok(bytes) => Self::decode(&bytes)
                .map(Some)
                .map_err(|reason| DataFolderError::IdentityDamaged { file, reason }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(DataFolderError::Io { folder: folder.to_owned(), source }),
        }
    }

    /// magic 8, version 4, crc32c of everything else 4, node id 8, boot count 8; little-endian.
    fn encode(self) -> [u8; IDENTITY_BYTES] {
        let mut bytes = [0; IDENTITY_BYTES];
        bytes[..8].copy_from_slice(&IDENTITY_MAGIC);
        bytes[8..12].copy_from_slice(&IDENTITY_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.node_id.0.to_le_bytes());
        bytes[24..].copy_from_slice(&self.boot_count.0.to_le_bytes());
        let crc = identity_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let bytes: &[u8; IDENTITY_BYTES] = bytes.try_into().map_err(|_| "wrong length")?;
        if bytes[..8] != IDENTITY_MAGIC {
            return Err("not an identity file");
        }
        if bytes[12..16] != identity_crc(bytes).to_le_bytes() {
            return Err("wrong checksum");
        }
        if bytes[8..12] != IDENTITY_VERSION.to_le_bytes() {
            return Err("version of another release");
        }
        let number = |at: usize| {
            bytes[at..at + 8].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
        };
        Ok(Self { node_id: NodeId(number(16)), boot_count: BootCount(number(24)) })
    }
}

fn identity_crc(bytes: &[u8; IDENTITY_BYTES]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..])
}

/// Whatever the file says, and even if that cannot be read: it is there for one reason only.
fn refuse_refused(folder: &Path) -> Result<(), DataFolderError> {
    match fs::read(&folder.join(REFUSED)) {
        Ok(bytes) => {
            let reason = String::from_utf8_lossy(&bytes).into_owned();
            Err(DataFolderError::Refused { folder: folder.to_owned(), reason })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(DataFolderError::Io { folder: folder.to_owned(), source }),
    }
}

/// A folder without an identity may hold what an interrupted first start has left, what a file system
/// makes by itself, and hidden files; nothing else. (With one it is a node's, whatever was put beside.)
fn refuse_foreign(folder: &Path) -> Result<(), DataFolderError> {
    let names = match fs::list(folder) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(DataFolderError::Io { folder: folder.to_owned(), source }),
    };
    if names.iter().any(|name| name == IDENTITY) {
        return Ok(());
    }
    match names.into_iter().find(|name| is_foreign(name)) {
        Some(found) => Err(DataFolderError::Foreign { folder: folder.to_owned(), found }),
        None => Ok(()),
    }
}

fn is_foreign(name: &str) -> bool {
    let made = name.strip_suffix(".tmp").unwrap_or(name);
    let own = [LOCK, IDENTITY, LOG_MADE, REFUSED, LOG, SNAPSHOTS, AUDIT].contains(&made);
    !own && name != "lost+found" && !name.starts_with('.')
}

fn first_of_log_or_snapshots(folder: &Path) -> Result<Option<String>, DataFolderError> {
    for name in [LOG, SNAPSHOTS] {
        match fs::list(&folder.join(name)) {
            Ok(files) => {
                if let Some(file) = files.first() {
                    return Ok(Some(format!("{name}/{file}")));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(DataFolderError::Io { folder: folder.to_owned(), source }),
        }
    }
    Ok(None)
}

#[cfg(all(test, not(feature = "simulated")))]
#[path = "data_folder_test.rs"]
mod tests;
