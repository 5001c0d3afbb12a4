//! The worker, against nodes that say what they are told to say.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{DeliveryLoss, HandlerError, Job, Worker, WorkerEvent};
use crate::fake_node::{FakeNode, Request, Say, ok, problem};
use crate::{Client, ClientSettings, Error};

fn client(node: &FakeNode) -> Client {
    Client::new([&node.address]).unwrap()
}

fn message(number: usize, remaining_ms: u64) -> Value {
    json!({ "id": format!("{number}.0"), "receipt": format!("r{number}"), "body": number, "headers": {},
            "deliveries": 1, "remaining_ms": remaining_ms, "pushed_ms": 1, "age_ms": 1, "priority": 0,
            "group": null, "failures": null, "death": null })
}

/// What a settle of one item is answered.
fn settled(request: &Request) -> Say {
    let item = &request.body["items"][0];
    let outcome = match item["action"].as_str() {
        Some("ack") => "acked",
        Some("extend") => "extended",
        Some("reject") => "dead",
        _ => "nacked",
    };
    ok(
        &json!({ "results": [{ "receipt": item["receipt"], "outcome": outcome, "delay_ms": item["delay"],
                              "remaining_ms": item["visibility"] }], "index": 1 }),
    )
}

fn stale() -> Say {
    problem(409, "stale_receipt", false)
}

/// A topic with so many messages: each is delivered once, and whatever is settled is settled.
fn topic(count: usize, remaining_ms: u64) -> FakeNode {
    topic_that(count, remaining_ms, settled)
}

fn topic_that(
    count: usize,
    remaining_ms: u64,
    mut settle: impl FnMut(&Request) -> Say + Send + 'static,
) -> FakeNode {
    let mut next = 0;
    FakeNode::new(move |request| match request.line.ends_with("/receive") {
        true => {
            let max = usize::try_from(request.body["max"].as_u64().unwrap()).unwrap();
            let first = next;
            next = count.min(first + max);
            let messages: Vec<_> = (first..next).map(|it| message(it, remaining_ms)).collect();
            // Whoever waits for more waits for ever.
            match messages.is_empty() && request.body["wait"].as_u64() > Some(0) {
                true => Say::Nothing,
                false => ok(&json!({ "messages": messages, "index": 1 })),
            }
        }
        false => settle(request),
    })
}

/// The items that were settled so, in order.
fn items(node: &FakeNode, action: &str) -> Vec<Value> {
    let settles = node.requests().into_iter().filter(|it| it.line.ends_with("/settle"));
    let items = settles.flat_map(|it| it.body["items"].as_array().unwrap().clone());
    items.filter(|item| item["action"] == action).collect()
}

/// Notes what happens.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, event: &WorkerEvent<'_>) {
        let line = match event {
            WorkerEvent::Acked { id } => format!("acked {id}"),
            WorkerEvent::Failed { id, reason, rejected } => {
                format!("failed {id} {reason} {rejected}")
            }
            WorkerEvent::Lost { id, loss } => format!("lost {id} {loss:?}"),
            WorkerEvent::GivenBack { id } => format!("given back {id}"),
            WorkerEvent::Unsettled { id, .. } => format!("unsettled {id}"),
            WorkerEvent::Unserved { .. } => "unserved".to_owned(),
        };
        self.0.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = self.0.lock().unwrap().clone();
        lines.sort();
        lines
    }
}

fn worker(node: &FakeNode, log: &Log) -> Worker {
    let log = log.clone();
    Worker::new(&client(node), "mails").observe(move |event| log.note(event))
}

#[tokio::test]
async fn each_message_is_worked_on_and_acknowledged_and_no_more_are_taken_than_are_worked_on() {
    let (node, log) = (topic(20, 30_000), Log::default());
    let (busy, busiest) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, most) = (Arc::clone(&busy), Arc::clone(&busiest));
    let handler = move |job: Job| {
        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let number: usize = job.body.json()?;
            assert_eq!(job.id, format!("{number}.0"));
            tokio::task::yield_now().await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok::<(), HandlerError>(())
        }
    };
    worker(&node, &log).jobs(3).until_empty().run(handler).await.unwrap();
    assert_eq!(items(&node, "ack").len(), 20);
    assert!(log.lines().iter().all(|it| it.starts_with("acked")) && log.lines().len() == 20);
    assert!(busiest.load(Ordering::SeqCst) <= 3);
    let asked = node.requests().into_iter().filter(|it| it.line.ends_with("/receive"));
    assert!(asked.map(|it| it.body["max"].as_u64().unwrap()).all(|max| (1..=3).contains(&max)));
}

