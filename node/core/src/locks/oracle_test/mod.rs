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

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use seen::Seen;

/// As `AcquireOutcome` says. `false`: as the table does, which names every holder of every lock.
const ONLY_HOLDERS_IN_THE_WAY_ARE_NAMED: bool = false;
/// A wait that is asked for again is granted with the lease of the newest ask. `false`: the first.
const NEWEST_ASK_OF_A_WAIT_SAYS_THE_LEASE: bool = false;
/// Who asked for a hold once is not its newest attachment any more when its owner has asked to
/// upgrade it. `false`: a late Leave of the first ask ends what the second ask was told.
const AN_UPGRADE_TAKES_THE_GRANT_OVER: bool = false;

/// In a debug build a share of what a release build plays.
const HISTORIES: u64 = if cfg!(debug_assertions) { 15_000 } else { 100_000 };

#[test]
fn random_histories_agree_with_the_oracle() {
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
    eprintln!("histories 0..{fixed} and {fresh}..{}", fresh + histories - fixed);
    let seen = play_all(histories, |at| if at < fixed { at } else { fresh + at - fixed });
    eprintln!("{seen:#?}");
}

/// On every core there is. Fails with the first history that fails.
fn play_all(histories: u64, seed: impl Fn(u64) -> u64 + Sync) -> Seen {
    let next = AtomicU64::new(0);
    let worker = || {
        let mut seen = Seen::default();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= histories {
                return Ok(seen);
            }
            if let Err(failed) = history::play(seed(at), &mut seen) {
                next.store(histories, Ordering::Relaxed);
                return Err(failed);
            }
        }
    };
    let mut all = Seen::default();
    let mut failed = Vec::new();
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        for worker in workers {
            match worker.join() {
                Ok(Ok(seen)) => all.merge(seen),
                Ok(Err(difference)) => failed.push(difference),
                Err(_) => failed.push("a worker panicked".to_owned()),
            }
        }
    });
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    all
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, table: &T, oracle: &T) -> Result<(), String> {
    if table == oracle {
        return Ok(());
    }
    Err(format!("{what}: the table says\n{table:?}\nthe oracle says\n{oracle:?}"))
}
