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

/// In a debug build a share of what a release build plays.
const HISTORIES: u64 = if cfg!(debug_assertions) { 15_000 } else { 100_000 };

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

fn agree(part: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("DSYNC_HISTORY") {
        return history::play(seed, &mut Seen::default())
            .unwrap_or_else(|failed| panic!("{failed}"));
    }
    let histories = number("DSYNC_HISTORIES").unwrap_or(HISTORIES);
    // Nine of ten are the same in every run; the others have never been played before.
    let fresh =
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) << 32;
    let fixed = histories / 10 * 9;
    eprintln!("histories 0..{fixed} and {fresh}..{}, part {part}", fresh + histories - fixed);
    let mut seen = Seen::default();
    for at in (0..histories).filter(|at| at % PARTS == part) {
        let seed = if at < fixed { at } else { fresh + at - fixed };
        history::play(seed, &mut seen).unwrap_or_else(|failed| panic!("{failed}"));
    }
    eprintln!("{seen:#?}");
    if histories >= 15_000 {
        let missed: Vec<_> = MET.iter().filter(|case| seen.count(case) < MET_MIN).collect();
        assert!(missed.is_empty(), "the histories did not meet {missed:?}");
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, table: &T, oracle: &T) -> Result<(), String> {
    if table == oracle {
        return Ok(());
    }
    Err(format!("{what}: the table says\n{table:?}\nthe oracle says\n{oracle:?}"))
}
