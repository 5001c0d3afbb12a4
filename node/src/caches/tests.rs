//! The service around the machines: who serves hits, who waits, who is told.

use dsync_core::cache::{Condition, Rules, Write, WriteOutcome};

use super::fixture::{Cluster, home, key, process, text};
use super::waiting::{Room, WAITING_BYTES_MAX, WAITING_MAX};
use super::{CacheError, Consistency};

const ANY: Consistency = Consistency::Linearizable;

#[tokio::test]
async fn what_is_set_through_one_node_is_seen_on_every_other_at_once() {
    let cluster = Cluster::serving(3).await;
    for round in 0..100 {
        let (name, value) = (format!("k{}", round % 7), format!("v{round}"));
        cluster.nodes[round % 3].put(&name, &value).await;
        for node in &cluster.nodes {
            let seen = node.text(&name, ANY).await.unwrap().map(|(text, _)| text);
            assert_eq!(seen.as_deref(), Some(value.as_str()), "{name}");
        }
    }
}

/// Reads until what is read is a hit: the first ones may come before the session with the home.
async fn warm(cluster: &Cluster, node: usize, name: &str) -> String {
    loop {
        match cluster.nodes[node].text(name, ANY).await.unwrap() {
            Some((text, true)) => return text,
            _ => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_hit_sends_no_message_and_a_get_that_verifies_sends_one() {
    let cluster = Cluster::serving(2).await;
    // Names of both homes.
    for name in ["a", "b"] {
        cluster.nodes[0].put(name, "red").await;
        assert_eq!(warm(&cluster, 0, name).await, "red");
        assert_eq!(warm(&cluster, 1, name).await, "red");
    }
    let asked = cluster.wires.carried("get");
    for _ in 0..1_000 {
        for (node, name) in [(0, "a"), (0, "b"), (1, "a"), (1, "b")] {
            let seen = cluster.nodes[node].text(name, ANY).await.unwrap();
            assert_eq!(seen, Some(("red".to_owned(), true)));
        }
    }
    assert_eq!(cluster.wires.carried("get"), asked);
    // One of the two names is of the other home.
    for name in ["a", "b"] {
        let seen = cluster.nodes[0].text(name, Consistency::Verify).await.unwrap();
        assert_eq!(seen, Some(("red".to_owned(), false)));
    }
    assert_eq!(cluster.wires.carried("get"), asked + 1);
}

#[tokio::test]
async fn a_silent_node_costs_a_write_one_lease_and_serves_its_copy_no_longer() {
    let cluster = Cluster::serving(2).await;
    // A name of node 0, of which node 1 has a copy.
    let name =
        ["a", "b"].into_iter().find(|name| name.bytes().map(usize::from).sum::<usize>() % 2 == 0);
    let name = name.unwrap();
    cluster.nodes[0].put(name, "red").await;
    warm(&cluster, 1, name).await;
    cluster.wires.cut(process(1));
    cluster.nodes[0].put(name, "blue").await;
    let hits = cluster.nodes[1].stats().hits;
    let linearizable = cluster.nodes[1].get(key(name), ANY);
    let stale = cluster.nodes[1].get(key(name), Consistency::Stale).await.unwrap();
    assert_eq!(stale.found.unwrap().value.body, "red");
    assert!(stale.staleness_ms > 0 || cluster.nodes[1].stats().sessions == 0);
    assert_eq!(linearizable.await, Err(CacheError::HomeUnavailable));
    assert_eq!(cluster.nodes[1].stats().hits, hits + 1, "only the stale one");
    assert_eq!(cluster.nodes[0].text(name, ANY).await.unwrap().unwrap().0, "blue");
}

#[tokio::test]
async fn without_a_home_requests_wait_and_are_refused_then() {
    let rules = Rules { patience_ms: 50, ..Rules::default() };
    let cluster = Cluster::new(1, rules);
    assert_eq!(cluster.nodes[0].get(key("k"), ANY).await, Err(CacheError::HomeUnavailable));
    let write = cluster.nodes[0].write(key("k"), text("v")).await;
    assert_eq!(write, Err(CacheError::HomeUnavailable));
}

#[tokio::test]
async fn a_request_waits_for_a_home_that_comes_in_time() {
    let cluster = Cluster::new(1, Rules::default());
    let write = cluster.nodes[0].put("k", "v");
    cluster.homes.change(&[home(0)]);
    write.await;
}

#[tokio::test]
async fn who_is_in_no_ring_asks_to_enter_and_asks_again_after_a_suspension() {
    let cluster = Cluster::new(1, Rules::default());
    let mut asked = cluster.homes.asked.subscribe();
    asked.wait_for(|asked| asked.enters > 0).await.unwrap();
    cluster.homes.change(&[home(0)]);
    cluster.nodes[0].put("k", "v").await;
    cluster.homes.change(&[]);
    let before = cluster.homes.asked.borrow().enters;
    asked.wait_for(|asked| asked.enters > before).await.unwrap();
    let back = dsync_core::cache::Incarnation { returns: 1, ..home(0) };
    cluster.homes.change(&[back]);
    cluster.nodes[0].put("other", "v").await;
    assert_eq!(cluster.nodes[0].text("k", ANY).await.unwrap(), None, "nothing is kept");
}

#[tokio::test]
async fn a_node_that_drains_leaves_the_ring_and_refuses_when_it_is_out_of_it() {
    let cluster = Cluster::serving(1).await;
    cluster.nodes[0].put("k", "v").await;
    cluster.nodes[0].drain().await;
    assert_eq!(cluster.homes.asked.borrow().left, [home(0)]);
    cluster.homes.change(&[]);
    let mut progress = cluster.nodes[0].0.progress.clone();
    progress.wait_for(|progress| progress.home.is_none()).await.unwrap();
    let refused = cluster.nodes[0].write(key("k"), text("w")).await;
    assert_eq!(refused, Err(CacheError::Stopping));
}

#[tokio::test]
async fn a_condition_that_does_not_hold_says_what_is_there() {
    let cluster = Cluster::serving(2).await;
    let version = cluster.nodes[0].put("k", "red").await;
    let write = |condition| Write { condition, ..text("blue") };
    let refused = cluster.nodes[1].write(key("k"), write(Condition::Absent)).await;
    assert_eq!(refused, Ok(WriteOutcome::ConditionFailed(Some(version))));
    let done = cluster.nodes[1].write(key("k"), write(Condition::Version(version))).await;
    assert!(matches!(done, Ok(WriteOutcome::Done(newer)) if newer > version));
}

#[test]
fn more_requests_or_bytes_than_there_is_room_for_are_refused_until_some_are_answered() {
    let room = Room::default();
    let seats: Vec<_> = (0..WAITING_MAX).map(|_| room.seat(0).unwrap()).collect();
    assert_eq!(room.seat(0).unwrap_err(), CacheError::Overloaded);
    drop(seats);
    let all = room.seat(WAITING_BYTES_MAX).unwrap();
    assert_eq!(room.seat(1).unwrap_err(), CacheError::Overloaded);
    drop(all);
    room.seat(1).unwrap();
}