#[tokio::test]
async fn what_fails_is_given_back_with_its_reason() {
    let (node, log) = (topic(4, 30_000), Log::default());
    let handler = |job: Job| async move {
        match job.body.json::<u64>()? {
            0 => Err(HandlerError::from("no route")),
            1 => Err(HandlerError::reject("never")),
            2 => Err(HandlerError::retry("later").delay(Duration::from_secs(9))),
            _ => panic!("on purpose"),
        }
    };
    worker(&node, &log).until_empty().run(handler).await.unwrap();
    assert_eq!(
        items(&node, "nack"),
        [
            json!({ "receipt": "r0", "action": "nack", "reason": "no route" }),
            json!({ "receipt": "r2", "action": "nack", "reason": "later", "delay": 9_000 }),
            json!({ "receipt": "r3", "action": "nack", "reason": "the handler panicked" }),
        ]
    );
    assert_eq!(items(&node, "reject")[0]["receipt"], "r1");
    assert!(items(&node, "ack").is_empty());
    assert_eq!(log.lines()[1], "failed 1.0 never true");
}

#[tokio::test]
async fn a_delivery_is_extended_while_its_handler_runs() {
    let extensions = Arc::new(Notify::new());
    let seen = Arc::clone(&extensions);
    let node = topic_that(1, 3_000, move |request| {
        if request.body["items"][0]["action"] == "extend" {
            seen.notify_one();
        }
        settled(request)
    });
    let handler = move |job: Job| {
        let extensions = Arc::clone(&extensions);
        async move {
            // Until two were seen: it has lived for longer than to its first end less one third.
            extensions.notified().await;
            extensions.notified().await;
            job.check()
        }
    };
    worker(&node, &Log::default())
        .visibility(Duration::from_secs(3))
        .until_empty()
        .run(handler)
        .await
        .unwrap();
    let extended = items(&node, "extend");
    assert!(extended.len() >= 2, "{extended:?}");
    assert_eq!(extended[0], json!({ "receipt": "r0", "action": "extend", "visibility": 3_000 }));
    assert_eq!(items(&node, "ack").len(), 1);
}

#[tokio::test]
async fn a_handler_is_told_that_its_delivery_is_stale_and_nothing_is_acknowledged() {
    let log = Log::default();
    let node = topic_that(1, 3_000, |request| match request.body["items"][0]["action"].as_str() {
        Some("extend") => stale(),
        _ => settled(request),
    });
    let handler = |job: Job| async move {
        assert_eq!(job.lost().await, DeliveryLoss::Stale);
        Ok::<(), HandlerError>(())
    };
    worker(&node, &log).until_empty().run(handler).await.unwrap();
    assert!(items(&node, "ack").is_empty());
    assert_eq!(log.lines(), ["lost 0.0 Stale"]);
}

#[tokio::test]
async fn a_delivery_that_could_not_be_extended_ends_here_in_time_and_nothing_is_acknowledged_late()
{
    let log = Log::default();
    let node = topic_that(1, 2_000, |_| problem(503, "no_leader", true));
    let handler = |job: Job| async move {
        let granted = job.ends_at();
        assert_eq!(job.lost().await, DeliveryLoss::Expired);
        assert!(crate::BootInstant::now() >= granted);
        assert_eq!(job.remaining(), Duration::ZERO);
        Ok::<(), HandlerError>(())
    };
    worker(&node, &log).until_empty().run(handler).await.unwrap();
    assert!(!items(&node, "extend").is_empty(), "it was tried");
    assert!(items(&node, "ack").is_empty());
    assert_eq!(log.lines(), ["lost 0.0 Expired"]);
}

#[tokio::test]
async fn what_arrives_with_little_left_is_extended_before_it_is_begun() {
    let node = topic(1, 10);
    let handler = |job: Job| async move {
        // Three seconds less a thousandth, less what has gone by.
        assert!(job.remaining() > Duration::from_millis(10));
        Ok::<(), HandlerError>(())
    };
    let visibility = Duration::from_secs(60);
    worker(&node, &Log::default()).visibility(visibility).until_empty().run(handler).await.unwrap();
    let actions: Vec<_> = [items(&node, "extend").len(), items(&node, "ack").len()].into();
    assert_eq!(actions, [1, 1]);
}

