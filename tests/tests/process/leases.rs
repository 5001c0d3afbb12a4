//! When a lease ends, who waits gets the lock: how soon, with few leases and with very many.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dsync_tests::process::cluster::Cluster;
use dsync_tests::process::http::{HttpClient, Response};
use dsync_tests::process::percentiles::{Percentiles, measured};
use dsync_tests::process::until::{PATIENCE, timed, until};
use serde_json::{Value, json};

use crate::turns;

const TIMEOUT: Duration = PATIENCE;

#[test]
fn a_lease_never_ends_early_and_the_next_one_has_the_lock_soon_after() {
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let _ = cluster.leader();
    let clients = cluster.clients();
    let pairs: Vec<_> =
        (0..32).map(|pair| thread::spawn(move || lease_ends(&clients, pair))).collect();
    let mut late = Percentiles::default();
    for pair in pairs {
        pair.join().unwrap().into_iter().for_each(|time| late.add(time));
    }
    measured(&format!("from the end of a lease (last renewal + ttl) to the next grant: {late}"));
    assert!(late.max() > Duration::ZERO, "no lease was measured");
}

/// One holder that renews once and then no more, and one who waits at another node; some times over.
fn lease_ends(clients: &[SocketAddr; 3], pair: usize) -> Vec<Duration> {
    let mut late = Vec::new();
    let (node, other) = (clients[pair % 3], clients[(pair + 1) % 3]);
    for round in 0..8 {
        let ttl = Duration::from_millis(500 + (pair as u64 * 61 + round * 137) % 700);
        let path = format!("/v1/locks/lease-{pair}-{round}/acquire");
        let hold = granted(&post(node, &path, &lease("holder", ttl, 0)));
        let waiter = thread::spawn(move || {
            let answer = post(other, &path, &lease("next", ttl, 60_000));
            (granted(&answer), Instant::now())
        });
        // On a loaded machine the lease may be over before the next one asks.
        until("the next one waits", || {
            (waiters(node, pair, round) > 0 || waiter.is_finished()).then_some(())
        });
        let sent = Instant::now();
        let body = json!({ "hold": hold, "ttl": millis(ttl) });
        let renewed = post(node, "/v1/locks/renew", &body).status == 200;
        let (_, had_it) = waiter.join().unwrap();
        // And so may the renewal be too late.
        if renewed {
            let held = had_it.duration_since(sent);
            // Stamps are whole milliseconds, and clocks may differ by a thousandth.
            let counted = ttl.mul_f64(0.999).saturating_sub(Duration::from_millis(1));
            assert!(held >= counted, "a lease of {ttl:?} ended after {held:?}");
            late.push(held.saturating_sub(ttl));
        }
    }
    late
}

fn waiters(node: SocketAddr, pair: usize, round: u64) -> usize {
    let lock = get(node, &format!("/v1/locks/lease-{pair}-{round}"));
    lock["waiters"].as_array().map_or(0, Vec::len)
}

