//! Two writers, a thousand times, each pair with the next two tokens: whoever comes first, the value
//! that stays is that of the higher token. A third one looks all the time: no mark ever falls, and
//! value and mark belong together.
//!
//! The tokens are the highest that there are, where a double that lost a bit would show.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dsync_client::guard::{FencingToken, Stale};
use dsync_tests::process::percentiles::measured;

use crate::store::{Form, Kind, Place, SQL_FORMS, Store};
use crate::token;

const ROUNDS: u64 = 1_000;

#[test]
fn in_redis_the_highest_token_wins_every_race() {
    for form in [Form::Set, Form::Run] {
        race(Kind::Redis, form, "");
    }
}

#[test]
fn in_postgres_the_highest_token_wins_every_race_at_every_isolation_level() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        SQL_FORMS.into_iter().for_each(|form| race(Kind::Postgres, form, level));
    }
}

#[test]
fn in_mariadb_the_highest_token_wins_every_race_at_every_isolation_level() {
    for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        SQL_FORMS.into_iter().for_each(|form| race(Kind::MariaDb, form, level));
    }
}

#[test]
fn in_sqlite_the_highest_token_wins_every_race() {
    SQL_FORMS.into_iter().for_each(|form| race(Kind::Sqlite, form, ""));
}

fn race(kind: Kind, form: Form, level: &str) {
    let folder = tempfile::tempdir().unwrap();
    let resource = format!("race-{form:?}-{}", level.replace(' ', "-"));
    let place = Place::new(kind, form, &resource, folder.path()).with_isolation(level);
    place.prepare();
    let start = Barrier::new(2);
    let done = AtomicBool::new(false);
    let (refused, looks) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(place.open(), &done));
        let writers = [0, 1].map(|at| {
            let (store, start) = (place.open(), &start);
            scope.spawn(move || write_all(store, at, start))
        });
        let refused = writers.map(thread::ScopedJoinHandle::join);
        done.store(true, Ordering::Release);
        let looks = watcher.join().expect("the watcher saw nothing wrong");
        (refused.map(|count| count.expect("the writers saw nothing wrong")), looks)
    });
    let late: u64 = refused.iter().sum();
    measured(&format!(
        "race {kind:?} {form:?} {level}: of {ROUNDS} lower tokens {late} came too late; {looks} looks"
    ));
}

/// The tokens of a round, the higher one for one writer and the other in turns.
fn tokens(round: u64) -> [FencingToken; 2] {
    let lower = FencingToken::MAX.get() - 2 * (ROUNDS - round) + 1;
    let pair = [token(lower), token(lower + 1)];
    if round.is_multiple_of(2) { pair } else { [pair[1], pair[0]] }
}

/// How often this writer was refused.
fn write_all(mut store: Box<dyn Store>, at: usize, start: &Barrier) -> u64 {
    let mut refused = 0;
    for round in 0..ROUNDS {
        let tokens = tokens(round);
        let (mine, highest) = (tokens[at], tokens[0].max(tokens[1]));
        start.wait();
        match store.write(mine, &mine.to_string()) {
            Ok(()) => {}
            Err(stale) => {
                assert_eq!(stale, Stale { seen: highest, given: mine });
                assert_ne!(mine, highest);
                refused += 1;
            }
        }
        start.wait();
        assert_eq!(store.look(), Some((highest.to_string(), highest.get())), "round {round}");
    }
    refused
}

/// How often it looked.
fn watch(mut store: Box<dyn Store>, done: &AtomicBool) -> u64 {
    let (mut mark, mut looks) = (0, 0);
    while !done.load(Ordering::Acquire) {
        // The row of an update is there from the beginning, with nothing in it.
        if let Some((value, seen)) = store.look().filter(|(value, _)| !value.is_empty()) {
            assert!(seen >= mark, "the mark fell from {mark} to {seen}");
            assert_eq!(value, seen.to_string());
            mark = seen;
        }
        looks += 1;
    }
    looks
}