#[tokio::test]
async fn what_arrives_and_is_anothers_by_now_is_not_begun() {
    let (log, begun) = (Log::default(), Arc::new(AtomicUsize::new(0)));
    let node = topic_that(1, 10, |_| stale());
    let count = Arc::clone(&begun);
    let handler = move |_: Job| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok::<(), HandlerError>(()) }
    };
    let visibility = Duration::from_secs(60);
    worker(&node, &log).visibility(visibility).until_empty().run(handler).await.unwrap();
    assert_eq!(begun.load(Ordering::SeqCst), 0);
    assert_eq!(log.lines(), ["lost 0.0 Stale"]);
}

#[tokio::test]
async fn told_to_stop_it_hangs_up_and_waits_for_the_handlers_that_run() {
    let (stop, begun) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (node, log) = (Arc::new(topic(1, 30_000)), Log::default());
    let (told, has_begun) = (Arc::clone(&stop), Arc::clone(&begun));
    let go_on = Arc::new(Notify::new());
    let may_end = Arc::clone(&go_on);
    let handler = move |_: Job| {
        let (has_begun, may_end) = (Arc::clone(&has_begun), Arc::clone(&may_end));
        async move {
            has_begun.notify_one();
            may_end.notified().await;
            Ok::<(), HandlerError>(())
        }
    };
    let worker = worker(&node, &log).jobs(2).stop_when(async move { told.notified().await });
    let running = tokio::spawn(worker.run(handler));
    begun.notified().await;
    see(&node, |node| node.await_requests("/receive", 2)).await;
    stop.notify_one();
    see(&node, |node| node.await_hang_ups(1)).await;
    assert!(!running.is_finished());
    go_on.notify_one();
    running.await.unwrap().unwrap();
    assert_eq!(log.lines(), ["acked 0.0"]);
}

#[tokio::test]
async fn told_to_stop_it_gives_back_at_once_what_was_not_begun() {
    let (stop, log) = (Arc::new(Notify::new()), Log::default());
    let told = Arc::clone(&stop);
    // The extension that is needed before anything is begun is not answered.
    let node =
        Arc::new(topic_that(1, 10, |request| match request.body["items"][0]["action"].as_str() {
            Some("extend") => Say::Nothing,
            _ => settled(request),
        }));
    let worker = worker(&node, &log)
        .visibility(Duration::from_secs(60))
        .stop_when(async move { told.notified().await });
    let running = tokio::spawn(worker.run(|_: Job| async { Ok::<(), HandlerError>(()) }));
    see(&node, |node| node.await_requests("/settle", 1)).await;
    stop.notify_one();
    running.await.unwrap().unwrap();
    assert_eq!(items(&node, "nack"), [json!({ "receipt": "r0", "action": "nack", "delay": 0 })]);
    assert_eq!(log.lines(), ["given back 0.0"]);
}

/// Waits for something that a fake node sees, without stopping the runtime.
async fn see<T: Send + 'static>(
    node: &Arc<FakeNode>,
    what: impl FnOnce(&FakeNode) -> T + Send + 'static,
) -> T {
    let node = Arc::clone(node);
    tokio::task::spawn_blocking(move || what(&node)).await.unwrap()
}

#[tokio::test]
async fn a_worker_may_start_before_the_first_push_and_outlives_a_cluster_that_is_away() {
    let log = Log::default();
    let mut turn = 0;
    let node = FakeNode::new(move |request| {
        turn += 1;
        match (turn, request.line.ends_with("/receive")) {
            (1, _) => problem(404, "no_such_topic", false),
            (2, _) => problem(503, "no_leader", true),
            (_, true) => ok(&json!({ "messages": [message(0, 30_000)], "index": 1 })),
            (_, false) => settled(request),
        }
    });
    // So hasty that one answer without a leader is an error.
    let hasty = ClientSettings { deadline: Duration::ZERO, ..Default::default() };
    let client = Client::with_settings([&node.address], hasty).unwrap();
    let done = Arc::new(Notify::new());
    let (stop, noted) = (Arc::clone(&done), log.clone());
    Worker::new(&client, "mails")
        .observe(move |event| noted.note(event))
        .stop_when(async move { stop.notified().await })
        .run(move |_: Job| {
            done.notify_one();
            async { Ok::<(), HandlerError>(()) }
        })
        .await
        .unwrap();
    let lines = log.lines();
    assert!(lines.contains(&"acked 0.0".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_refusal_that_no_repeat_mends_ends_it() {
    let node = FakeNode::scripted([problem(400, "invalid_field", false)]);
    let ended =
        worker(&node, &Log::default()).run(|_: Job| async { Ok::<(), HandlerError>(()) }).await;
    assert!(matches!(ended, Err(Error::Refused { .. })), "{ended:?}");
}
