//! Random histories of the complete lock machine against an oracle that is too simple to be wrong.

mod blockers;
mod history;
mod laws;
mod oracle;
mod replay;
mod seen;
mod shown;
mod shrink;
mod stage;
mod world;

use std::time::{SystemTime, UNIX_EPOCH};

use seen::Seen;

/// A share of what `cargo xtask test` plays, so that `cargo test` stays quick.
const HISTORIES: u64 = 15_000;
/// How many have never been played before, in the test that differs from run to run.
const FRESH: u64 = 10_000;

/// How often a part of them has to meet each of these.
const MET_MIN: u64 = 10;

/// What they have to meet, or they would prove nothing about it; see `seen.rs`.
const MET: [&str; 24] = [
    "a claim taken up by asking again",
    "a place lapsed",
    "a wish lapsed",
    "a wish was left",
    "answer: revoked (by hold id)",
    "attach: granted",
    "claim lapsed",
    "claim of a lost listener",
    "deadlock",
    "expired",
    "forced",
    "granted several locks at once",
    "granted to a listener who waited",
    "knot: a shared holder",
    "knot: an earlier waiter",
    "knot: closed by an upgrade",
    "knot: permits, three owners or more",
    "knot: several locks",
    "knot: three owners or more",
    "limit: waiters",
    "renew all: revoked",
    "undone",
    "upgraded after a while",
    "waits_in_other_mode",
];

/// Tests run side by side, and each of these plays its part.
const PARTS: u64 = 2;

#[test]
fn random_histories_agree_with_the_oracle() {
    agree(0);
}

#[test]
fn so_do_as_many_others() {
    agree(1);
}

/// A history that fails is played again, and shrunk, by its number.
#[test]
#[ignore = "differs from run to run"]
fn and_histories_that_nobody_has_played_before() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let first = now.map_or(0, |since| since.as_secs()) << 32;
    play(first..first + FRESH, &mut Seen::default());
}

fn agree(part: u64) {
    if let Some(seed) = number("DSYNC_HISTORY") {
        return play(std::iter::once(seed), &mut Seen::default());
    }
    let histories = number("DSYNC_HISTORIES").unwrap_or(HISTORIES);
    let mut seen = Seen::default();
    play((0..histories).filter(|at| at % PARTS == part), &mut seen);
    eprintln!("{seen:#?}");
    if histories >= HISTORIES {
        let missed: Vec<_> = MET.iter().filter(|case| seen.count(case) < MET_MIN).collect();
        assert!(missed.is_empty(), "the histories did not meet {missed:?}");
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn play(seeds: impl Iterator<Item = u64>, seen: &mut Seen) {
    for seed in seeds {
        history::play(seed, seen).unwrap_or_else(|failed| panic!("{failed}"));
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, table: &T, oracle: &T) -> Result<(), String> {
    if table == oracle {
        return Ok(());
    }
    Err(format!("{what}: the table says\n{table:?}\nthe oracle says\n{oracle:?}"))
}
