//! Who may know whom.
//!
//! The core is pure, and its list of dependencies is the proof: so it is a list of what is allowed,
//! since a list of what is forbidden would be out of date with the next library. Beyond that, some
//! doors of the standard library stay shut in its sources. Inside the core imports point down only. The
//! operator knows the core's contract, never the node.

use std::path::Path;

use anyhow::Context;

use crate::workspace::{SourceFile, files};

/// All that dsync-core may depend on: none of these does I/O, reads a clock or rolls dice.
const CORE_MAY_USE: [&str; 9] =
    ["bytes", "crc32c", "lru", "murmur3", "postcard", "rpds", "serde", "sha2", "thiserror"];

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

/// Modules of the core, the lowest layer first: each knows those of the layers below it, and none
/// beside it. Not all of them have to exist yet.
const CORE_LAYERS: [&[&str]; 12] = [
    &["types", "encoding", "dice"],
    &["contract", "quorum", "ring"],
    &["raft"],
    &["wire"],
    &SERVICES,
    &["audit"],
    &["machine"],
    &["failure_detector"],
    &["proposer"],
    &["submit"],
    &["waits"],
    &["replica"],
];
/// What is served is decided without knowing how it is agreed on.
const SERVICES: [&str; 3] = ["locks", "queue", "cache"];
const SERVICES_MAY_NOT_USE: [&str; 2] = ["raft", "wire"];

/// Breaches of the layers.
///
/// # Errors
/// If a manifest or a source cannot be read.
pub fn check(root: &Path) -> anyhow::Result<Vec<String>> {
    let manifest = |path: &str| {
        std::fs::read_to_string(root.join(path)).with_context(|| format!("cannot read {path}"))
    };
    let mut complaints = core_dependencies(&manifest("node/core/Cargo.toml")?);
    let core = files(&root.join("node/core/src"), &[".rs"])?;
    complaints.extend(core_sources(&core));
    complaints.extend(core_layers(&core));
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

fn core_layers(files: &[SourceFile]) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in files.iter().filter(|file| file.path != "lib.rs" && !is_test(&file.path)) {
        let module = file.path.split(['/', '.']).next().unwrap_or_default();
        if layer(module).is_none() {
            complaints.push(format!(
                "node/core/src/{}: {module} has no layer yet (checks/layering.rs)",
                file.path
            ));
        }
        for (number, used) in imports(&file.text) {
            if !may_use(module, &used) {
                complaints.push(format!(
                    "node/core/src/{}:{number}: {module} must not know {used}",
                    file.path
                ));
            }
        }
    }
    complaints
}

fn layer(module: &str) -> Option<usize> {
    CORE_LAYERS.iter().position(|layer| layer.contains(&module))
}

/// What is not a module of the core, or has no layer, is no question of layers.
fn may_use(module: &str, used: &str) -> bool {
    let hidden = SERVICES.contains(&module) && SERVICES_MAY_NOT_USE.contains(&used);
    let (Some(own), Some(other)) = (layer(module), layer(used)) else { return true };
    module == used || (other < own && !hidden)
}

/// What stands behind each `crate::`, with its line; comments are left out. In `crate::{a, b::C}` that
/// is each first part, however the braces are broken into lines.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let code: Vec<_> = text.lines().map(|line| line.split("//").next().unwrap_or("")).collect();
    for (number, line) in (1..).zip(&code) {
        for (at, _) in line.match_indices("crate::") {
            let rest = [&line[at + "crate::".len()..], &code[number..].join(" ")].join(" ");
            found.extend(first_parts(&rest).into_iter().map(|part| (number, part)));
        }
    }
    found
}

fn first_parts(path: &str) -> Vec<String> {
    let word = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let Some(braces) = path.strip_prefix('{') else { return vec![word(path)] };
    let mut parts = vec![word(braces)];
    let mut depth = 0;
    for (at, sign) in braces.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => parts.push(word(&braces[at + 1..])),
            _ => {}
        }
    }
    parts
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
    fn imports_in_the_core_point_down() {
        let good = [
            (
                "raft/mod.rs",
                "use crate::types::Index;\nuse crate::raft::Log; // not crate::machine",
            ),
            ("machine/mod.rs", "use crate::{locks::{Turn, Hold}, raft::Entry};"),
            ("locks/script_test.rs", "use crate::machine::Machine;"),
            ("lib.rs", "pub use crate::machine::Machine;"),
        ];
        for (path, text) in good {
            assert_eq!(core_layers(&source(path, text)), Vec::<String>::new(), "{path}");
        }
        let bad = [
            ("raft/mod.rs", "use crate::machine::Machine;"),
            ("locks/table.rs", "fn f(entry: &crate::raft::Entry) {}"),
            ("locks/table.rs", "use crate::{types::Index,\n    queue::{Topic, Receipt}};"),
            ("queue/mod.rs", "use crate::locks::Hold;"),
            ("machine/mod.rs", "use crate::{\n    locks::{Turn, Hold},\n    replica::Replica,\n};"),
            ("new_thing.rs", ""),
        ];
        for (path, text) in bad {
            assert_eq!(core_layers(&source(path, text)).len(), 1, "{path}: {text}");
        }
    }

    #[test]
    fn the_operator_does_not_know_the_node() {
        let manifest = "[dependencies]\ndsync-core.workspace = true\n";
        assert!(operator_dependencies(manifest).is_empty());
        let manifest = "[dev-dependencies]\ndsync-node.workspace = true\n";
        assert_eq!(operator_dependencies(manifest).len(), 1);
    }
}
