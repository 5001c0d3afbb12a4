//! Who may know whom.
//!
//! The core is pure, and its list of dependencies is the proof: so it is a list of what is allowed,
//! since a list of what is forbidden would be out of date with the next library. Beyond that, some
//! doors of the standard library stay shut in its sources. The operator knows the core's contract,
//! never the node.

use std::path::Path;

use anyhow::Context;

use crate::xtask::workspace::{SourceFile, files};

/// All that dsync-core may depend on: none of these does I/O, reads a clock or rolls dice.
const CORE_MAY_USE: [&str; 8] =
    ["bytes", "crc32c", "murmur3", "postcard", "rpds", "serde", "sha2", "thiserror"];

/// Ways to the outside world, and containers whose order changes from run to run. `std::` may be
/// spelled out or be imported in braces, so the last parts are looked for alone where they are
/// words that mean nothing else.
const CORE_MAY_NOT_SAY: [&str; 12] = [
    "std::time::Instant",
    "SystemTime",
    "Instant::now",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "std::io",
    "HashMap",
    "HashSet",
    "RandomState",
];

/// Breaches of the layers.
///
/// # Errors
/// If a manifest or a source cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let manifest = |path: &str| {
        std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
    };
    let mut complaints = core_dependencies(&manifest("node/core/Cargo.toml")?);
    complaints.extend(core_sources(&files(&root.join("node/core/src"), &[".rs"])?));
    complaints.extend(operator_dependencies(&manifest("operator/Cargo.toml")?));
    Ok(complaints)
}

fn core_dependencies(manifest: &str) -> Vec<String> {
    let used = dependencies(manifest, &["dependencies", "build-dependencies"]);
    let strangers = used.iter().filter(|name| !CORE_MAY_USE.contains(&name.as_str()));
    strangers
        .map(|name| {
            format!("node/core/Cargo.toml: {name} is not on the core's list (checks/layering.rs)")
        })
        .collect()
}

fn core_sources(files: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files {
        for (number, line) in (1..).zip(file.text.lines()) {
            let code = line.split("//").next().unwrap_or_default();
            let said = CORE_MAY_NOT_SAY.iter().find(|word| code.contains(*word));
            if let Some(word) = said.filter(|_| !is_test(&file.path)) {
                complaints.push(format!("node/core/src/{}:{number}: {word}", file.path));
            }
        }
    }
    complaints
}

/// A test may read its golden files.
fn is_test(path: &str) -> bool {
    let folder = ["tests/", "_test/"].iter().any(|folder| path.contains(folder));
    folder || path.ends_with("_test.rs") || path.ends_with("tests.rs")
}

fn operator_dependencies(manifest: &str) -> Vec<String> {
    let used = dependencies(manifest, &["dependencies", "dev-dependencies", "build-dependencies"]);
    let node = used.iter().filter(|name| name.as_str() == "dsync-node");
    node.map(|_| "operator/Cargo.toml: the operator must not depend on the node".to_owned())
        .collect()
}

/// Names in these tables of a manifest, target-specific ones included. Line by line: our manifests
/// are written that way, and this package needs no TOML library for anything else.
fn dependencies(manifest: &str, tables: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    let mut inside = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let own = |table: &str| header == table || header.ends_with(&format!(".{table}"));
            inside = tables.iter().any(|table| own(table));
            // `[dependencies.tokio]` is a dependency by itself.
            let parent = header.rsplit_once('.').filter(|(table, _)| tables.contains(table));
            names.extend(parent.map(|(_, name)| name.to_owned()));
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            let name = line.split(['=', '.', ' ']).next().unwrap_or_default();
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> [SourceFile; 1] {
        [SourceFile { path: path.to_owned(), text: text.to_owned() }]
    }

    #[test]
    fn the_core_may_use_what_is_listed_and_nothing_else() {
        let good = "[dependencies]\n# pure\nbytes.workspace = true\nserde = { version = \"1\" }\n\n[lints]\nworkspace = true\n";
        assert_eq!(core_dependencies(good), Vec::<String>::new());
        for bad in [
            "[dependencies]\ntokio.workspace = true\n",
            "[dependencies.rand]\nversion = \"1\"\n",
            "[target.'cfg(unix)'.dependencies]\nlibc = \"0.2\"\n",
        ] {
            assert_eq!(core_dependencies(bad).len(), 1, "{bad}");
        }
        assert!(core_dependencies("[dev-dependencies]\ntempfile = \"3\"\n").is_empty());
    }

    #[test]
    fn the_core_opens_no_door_to_the_outside() {
        for bad in ["use std::time::Instant;", "let m = HashMap::new();", "std::fs::read(p)"] {
            assert_eq!(core_sources(&source("raft/mod.rs", bad)).len(), 1, "{bad}");
        }
        assert!(
            core_sources(&source("raft/mod.rs", "// no HashMap: its order changes")).is_empty()
        );
        assert!(core_sources(&source("raft/golden_test.rs", "std::fs::read(p)")).is_empty());
    }

    #[test]
    fn the_operator_does_not_know_the_node() {
        let manifest = "[dependencies]\ndsync-core.workspace = true\n";
        assert!(operator_dependencies(manifest).is_empty());
        let manifest = "[dev-dependencies]\ndsync-node.workspace = true\n";
        assert_eq!(operator_dependencies(manifest).len(), 1);
    }
}
