//! Files of golden scripts and golden bytes, for this crate's tests alone. It stands beside `src`, so
//! that nothing in `src` names a file system.

use std::fmt::Write as _;
pub(crate) use std::fs::{read_dir, read_to_string, write};
use std::path::Path;

/// Plays every script of a folder: prose (`#`), inputs (`> `) and, under each input, what came out.
/// `stage` makes what plays one. With `UPDATE_GOLDEN` set the scripts are rewritten instead of compared.
pub(crate) fn check_scripts<P: FnMut(&str) -> String>(
    folder: &str,
    at_least: usize,
    stage: impl Fn() -> P,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<_> = read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= at_least, "scripts are missing");
    let mut different = Vec::new();
    for path in paths {
        let golden = read_to_string(&path).unwrap();
        let actual = played(&golden, stage());
        if actual == golden {
            continue;
        }
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            write(&path, actual).unwrap();
        } else {
            different.push(format!("{}\n{actual}", path.display()));
        }
    }
    assert!(different.is_empty(), "scripts differ; they now read:\n{}", different.join("\n"));
}

/// True if the script does not say any more what is written. To panic is to differ.
#[cfg(feature = "bugs")]
pub(crate) fn differs<P: FnMut(&str) -> String>(script: &str, stage: impl Fn() -> P) -> bool {
    let golden = read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).unwrap();
    let replayed = std::panic::AssertUnwindSafe(|| played(&golden, stage()));
    std::panic::catch_unwind(replayed).map_or(true, |actual| actual != golden)
}

/// The script with its outputs replaced.
fn played(script: &str, mut play: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    for line in script.lines() {
        if let Some(input) = line.strip_prefix("> ") {
            writeln!(out, "{line}").unwrap();
            out.push_str(&play(input));
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(out, "{line}").unwrap();
        }
    }
    out
}
