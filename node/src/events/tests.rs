//! Watchers at every pace.

use std::time::Duration;

use dsync_core::audit::{AuditRecord, Event};
use dsync_core::locks::{EventItem, LockEvent, Mode, Owner, What};
use dsync_core::types::{ClusterTime, Index};
use tokio::time::{Instant, timeout};

use super::*;

fn record(number: u64, lock: &str) -> AuditRecord {
    let (name, mode) = (lock.to_owned(), Mode::Exclusive);
    let event = LockEvent {
        what: What::Granted,
        owner: Owner { principal: "p".into(), name: "o".into() },
        items: vec![EventItem { name, mode, permits: 1, token: number }],
        hold: None,
        wait: None,
        attachment: None,
        elapsed_ms: 0,
        detail: String::new(),
    };
    let (index, stamp) = (Index(number), ClusterTime(number));
    AuditRecord { number, index, stamp, event: Event::Lock(event) }
}

fn push(events: &Events, numbers: impl IntoIterator<Item = u64>) {
    events.push(numbers.into_iter().map(|number| record(number, "x")));
}

async fn take(watch: &mut Subscription, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    for _ in 0..count {
        let next = timeout(Duration::from_secs(60), watch.next()).await;
        numbers.push(next.expect("a record in time").unwrap().number);
    }
    numbers
}