#[test]
#[ignore = "takes minutes: part of the long form"]
fn ten_thousand_leases_that_end_in_a_second_hold_nobody_up() {
    const LEASES: usize = 100_000;
    const ENDING: usize = 10_000;
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let node = cluster.clients()[cluster.leader()];
    let ((), filled) = timed_fill(node, "long", LEASES - ENDING, &|| 3_600_000);
    // All of them are taken before the first one ends: they are a ninth of the others.
    let end = Instant::now() + filled / 3 + Duration::from_secs(10);
    let left = move || millis(end.saturating_duration_since(Instant::now()));
    let ((), took) = timed_fill(node, "short", ENDING, &left);
    assert!(Instant::now() + Duration::from_secs(2) < end, "taking them took {took:?}");

    let stop = AtomicBool::new(false);
    let cycles: Vec<(Instant, Duration)> = thread::scope(|scope| {
        let stop = &stop;
        let clients: Vec<_> = (0..4).map(|at| scope.spawn(move || cycle(node, at, stop))).collect();
        until("the short ones have ended", || (count(node, "short") == 0).then_some(()));
        thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let storm = end - Duration::from_millis(200)..end + Duration::from_millis(1_500);
    let (mut calm_times, mut storm_times) = (Percentiles::default(), Percentiles::default());
    for (began, took) in cycles {
        let inside = storm.contains(&(began + took)) || storm.contains(&began);
        if inside { storm_times.add(took) } else { calm_times.add(took) }
    }
    measured(&format!("100,000 live leases: an acquire takes {calm_times}"));
    measured(&format!("while 10,000 of them end in a second: {storm_times}"));
    assert_eq!(get(node, "/v1/cluster")["locks"]["holds"], LEASES - ENDING);
}

#[test]
#[ignore = "takes minutes: part of the long form"]
fn ten_million_names_used_once_leave_nothing_behind() {
    const NAMES: usize = 10_000_000;
    const AT_ONCE: usize = 128;
    let _turn = turns::alone();
    let cluster = Cluster::start();
    let leader = cluster.leader();
    let node = cluster.clients()[leader];
    let resident = || cluster.nodes[leader].resident_bytes() >> 20;
    use_names(node, 0..AT_ONCE * 100, AT_ONCE);
    let before = resident();
    let part = NAMES / 8;
    thread::scope(|scope| {
        for at in 0..8 {
            scope.spawn(move || use_names(node, at * part..(at + 1) * part, AT_ONCE));
        }
    });
    let after = resident();
    measured(&format!("10,000,000 names used once: {before} MiB before, {after} MiB after"));
    assert_eq!(get(node, "/v1/cluster")["locks"]["names"], 0);
}

/// Takes and gives back names, many in a request.
fn use_names(node: SocketAddr, names: std::ops::Range<usize>, at_once: usize) {
    let mut client = HttpClient::new(node, TIMEOUT);
    let mut names = names.peekable();
    while names.peek().is_some() {
        let some = names.by_ref().take(at_once);
        let locks: Value = some.map(|name| json!({ "name": format!("once/{name}") })).collect();
        let body = json!({ "owner": "once", "ttl": 60_000, "wait": 0, "locks": locks });
        let hold = granted(&client.post("/v1/locks/acquire", &body).unwrap());
        let released = client.post("/v1/locks/release", &json!({ "hold": hold })).unwrap();
        assert_eq!(released.status, 200, "{}", released.text());
    }
}

/// Takes locks with leases, by several connections.
fn fill(node: SocketAddr, prefix: &str, count: usize, ttl_ms: &(dyn Fn() -> u64 + Sync)) {
    const CONNECTIONS: usize = 32;
    thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            scope.spawn(move || {
                let mut client = HttpClient::new(node, TIMEOUT);
                for number in (connection..count).step_by(CONNECTIONS) {
                    let owner = format!("{prefix}-{}", number % 1_000);
                    let body = json!({ "owner": owner, "ttl": ttl_ms(), "wait": 0 });
                    let path = format!("/v1/locks/{prefix}-{number}/acquire");
                    granted(&client.post(&path, &body).unwrap());
                }
            });
        }
    });
}

fn timed_fill(
    node: SocketAddr,
    prefix: &str,
    count: usize,
    ttl_ms: &(dyn Fn() -> u64 + Sync),
) -> ((), Duration) {
    let began = Instant::now();
    (fill(node, prefix, count, ttl_ms), began.elapsed())
}

/// Takes and gives back a lock of its own; each acquire's start and length.
fn cycle(node: SocketAddr, at: usize, stop: &AtomicBool) -> Vec<(Instant, Duration)> {
    let mut client = HttpClient::new(node, TIMEOUT);
    let mut times = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let body = json!({ "owner": "cycle", "ttl": 60_000, "wait": 0 });
        let answer = client.post(&format!("/v1/locks/cycle-{at}/acquire"), &body).unwrap();
        times.push((began, began.elapsed()));
        let body = json!({ "hold": granted(&answer) });
        assert_eq!(client.post("/v1/locks/release", &body).unwrap().status, 200);
    }
    times
}

fn count(node: SocketAddr, prefix: &str) -> usize {
    let page = get(node, &format!("/v1/locks?prefix={prefix}-&limit=1&consistency=stale"));
    page["locks"].as_array().map_or(0, Vec::len)
}

fn lease(owner: &str, ttl: Duration, wait_ms: u64) -> Value {
    json!({ "owner": owner, "ttl": millis(ttl), "wait": wait_ms })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

fn get(node: SocketAddr, path: &str) -> Value {
    let mut client = HttpClient::new(node, TIMEOUT);
    let (answer, _) = timed("a read is answered", PATIENCE, || client.get(path).ok());
    answer.json()
}

fn post(node: SocketAddr, path: &str, body: &Value) -> Response {
    HttpClient::new(node, TIMEOUT).post(path, body).unwrap()
}

fn granted(response: &Response) -> String {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["hold"].as_str().unwrap().to_owned()
}
