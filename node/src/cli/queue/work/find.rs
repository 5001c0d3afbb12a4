//! Whether there is such a command, before any message is taken. A worker whose command was mistyped
//! would use up the deliveries of all messages within minutes.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::cli::lock::exit;

/// The command cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Missing {
    /// There is none.
    #[error("there is no command {}", .0.display())]
    NotFound(PathBuf),
    /// It is there, and cannot be run.
    #[error("{} cannot be run", .0.display())]
    NotExecutable(PathBuf),
}

impl Missing {
    /// As shells have it.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NotFound(_) => exit::NO_COMMAND,
            Self::NotExecutable(_) => exit::CANNOT_RUN,
        }
    }
}

/// Looks where the system will look.
pub(super) fn command(command: &[OsString]) -> Result<(), Missing> {
    let name = command.first().map(PathBuf::from).unwrap_or_default();
    if name.as_os_str().as_encoded_bytes().contains(&b'/') {
        return runnable(&name);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    look_in(&path, &name)
}

fn look_in(path: &OsStr, name: &Path) -> Result<(), Missing> {
    let mut missing = Missing::NotFound(name.to_owned());
    for folder in std::env::split_paths(path) {
        match runnable(&folder.join(name)) {
            Ok(()) => return Ok(()),
            Err(it @ Missing::NotExecutable(_)) => missing = it,
            Err(Missing::NotFound(_)) => {}
        }
    }
    Err(missing)
}

fn runnable(file: &Path) -> Result<(), Missing> {
    match (file.exists(), file.is_file() && access(file, Access::EXEC_OK).is_ok()) {
        (_, true) => Ok(()),
        (true, false) => Err(Missing::NotExecutable(file.to_owned())),
        (false, false) => Err(Missing::NotFound(file.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_looked_for_where_the_system_looks() {
        assert_eq!(command(&["sh".into()]), Ok(()));
        assert_eq!(command(&["/bin/sh".into()]), Ok(()));
        let missing = |name: &str| command(&[name.into()]).map_err(|it| it.code());
        assert_eq!(missing("no-such-command-anywhere"), Err(127));
        assert_eq!(missing("/no/such"), Err(127));
        assert_eq!(missing("/"), Err(126));
        assert_eq!(look_in(OsStr::new(""), Path::new("")).map_err(|it| it.code()), Err(127));
    }
}
