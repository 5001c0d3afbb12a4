//! The files of the project: everything below the root but what builds leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// The folders of all packages, from the root.
pub const PACKAGES: [&str; 6] =
    ["node", "node/core", "node/client", "operator", "tests", "tests/xtask"];

/// The folder of the workspace's Cargo.toml.
#[must_use]
pub fn root() -> &'static Path {
    // This package lies two folders below it.
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."))
}

/// A file by its path from the root, with its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// From the root, with `/` between its parts.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// Every text file below `root` whose name ends with one of `endings`, in path order. Hidden folders
/// and those of builds and runs are left out.
///
/// # Errors
/// If a folder or file cannot be read.
pub fn files(root: &Path, endings: &[&str]) -> anyhow::Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    collect(root, root, endings, &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(
    root: &Path,
    folder: &Path,
    endings: &[&str],
    found: &mut Vec<SourceFile>,
) -> anyhow::Result<()> {
    for path in children(folder)? {
        let name = name_of(&path);
        if path.is_dir() {
            let left_behind = folder == root && matches!(name.as_str(), "target" | "data");
            if !name.starts_with('.') && !left_behind {
                collect(root, &path, endings, found)?;
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(SourceFile { path, text });
        }
    }
    Ok(())
}

/// Names of all integration tests, each once.
///
/// # Errors
/// If a folder cannot be read.
pub fn integration_tests() -> anyhow::Result<Vec<String>> {
    let mut names = Vec::new();
    for package in PACKAGES {
        let folder = root().join(package).join("tests");
        if !folder.is_dir() {
            continue;
        }
        let tests = children(&folder)?.into_iter().filter(|path| {
            path.extension().is_some_and(|ending| ending == "rs") || path.join("main.rs").exists()
        });
        names.extend(tests.map(|path| name_of(&path.with_extension(""))));
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// What stands directly in a folder.
///
/// # Errors
/// If it cannot be read.
pub fn children(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    Ok(entries.collect::<Result<Vec<_>, _>>()?.iter().map(fs::DirEntry::path).collect())
}

/// The last part of a path.
#[must_use]
pub fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_the_workspace_is_known() {
        let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
        let line = manifest.lines().find(|line| line.starts_with("members = ")).unwrap();
        assert_eq!(line, format!("members = {PACKAGES:?}"));
    }
}
