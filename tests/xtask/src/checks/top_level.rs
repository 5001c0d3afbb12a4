//! The top level is small and fixed: a newcomer sees the whole product in one look.

use std::path::Path;

use crate::workspace::{children, name_of};

/// All that may be seen there. Not all of it has to exist yet.
const VISIBLE: [&str; 9] = [
    "Cargo.toml",
    "Cargo.lock",
    "node",
    "operator",
    "charts",
    "manifests",
    "tests",
    "docs",
    "README.md",
];
/// What tools need to find there.
const HIDDEN: [&str; 6] = [".ci", ".git", ".gitignore", ".cargo", ".clippy.toml", ".rustfmt.toml"];
/// What builds and runs leave behind; never committed.
const LEFT_BEHIND: [&str; 2] = ["target", "data"];

/// What stands at the top level and should not.
///
/// # Errors
/// If the folder cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let names = children(root)?.iter().map(|path| name_of(path)).collect::<Vec<_>>();
    let known =
        |name: &str| [&VISIBLE[..], &HIDDEN, &LEFT_BEHIND].iter().any(|list| list.contains(&name));
    let strangers = names.iter().filter(|name| !known(name));
    let complaints = strangers.map(|name| format!("{name}: does not belong to the top level"));
    Ok(complaints.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_on_the_list_may_stand_at_the_top() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["node", "docs", ".ci", "target"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(check(folder.path()).unwrap(), Vec::<String>::new());
        std::fs::write(folder.path().join("notes.txt"), "").unwrap();
        std::fs::create_dir(folder.path().join(".cache")).unwrap();
        assert_eq!(check(folder.path()).unwrap().len(), 2);
    }
}
