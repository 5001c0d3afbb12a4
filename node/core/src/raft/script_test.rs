//! Golden scripts: the protocol, one behaviour per file, for those who want to learn it.
//!
//! A file of `scripts/` is a story. Lines with `#` explain, lines with `>` are commands, and below
//! each command stands everything that it brought about: messages as `n1 -> n2 term 2: ...` (`-x` if
//! the link is cut), changes of a node as `n1: before => after`, and `n1 disk: ...` when a write is
//! synced. Entry `3@2 x` is the command `x` at index 3, of term 2; `-` is an entry without a command.
//!
//! Nothing moves by itself. A message stays in the network until `deliver` or `stabilize`; an election
//! timer runs out only by `campaign`; a disk set to `manual` completes only by `sync`. `run` is for
//! the dull parts. `commands.rs` has all words.
//!
//! The outputs are compared word by word. `UPDATE_GOLDEN=1 cargo test -p dsync-core script` writes them
//! anew; read the difference before it is committed, it is the review of a change of the protocol.

use std::fs;
use std::path::PathBuf;

mod cluster;
mod commands;
mod disk;
mod node;
mod show;

use cluster::Cluster;

macro_rules! scripts {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })*

        /// Every file of `scripts/` that is played.
        const PLAYED: &[&str] = &[$(stringify!($name)),*];
    };
}

scripts! {
    founding_of_three_waits_for_all_three
}

/// A file without a test would rot.
#[test]
fn every_script_is_played() {
    for file in fs::read_dir(folder()).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        assert!(PLAYED.contains(&name.as_str()), "scripts/{name}.txt is not listed in {}", file!());
    }
}

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/raft/scripts"))
}

/// Plays a script and compares, or rewrites it.
fn play(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let written = fs::read_to_string(&path).unwrap();
    let played = replay(&written);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, played).unwrap();
    } else if let Some(at) = first_difference(&written, &played) {
        panic!(
            "scripts/{name}.txt, line {}:\n  expected: {}\n  got:      {}\n\
             If the new behaviour is meant: UPDATE_GOLDEN=1, and review the diff.",
            at + 1,
            written.lines().nth(at).unwrap_or("(end)"),
            played.lines().nth(at).unwrap_or("(end)"),
        );
    }
}

/// The script with its outputs as they are now.
fn replay(script: &str) -> String {
    assert!(script.starts_with('#'), "a script begins by saying what it shows");
    let mut cluster = Cluster::new();
    let mut played = String::new();
    for line in script.lines().filter(|line| is_written_by_hand(line)) {
        played += line;
        played.push('\n');
        if let Some(command) = line.strip_prefix('>') {
            cluster.command(command);
            for output in cluster.take_output() {
                played += &format!("  {output}\n");
            }
        }
    }
    played
}

fn is_written_by_hand(line: &str) -> bool {
    line.is_empty() || line.starts_with('#') || line.starts_with('>')
}

fn first_difference(a: &str, b: &str) -> Option<usize> {
    let lines = a.lines().count().max(b.lines().count());
    (0..lines).find(|at| a.lines().nth(*at) != b.lines().nth(*at))
}
