//! The few file operations that storage uses, and nothing else.
//!
//! Normally a thin layer over `std::fs`. With the cargo feature `simulated` the same calls reach
//! turmoil's simulated disk, which forgets at a power cut what was not synced: bytes without a sync
//! of their file, names without a sync of their folder. That disk keeps of each pending write some
//! prefix. Real disks write sectors in any order, so the simulated [`File::write_all_at`] hands a
//! write over in small pieces, each with a fate of its own: holes appear, not only short tails.
//!
//! No memory map anywhere: a failed read of a map is a signal, not an error, and a map's writes
//! have no moment at which they fail.

use std::io;
use std::path::{Path, PathBuf};

#[cfg(not(feature = "simulated"))]
use std::fs as disk;
#[cfg(feature = "simulated")]
use turmoil::fs::shim::std::fs as disk;

use std::os::unix::fs::FileExt;

/// Smaller than any real sector, so that the simulated disk tears harder than a real one.
#[cfg(feature = "simulated")]
const SIMULATED_SECTOR_BYTES: usize = 64;

/// An open file. Dropping it closes it and syncs nothing.
#[derive(Debug)]
pub struct File(disk::File);

impl File {
    /// Creates a file, or empties the one of that name, for reading and writing.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn create(path: &Path) -> io::Result<Self> {
        allow()?;
        let mut options = disk::OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).open(path).map(Self)
    }

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// Whatever the disk says; `NotFound` if there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        allow()?;
        disk::OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// True if it has no bytes.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Reads up to `len` bytes from `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn read_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        allow()?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match self.0.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Writes all bytes at `offset`. They are durable only after a sync.
    ///
    /// # Errors
    /// Whatever the disk says; how much was written is then unknown.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        allow()?;
        self.claim_space(bytes, offset)?;
        self.write_pieces(bytes, offset)
    }

    /// Cuts the file, or lengthens it by zeros.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        allow()?;
        self.0.set_len(len)
    }

    /// Makes the bytes durable (`fdatasync` on Linux). After an error nothing is known of any byte
    /// written since the last success, and a second call may lie: never call it again.
    ///
    /// # Errors
    /// Whatever the disk says.
    pub fn sync_data(&self) -> io::Result<()> {
        allow()?;
        #[cfg(any(test, feature = "simulated"))]
        faults::sync()?;
        self.0.sync_data()
    }

    #[cfg(not(feature = "simulated"))]
    fn write_pieces(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    #[cfg(feature = "simulated")]
    fn write_pieces(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(SIMULATED_SECTOR_BYTES) {
            self.0.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    #[cfg(any(test, feature = "simulated"))]
    fn claim_space(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        faults::claim((offset + bytes.len() as u64).saturating_sub(self.len()?))
    }

    #[cfg(not(any(test, feature = "simulated")))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)]
    fn claim_space(&self, _bytes: &[u8], _offset: u64) -> io::Result<()> {
        Ok(())
    }
}

/// The whole content of a file.
///
/// # Errors
/// Whatever the disk says; `NotFound` if there is none.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    allow()?;
    disk::read(path)
}

/// Creates a folder, and those above it, durably. Nothing happens if it exists.
///
/// # Errors
/// Whatever the disk says.
pub fn create_folder(path: &Path) -> io::Result<()> {
    allow()?;
    disk::create_dir_all(path)?;
    sync_folder(path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// Names of the files in a folder, sorted, so that two runs see the same order.
///
/// # Errors
/// Whatever the disk says; `NotFound` if there is no such folder.
pub fn list(folder: &Path) -> io::Result<Vec<String>> {
    allow()?;
    let mut names = Vec::new();
    for entry in disk::read_dir(folder)? {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Gives a file another name, replacing a file of that name. A file open under the old name must be
/// opened anew (the simulated disk knows open files by name). Durable after [`sync_folder`].
///
/// # Errors
/// Whatever the disk says.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    allow()?;
    #[cfg(feature = "simulated")]
    settle_writes(to)?;
    disk::rename(from, to)
}

/// The simulated disk knows pending writes by name, and would put those of the replaced file into
/// the one that replaces it.
#[cfg(feature = "simulated")]
fn settle_writes(path: &Path) -> io::Result<()> {
    if disk::exists(path) { disk::File::open(path)?.sync_data() } else { Ok(()) }
}

/// Deletes a file. Durable after [`sync_folder`].
///
/// # Errors
/// Whatever the disk says.
pub fn remove(path: &Path) -> io::Result<()> {
    allow()?;
    disk::remove_file(path)
}

/// Deletes a temporary file, if there is one, durably: the simulated disk knows files by name, and
/// would let a removal that is still pending take away the next file of that name.
///
/// # Errors
/// Whatever the disk says.
pub fn remove_temporary(folder: &Path, name: &str) -> io::Result<()> {
    match remove(&folder.join(name)) {
        Ok(()) => sync_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Whatever the disk says.
#[cfg(not(feature = "simulated"))]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    allow()?;
    disk::File::open(path)?.sync_all()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// Whatever the disk says.
#[cfg(feature = "simulated")]
pub fn sync_folder(path: &Path) -> io::Result<()> {
    allow()?;
    disk::sync_dir(path)
}

/// Writes a whole small file so that after a power cut either the old or the new content is there:
/// temporary name, sync, rename, sync of the folder.
///
/// # Errors
/// Whatever the disk says; the old content is then still there, or the new one.
pub fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = folder.join(format!("{name}.tmp"));
    let file = File::create(&temporary)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    drop(file);
    rename(&temporary, &folder.join(name))?;
    sync_folder(folder)
}

/// Bytes that this process may still write to the disk that holds a folder.
///
/// # Errors
/// Whatever the disk says.
#[cfg(not(any(test, feature = "simulated")))]
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Bytes that may still be written, as a test says.
///
/// # Errors
/// None.
#[cfg(any(test, feature = "simulated"))]
#[allow(clippy::unnecessary_wraps)]
pub fn free_bytes(_folder: &Path) -> io::Result<u64> {
    Ok(faults::space_bytes().unwrap_or(u64::MAX))
}

/// True if the error says that there is no room, which may pass, and not that the disk is broken.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Keeps other processes out of a folder until it is dropped, or the process ends.
#[derive(Debug)]
pub struct FolderLock {
    #[cfg(not(feature = "simulated"))]
    _file: disk::File,
}

impl FolderLock {
    /// Takes the lock by a file in the folder. `None`: another process has it.
    ///
    /// # Errors
    /// Whatever the disk says.
    #[cfg(not(feature = "simulated"))]
    pub fn take(path: &PathBuf) -> io::Result<Option<Self>> {
        let mut options = disk::OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(disk::TryLockError::WouldBlock) => Ok(None),
            Err(disk::TryLockError::Error(error)) => Err(error),
        }
    }

    /// The simulated disk belongs to one simulated machine with one process: always granted.
    ///
    /// # Errors
    /// None.
    #[cfg(feature = "simulated")]
    #[allow(clippy::unnecessary_wraps)]
    pub fn take(_path: &PathBuf) -> io::Result<Option<Self>> {
        Ok(Some(Self {}))
    }
}

#[cfg(any(test, feature = "simulated"))]
fn allow() -> io::Result<()> {
    faults::operation()
}

#[cfg(not(any(test, feature = "simulated")))]
#[allow(clippy::unnecessary_wraps)]
fn allow() -> io::Result<()> {
    Ok(())
}

/// Faults for tests, set for the calling thread. Absent from a shipped build.
#[cfg(any(test, feature = "simulated"))]
pub mod faults {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static SPACE_BYTES: Cell<Option<u64>> = const { Cell::new(None) };
        static SYNC_FAILS: Cell<bool> = const { Cell::new(false) };
        static OPERATIONS_LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Files may grow by so many bytes in all; then the disk is full. `None`: no bound.
    pub fn set_space_bytes(bytes: Option<u64>) {
        SPACE_BYTES.set(bytes);
    }

    /// By how many bytes files may still grow.
    #[must_use]
    pub fn space_bytes() -> Option<u64> {
        SPACE_BYTES.get()
    }

    /// Every sync of a file fails from now on.
    pub fn set_sync_fails(fails: bool) {
        SYNC_FAILS.set(fails);
    }

    /// After so many operations the power is gone: everything fails. `None`: power is back.
    pub fn set_operations_left(operations: Option<u64>) {
        OPERATIONS_LEFT.set(operations);
    }

    /// True if the power is gone.
    #[must_use]
    pub fn is_cut() -> bool {
        OPERATIONS_LEFT.get() == Some(0)
    }

    pub(super) fn operation() -> io::Result<()> {
        match OPERATIONS_LEFT.get() {
            Some(0) => Err(io::Error::other("power cut")),
            Some(left) => {
                OPERATIONS_LEFT.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    pub(super) fn sync() -> io::Result<()> {
        if SYNC_FAILS.get() { Err(io::Error::other("sync failed")) } else { Ok(()) }
    }

    pub(super) fn claim(growth_bytes: u64) -> io::Result<()> {
        let Some(space) = SPACE_BYTES.get() else { return Ok(()) };
        let left = space.checked_sub(growth_bytes).ok_or(io::ErrorKind::StorageFull)?;
        SPACE_BYTES.set(Some(left));
        Ok(())
    }
}
