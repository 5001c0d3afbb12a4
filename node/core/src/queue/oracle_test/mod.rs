//! Random histories of the queues against an oracle that is too simple to be wrong.

mod history;
mod oracle;
mod shown;
mod stage;

use std::collections::BTreeMap;

#[cfg(feature = "bugs")]
use super::Bug;

/// In a debug build a share of what a release build plays.
const HISTORIES: u64 = if cfg!(debug_assertions) { 20_000 } else { 100_000 };

/// How often a part of them has to meet each of these.
const MET_MIN: u64 = 10;

/// What they have to meet, or they would prove nothing about it; see `stage.rs`.
const MET: [&str; 29] = [
    "delivery of a dead message",
    "delivery of a group",
    "delivery: the fifth",
    "died: Expired",
    "died: Rejected",
    "died: TooManyDeliveries",
    "dropped",
    "ends left for the next entry",
    "given back",
    "given back too late",
    "key forgotten",
    "push: Duplicate",
    "push: dedupe_key_reused",
    "push: full, bytes",
    "push: full, keys",
    "push: full, messages",
    "push: full, topic",
    "purge: more to come",
    "receive: paused",
    "receive: several receivers served",
    "redrive: NotDead",
    "redrive: Moved",
    "redrive: full",
    "redrive: more to come",
    "settle: Acked",
    "settle: Dead",
    "settle: Extended",
    "settle: Stale",
    "settle: by consumer",
];

/// Tests run side by side, and each of these plays its part.
const PARTS: u64 = 2;

/// How often each case was met.
type Seen = BTreeMap<String, u64>;

#[test]
fn random_histories_agree_with_the_oracle() {
    agree(0);
}

#[test]
fn so_do_as_many_others() {
    agree(1);
}

/// Every mistake is noticed, and within few histories.
#[cfg(feature = "bugs")]
#[test]
fn mistakes_that_are_put_back_are_caught() {
    for bug in Bug::ALL {
        let caught =
            (0..2_000).find_map(|seed| history::play(seed, Some(bug), &mut Seen::new()).err());
        let Some(said) = caught else { panic!("{bug:?} was not noticed") };
        eprintln!("{bug:?}: {said}\n");
    }
}

fn agree(part: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("DSYNC_HISTORY") {
        return history::play(seed, None, &mut Seen::new())
            .unwrap_or_else(|failed| panic!("{failed}"));
    }
    let histories = number("DSYNC_HISTORIES").unwrap_or(HISTORIES);
    let mut seen = Seen::new();
    for seed in (0..histories).filter(|at| at % PARTS == part) {
        history::play(seed, None, &mut seen).unwrap_or_else(|failed| panic!("{failed}"));
    }
    eprintln!("histories 0..{histories}, part {part}: {seen:#?}");
    if histories >= 20_000 {
        let count = |case: &str| seen.get(case).copied().unwrap_or(0);
        let missed: Vec<_> = MET.iter().filter(|case| count(case) < MET_MIN).collect();
        assert!(missed.is_empty(), "the histories did not meet {missed:?}");
    }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, table: &T, oracle: &T) -> Result<(), String> {
    if table == oracle {
        return Ok(());
    }
    Err(format!("{what}: the table says\n{table:?}\nthe oracle says\n{oracle:?}"))
}
