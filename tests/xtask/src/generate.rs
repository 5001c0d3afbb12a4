//! Files that the code itself can write: kept in the repository so that they can be read and
//! reviewed, checked so that they stay true.

use std::fs;

use anyhow::Context;

use super::build::output;
use super::command::Call;
use super::workspace;

/// A file and the program that prints it.
struct Generated {
    path: &'static str,
    /// Below the folder of the test profile, with its arguments.
    program: &'static str,
}

const GENERATED: [Generated; 2] = [
    Generated { path: "manifests/crd.yaml", program: "dsync-operator crd" },
    Generated { path: "docs/openapi.json", program: "examples/openapi" },
];

/// Builds all of these programs.
const BUILD: &str = "build --quiet --workspace --bin dsync-operator --example openapi";

impl Generated {
    fn fresh(&self) -> anyhow::Result<Vec<u8>> {
        let (program, arguments) = self.program.split_once(' ').unwrap_or((self.program, ""));
        Call::of(&output("debug").join(program).to_string_lossy(), arguments).output()
    }
}

/// Writes every generated file.
///
/// # Errors
/// If one cannot be made or written.
pub fn write() -> anyhow::Result<()> {
    Call::cargo(BUILD).run()?;
    for file in &GENERATED {
        let path = workspace::root().join(file.path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(&path, file.fresh()?).with_context(|| format!("cannot write {}", file.path))?;
        println!("wrote {}", file.path);
    }
    Ok(())
}

/// The generated files that are not what the code would write now.
///
/// # Errors
/// If one cannot be made.
pub fn stale() -> anyhow::Result<Vec<String>> {
    Call::cargo(BUILD).run()?;
    let mut stale = Vec::new();
    for file in &GENERATED {
        let fresh = file.fresh()?;
        if fs::read(workspace::root().join(file.path)).ok().as_ref() != Some(&fresh) {
            stale.push(format!("{}: not what the code gives; run `cargo xtask gen`", file.path));
        }
    }
    Ok(stale)
}
