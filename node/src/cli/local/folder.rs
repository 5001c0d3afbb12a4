//! The folder of `dsync local`.
//!
//! ```text
//! lock                 held while a `dsync local` runs on the folder
//! secret               what the nodes prove to each other, readable by its owner only
//! node-1/data/         the node's own folder
//! node-1/node.log      what the node had to say; the one before it is node.log.old
//! ```

use std::env;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::peers::Secrets;

/// A log longer than this is put aside when its node starts.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// The folder, locked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// The system takes the lock back when this is closed, however the process ends.
    _lock: File,
}

impl Folder {
    /// Makes and locks the folder; `None` is the default one.
    ///
    /// # Errors
    /// If there is no default, it cannot be made, or another `dsync local` runs on it.
    pub fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match path {
            Some(path) => path,
            None => default_folder()?,
        };
        refuse_foreign(&path)?;
        fs::create_dir_all(&path)
            .and_then(|()| path.canonicalize())
            .with_context(|| format!("cannot make the folder {}", path.display()))
            .and_then(Self::lock)
    }

    fn lock(path: PathBuf) -> anyhow::Result<Self> {
        let file = path.join("lock");
        let lock = OpenOptions::new().create(true).write(true).truncate(false).open(&file);
        let lock = lock.with_context(|| format!("cannot write {}", file.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => bail!(
                "another `dsync local` runs on {}: stop it, or give this one a folder of its own with --data",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", file.display()))
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file with the nodes' secret, made at the first start.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn secret(&self) -> anyhow::Result<PathBuf> {
        let path = self.path.join("secret");
        if !path.exists() {
            Secrets::create(&path)?;
        }
        Ok(path)
    }

    /// The folder of node `number` (from 1), made if it does not exist.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn node(&self, number: usize) -> anyhow::Result<PathBuf> {
        let path = self.path.join(format!("node-{number}"));
        fs::create_dir_all(&path)
            .with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(path)
    }
}

/// A folder that was never a cluster's, and holds something else, is surely not the one that was meant.
fn refuse_foreign(path: &Path) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(path) else { return Ok(()) };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.collect();
    let own = |name: &String| name == "lock" || name == "secret" || name.starts_with("node-");
    let harmless = |name: &String| name == "lost+found" || name.starts_with('.');
    if names.iter().any(|name| name == "secret") {
        return Ok(());
    }
    match names.iter().find(|name| !own(name) && !harmless(name)) {
        Some(found) => bail!(
            "--data: {} holds {found:?}, which is not dsync's; give the cluster a folder of its own",
            path.display()
        ),
        None => Ok(()),
    }
}

/// Opens a node's log to write at its end; a long one is put aside first.
///
/// # Errors
/// If it cannot be opened.
pub fn open_log(path: &Path) -> anyhow::Result<File> {
    if fs::metadata(path).is_ok_and(|log| log.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.old"))
            .with_context(|| format!("cannot put {} aside", path.display()))?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .with_context(|| format!("cannot write {}", path.display()))
}

fn default_folder() -> anyhow::Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    default_folder_of(absolute("XDG_DATA_HOME"), absolute("HOME"), cfg!(target_os = "macos"))
        .context("neither XDG_DATA_HOME nor HOME is set: say with --data where to keep the data")
}

fn default_folder_of(
    xdg_data_home: Option<PathBuf>,
    home: Option<PathBuf>,
    macos: bool,
) -> Option<PathBuf> {
    let in_home = if macos { "Library/Application Support" } else { ".local/share" };
    let base = xdg_data_home.or_else(|| home.map(|home| home.join(in_home)))?;
    Some(base.join("dsync/local"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_default_folder_is_where_the_system_keeps_a_users_data() {
        let path = |text: &str| Some(PathBuf::from(text));
        let of = default_folder_of;
        assert_eq!(of(path("/x"), path("/home/u"), false), path("/x/dsync/local"));
        assert_eq!(of(None, path("/home/u"), false), path("/home/u/.local/share/dsync/local"));
        let mac = "/Users/u/Library/Application Support/dsync/local";
        assert_eq!(of(None, path("/Users/u"), true), path(mac));
        assert_eq!(of(None, None, false), None);
    }

    #[test]
    fn a_second_cluster_on_the_same_folder_is_refused_until_the_first_has_gone() {
        let temporary = tempfile::tempdir().unwrap();
        let first = Folder::open(Some(temporary.path().to_owned())).unwrap();
        let error = Folder::open(Some(temporary.path().to_owned())).unwrap_err().to_string();
        assert!(error.contains("another `dsync local` runs on"), "{error}");
        drop(first);
        assert!(Folder::open(Some(temporary.path().to_owned())).is_ok());
    }

    #[test]
    fn a_folder_with_anything_else_in_it_is_refused_by_its_name_and_left_as_it_is() {
        let temporary = tempfile::tempdir().unwrap();
        fs::write(temporary.path().join("notes.txt"), "mine").unwrap();
        let error = Folder::open(Some(temporary.path().to_owned())).unwrap_err().to_string();
        assert!(error.contains("notes.txt"), "{error}");
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 1);
        // Once it is a cluster's, it stays so.
        fs::write(temporary.path().join("secret"), "").unwrap();
        assert!(Folder::open(Some(temporary.path().to_owned())).is_ok());
    }

    #[test]
    fn the_secret_is_made_once_and_only_its_owner_may_read_it() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::open(Some(temporary.path().join("new/folder"))).unwrap();
        let secret = folder.secret().unwrap();
        let mode = fs::metadata(&secret).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = fs::read_to_string(&secret).unwrap();
        assert_eq!(fs::read_to_string(folder.secret().unwrap()).unwrap(), text);
    }

    #[test]
    fn a_long_log_is_put_aside_and_a_short_one_continued() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("node.log");
        fs::write(&path, "old line\n").unwrap();
        open_log(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old line\n");
        File::options().write(true).open(&path).unwrap().set_len(LOG_BYTES_MAX + 1).unwrap();
        open_log(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), 0);
        assert!(temporary.path().join("node.log.old").exists());
    }
}
