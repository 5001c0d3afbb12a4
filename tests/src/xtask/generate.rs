//! Files that the code itself can write: kept in the repository so that they can be read and
//! reviewed, checked so that they stay true.

use std::fs;

use anyhow::Context;

use super::command::Call;
use super::workspace;

/// A file and the command that prints it.
struct Generated {
    path: &'static str,
    arguments: &'static str,
}

const GENERATED: [Generated; 2] = [
    Generated {
        path: "manifests/crd.yaml",
        arguments: "run --quiet --package dsync-operator --bin dsync-operator -- crd",
    },
    Generated {
        path: "docs/openapi.json",
        arguments: "run --quiet --package dsync-node --example openapi",
    },
];

/// Writes every generated file.
///
/// # Errors
/// If one cannot be made or written.
pub fn write() -> anyhow::Result<()> {
    for file in &GENERATED {
        let path = workspace::root().join(file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, Call::cargo(file.arguments).output()?)
            .with_context(|| format!("cannot write {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(())
}

/// The generated files that are not what the code would write now.
///
/// # Errors
/// If one cannot be made.
pub fn stale() -> anyhow::Result<Vec<String>> {
    let mut stale = Vec::new();
    for file in &GENERATED {
        let fresh = Call::cargo(file.arguments).output()?;
        if fs::read(workspace::root().join(file.path)).ok().as_ref() != Some(&fresh) {
            stale.push(format!("{}: not what the code gives; run `cargo xtask gen`", file.path));
        }
    }
    Ok(stale)
}
