//! The story that guards are for, with everything real: three nodes, a lock with a lease, a holder that
//! is a process of its own, and a database server.
//!
//! The holder has written once and is stopped (SIGSTOP) before it writes again. Its lease ends, the next
//! holder gets the lock and a higher token, and writes. Then the first one goes on and does what it was
//! about to do.

use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, io};

use dsync_client::guard::{FencingToken, Stale};
use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::HttpClient;
use dsync_tests::process::process_table;
use dsync_tests::process::until::{PATIENCE, until};
use rustix::process::Signal;
use serde_json::json;

use crate::store::{Form, Kind, Place, SQL_FORMS};
use crate::token;

const TIMEOUT: Duration = PATIENCE;
/// Short, since it is waited for.
const LEASE: &str = "2s";
const FIRST: &str = "first";
const SECOND: &str = "second";
/// What the process of the holder is told: a node and a place, divided by a blank.
const HOLDER_VARIABLE: &str = "DSYNC_FENCING_HOLDER";

#[test]
fn redis_refuses_a_holder_that_was_stopped_for_longer_than_its_lease() {
    let cluster = Cluster::start();
    for form in [Form::Set, Form::Run] {
        play(&cluster, Kind::Redis, form);
    }
}

#[test]
fn postgres_refuses_a_holder_that_was_stopped_for_longer_than_its_lease() {
    let cluster = Cluster::start();
    SQL_FORMS.into_iter().for_each(|form| play(&cluster, Kind::Postgres, form));
}

#[test]
fn mariadb_refuses_a_holder_that_was_stopped_for_longer_than_its_lease() {
    let cluster = Cluster::start();
    SQL_FORMS.into_iter().for_each(|form| play(&cluster, Kind::MariaDb, form));
}

#[test]
fn sqlite_refuses_a_holder_that_was_stopped_for_longer_than_its_lease() {
    let cluster = Cluster::start();
    SQL_FORMS.into_iter().for_each(|form| play(&cluster, Kind::Sqlite, form));
}

fn play(cluster: &Cluster, kind: Kind, form: Form) {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(kind, form, &format!("late-{form:?}"), folder.path());
    place.prepare();
    let [node, other, _] = cluster.clients();

    let mut holder = Holder::start(node, &place);
    let mut store = place.open();
    let first = until("the first holder writes", || {
        assert!(holder.0.try_wait().unwrap().is_none(), "the holder has ended");
        store.look().filter(|(value, _)| value == FIRST)
    });
    let first_token = first.1;
    holder.stop();

    let second_token = until("its lease ends", || acquire(other, &place.resource, SECOND));
    assert!(second_token.get() > first_token);
    assert_eq!(store.write(second_token, SECOND), Ok(()), "{place:?}");

    holder.write_once_more_and_go_on();
    let refused = Stale { seen: second_token, given: token(first_token) };
    let said = holder.last_words();
    assert!(said.contains(&format!("refused: {refused}\n")), "{place:?}: {said}");
    assert_eq!(store.look(), Some((SECOND.to_owned(), second_token.get())), "{place:?}");
}

/// Asks once; `None`: not yet, or not answered.
fn acquire(node: SocketAddr, lock: &str, owner: &str) -> Option<FencingToken> {
    let body = json!({
        "resource_id": lock, "client_id": owner, "lock_type": "exclusive", "ttl": LEASE
    });
    let answer = HttpClient::new(node, TIMEOUT).post("/lock/acquire", &body).ok()?;
    answer.json()["token"].as_u64().map(token)
}

/// The process of the first holder. It writes once, stands still, and writes once more.
struct Holder(Child);

impl Holder {
    /// This very program, told to run the one test that is the holder.
    fn start(node: SocketAddr, place: &Place) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "late_holder::the_process_of_the_first_holder", "--nocapture"])
            .env(HOLDER_VARIABLE, format!("{node} {}", place.to_text()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Stops it, and waits until it stands still.
    fn stop(&mut self) {
        process_table::signal(self.0.id(), Signal::STOP);
        until("the holder stands still", || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            assert!(self.0.try_wait().unwrap().is_none(), "the holder has ended");
            (state == Some('T')).then_some(())
        });
    }

    /// The word to write is there before it goes on: it had been decided long ago.
    fn write_once_more_and_go_on(&mut self) {
        self.0.stdin.take().unwrap().write_all(b"once more\n").unwrap();
        process_table::signal(self.0.id(), Signal::CONT);
    }

    /// What it has said when it ends.
    fn last_words(mut self) -> String {
        until("the holder ends", || self.0.try_wait().unwrap());
        io::read_to_string(self.0.stdout.take().unwrap()).unwrap()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Not a test by itself, but what [`Holder`] runs: without the variable there is nothing to do.
#[test]
fn the_process_of_the_first_holder() {
    let Ok(told) = env::var(HOLDER_VARIABLE) else { return };
    let (node, place) = told.split_once(' ').unwrap();
    let (node, place) = (node.parse().unwrap(), Place::from_text(place));
    let token = until("the lock is free", || acquire(node, &place.resource, FIRST));
    let mut store = place.open();
    store.write(token, FIRST).unwrap();
    // Stopped here, by the other process.
    io::stdin().read_line(&mut String::new()).unwrap();
    match store.write(token, "first, late") {
        Ok(()) => println!("written"),
        Err(stale) => println!("refused: {stale}"),
    }
}