async fn is_quiet(watch: &mut Subscription) -> bool {
    timeout(Duration::from_millis(50), watch.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_watcher_gets_what_comes_after_it_began() {
    let events = Events::new(0);
    push(&events, 1..=3);
    let mut watch = events.subscribe(None, EventFilter::All).unwrap();
    assert!(is_quiet(&mut watch).await);
    push(&events, 4..=5);
    assert_eq!(take(&mut watch, 2).await, [4, 5]);
    assert!(is_quiet(&mut watch).await);
    push(&events, 6..=6);
    assert_eq!(take(&mut watch, 1).await, [6]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_goes_on_exactly_where_it_stopped() {
    let events = Events::new(0);
    push(&events, 1..=3);
    let mut watch = events.subscribe(Some(1), EventFilter::All).unwrap();
    assert_eq!(take(&mut watch, 2).await, [1, 2]);
    let position = watch.position();
    drop(watch);
    push(&events, 4..=4);
    let mut watch = events.subscribe(Some(position), EventFilter::All).unwrap();
    assert_eq!(take(&mut watch, 2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_not_there_yet_is_waited_for() {
    let events = Events::new(0);
    let mut watch = events.subscribe(Some(3), EventFilter::All).unwrap();
    push(&events, 1..=2);
    assert!(is_quiet(&mut watch).await);
    push(&events, 3..=3);
    assert_eq!(take(&mut watch, 1).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn who_wants_what_is_not_kept_any_more_is_told_the_oldest_that_is() {
    let events = Events::bounded(0, 4, usize::MAX);
    let mut slow = events.subscribe(Some(1), EventFilter::All).unwrap();
    push(&events, 1..=6);
    assert_eq!((events.oldest(), events.head()), (3, 6));
    assert_eq!(slow.next().await, Err(WatchEnd::Compacted { oldest: 3 }));
    let refused = events.subscribe(Some(2), EventFilter::All).unwrap_err();
    assert_eq!(refused, WatchEnd::Compacted { oldest: 3 });
    let mut watch = events.subscribe(Some(3), EventFilter::All).unwrap();
    assert_eq!(take(&mut watch, 4).await, [3, 4, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn the_ring_is_bounded_in_bytes_too() {
    let events = Events::bounded(0, 1_000, 10_000);
    events.push((1..=100).map(|number| record(number, &"n".repeat(1_000))));
    let kept = events.head() + 1 - events.oldest();
    assert!((5..10).contains(&kept), "{kept} records of a little more than 1,000 bytes");
    // A record that is larger than the bound is kept alone.
    events.push([record(101, &"n".repeat(20_000))]);
    assert_eq!((events.oldest(), events.head()), (101, 101));
    push(&events, 102..=150);
    assert!(events.oldest() > 101 && events.head() == 150);
}

#[tokio::test(start_paused = true)]
async fn after_a_snapshot_the_ring_begins_behind_its_trail() {
    let events = Events::new(0);
    push(&events, 1..=3);
    let mut behind = events.subscribe(Some(2), EventFilter::All).unwrap();
    let mut exact = events.subscribe(Some(11), EventFilter::All).unwrap();
    events.restart(10);
    assert_eq!(behind.next().await, Err(WatchEnd::Compacted { oldest: 11 }));
    push(&events, 11..=12);
    assert_eq!(take(&mut exact, 2).await, [11, 12]);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_that_waits_is_woken_by_a_snapshot_that_passes_it() {
    let events = Events::new(3);
    let mut watch = events.subscribe(Some(4), EventFilter::All).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    sleep(Duration::from_millis(1)).await;
    events.restart(10);
    let end = timeout(Duration::from_secs(60), waiting).await.expect("it is woken");
    assert_eq!(end.unwrap(), Err(WatchEnd::Compacted { oldest: 11 }));
}

#[tokio::test(start_paused = true)]
async fn a_name_or_a_prefix_is_picked_out() {
    let events = Events::new(0);
    let name = EventFilter::Name("jobs/1".into());
    let mut name = events.subscribe(None, name).unwrap();
    let mut prefix = events.subscribe(None, EventFilter::Prefix("jobs/".into())).unwrap();
    let locks = ["jobs/1", "jobs/2", "other", "jobs/10", "jobs/1"];
    events.push((1..).zip(locks).map(|(number, lock)| record(number, lock)));
    assert_eq!(take(&mut name, 2).await, [1, 5]);
    assert_eq!(take(&mut prefix, 4).await, [1, 2, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn many_are_told_at_once_after_a_quiet_time_and_of_a_burst_together() {
    let events = Events::new(0);
    let subscribe = |_| events.subscribe(None, EventFilter::All).unwrap();
    let mut watchers: Vec<Subscription> = (0..100).map(subscribe).collect();
    let began = Instant::now();
    push(&events, [1]);
    assert_eq!(take(&mut watchers[0], 1).await, [1]);
    assert_eq!(began.elapsed(), Duration::ZERO);
    let mut first = watchers.remove(0);
    let told = tokio::spawn(async move { (take(&mut first, 2).await, first) });
    tokio::task::yield_now().await;
    push(&events, [2]);
    push(&events, [3]);
    let (seen, mut first) = told.await.unwrap();
    assert_eq!((seen, began.elapsed()), (vec![2, 3], rest(100)));
    sleep(Duration::from_secs(1)).await;
    let told = tokio::spawn(async move { take(&mut first, 1).await });
    tokio::task::yield_now().await;
    let quiet_until = Instant::now();
    push(&events, [4]);
    assert_eq!((told.await.unwrap(), quiet_until.elapsed()), (vec![4], Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn watches_end_when_the_node_stops() {
    let events = Events::new(0);
    let mut watch = events.subscribe(None, EventFilter::All).unwrap();
    let waiting = tokio::spawn(async move { watch.next().await });
    sleep(Duration::from_millis(1)).await;
    events.close();
    assert_eq!(waiting.await.unwrap(), Err(WatchEnd::Stopping));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_watchers_see_every_record_in_order_while_one_is_stalled() {
    const RECORDS: u64 = 2_000;
    let events = Events::bounded(0, 1_000, usize::MAX);
    let mut stalled = events.subscribe(Some(1), EventFilter::All).unwrap();
    let watch = |_| {
        let mut watch = events.subscribe(Some(1), EventFilter::All).unwrap();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Ok(record) = watch.next().await {
                seen.push(record.number);
                if record.number == RECORDS {
                    return seen;
                }
            }
            seen
        })
    };
    let watchers: Vec<_> = (0..1_000).map(watch).collect();
    for number in 1..=RECORDS {
        push(&events, [number]);
        if number.is_multiple_of(50) {
            // As the driver does between batches; longer than a tenth of the ring lasts in a rest.
            sleep(Duration::from_millis(10)).await;
        }
    }
    for watcher in watchers {
        let seen = watcher.await.unwrap();
        // A slow one may fall out of the ring; what it saw has no gap.
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<_>>());
    }
    assert_eq!(stalled.next().await, Err(WatchEnd::Compacted { oldest: RECORDS - 999 }));
}
