//! Programs that a suite needs beside cargo: installed where that is safe, named elsewhere.

use std::env;
use std::path::Path;
use std::sync::Once;

use super::command::Call;

/// A program and how to get it.
#[derive(Clone, Copy, Debug)]
pub struct Need {
    /// What has to be in PATH.
    pub program: &'static str,
    /// Where it comes from.
    pub from: Source,
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// A component of the Rust toolchain; installed wherever rustup is.
    Rustup(&'static str),
    /// A Debian package; installed on Debian when run as root.
    Debian(&'static str),
    /// The same, for a Python that has a module too which Debian packages apart from it.
    Python {
        /// The module.
        module: &'static str,
        /// The Debian package.
        package: &'static str,
    },
}

/// Installs what is missing where it may.
///
/// # Errors
/// A sentence naming the first program that is still missing, and how to get it.
pub fn meet(needs: &[Need]) -> Result<(), String> {
    needs.iter().try_for_each(meet_one)
}

fn meet_one(need: &Need) -> Result<(), String> {
    if need.is_met() {
        return Ok(());
    }
    let install = need.from.install();
    let missing = || format!("{} is missing: `{}`", need.program, install.shown());
    if !need.from.may_install() {
        return Err(missing());
    }
    println!("installing {}: {}", need.program, install.shown());
    need.from.refresh();
    match install.run() {
        Ok(()) if need.is_met() => Ok(()),
        Ok(()) => Err(missing()),
        Err(error) => Err(format!("{}: {error:#}", need.program)),
    }
}

impl Need {
    fn is_met(&self) -> bool {
        in_path(self.program) && self.from.is_whole(self.program)
    }
}

impl Source {
    fn is_whole(self, program: &str) -> bool {
        match self {
            Self::Rustup(_) | Self::Debian(_) => true,
            Self::Python { module, .. } => {
                Call::of(program, "-c").arg(&format!("import {module}")).output().is_ok()
            }
        }
    }

    fn install(self) -> Call {
        match self {
            Self::Rustup(component) => Call::of("rustup", "component add").arg(component),
            Self::Debian(package) | Self::Python { package, .. } => {
                Call::of("apt-get", "install --yes --no-install-recommends").arg(package)
            }
        }
    }

    /// A new machine has no package lists, and old ones name files that are gone.
    fn refresh(self) {
        static LISTS: Once = Once::new();
        if matches!(self, Self::Debian(_) | Self::Python { .. }) {
            LISTS.call_once(|| {
                if let Err(error) = Call::of("apt-get", "update -qq").run() {
                    println!("the package lists stay as they are: {error:#}");
                }
            });
        }
    }

    fn may_install(self) -> bool {
        match self {
            Self::Rustup(_) => in_path("rustup"),
            Self::Debian(_) | Self::Python { .. } => {
                Path::new("/etc/debian_version").exists() && is_root()
            }
        }
    }
}

fn is_root() -> bool {
    Call::of("id", "-u").output().is_ok_and(|id| id.trim_ascii() == b"0")
}

/// True if the program can be called by its name.
#[must_use]
pub fn in_path(program: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(program).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_installed() {
        assert_eq!(meet(&[Need { program: "cargo", from: Source::Debian("none") }]), Ok(()));
        assert!(!in_path("no-such-program"));
    }

    #[test]
    fn a_python_without_the_module_is_not_enough() {
        let python = |module| Source::Python { module, package: "none" };
        assert!(!python("no_such_module").is_whole("python3"));
        assert!(!python("sys").is_whole("no-such-program"));
    }

    #[test]
    fn each_source_says_how_to_get_the_program() {
        assert_eq!(Source::Rustup("clippy").install().shown(), "rustup component add clippy");
        let package = Source::Debian("redis-server").install().shown();
        assert_eq!(package, "apt-get install --yes --no-install-recommends redis-server");
    }
}
