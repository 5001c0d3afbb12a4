//! Requests that wait for messages, and clients that leave.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dsync_core::machine::Operation;
use dsync_core::queue::QueueOperation;
use serde_json::{Value, json};

use super::queues::{push, receive};
use super::{FakeNode, node, ok};

/// Lets everything else run until `done`.
async fn until(mut done: impl FnMut() -> bool) {
    while !done() {
        tokio::task::yield_now().await;
    }
}

fn receives(node: &FakeNode) -> usize {
    count(node, |it| matches!(it, QueueOperation::Receive(_)))
}

fn count(node: &FakeNode, is: impl Fn(&QueueOperation) -> bool) -> usize {
    let operations = node.operations.lock().unwrap();
    let wanted =
        |it: &&Operation| matches!(it, Operation::Queue { operation, .. } if is(operation));
    operations.iter().filter(wanted).count()
}

fn totals(node: &FakeNode, topic: &str) -> Value {
    let machine = node.machine.load();
    let view = machine.queues().topic(topic).unwrap();
    json!({ "given_back": view.totals.given_back, "ready": view.main.ready })
}

#[tokio::test]
async fn whoever_waits_is_served_by_the_push_and_an_empty_poll_costs_no_entry() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }])).await;
    assert_eq!(receive(&node, "t", json!({})).await.len(), 1);
    assert_eq!(receive(&node, "t", json!({})).await.len(), 0);
    assert_eq!(receives(&node), 1);
    let waiting = receive(&node, "t", json!({ "wait": "60s" }));
    let pushing = async {
        until(|| node.site.node.queues().waiting() == 1).await;
        assert_eq!(receives(&node), 1, "nothing was asked of the log");
        push(&node, "t", json!([{ "body": 7 }])).await
    };
    let (messages, _) = tokio::join!(waiting, pushing);
    assert_eq!(messages[0]["body"], 7);
    assert_eq!(receives(&node), 2);
}

#[tokio::test]
async fn one_entry_serves_all_who_wait_in_their_order() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }])).await;
    receive(&node, "t", json!({})).await;
    let before = receives(&node);
    let first = receive(&node, "t", json!({ "wait": "60s" }));
    let second = async {
        until(|| node.site.node.queues().waiting() == 1).await;
        receive(&node, "t", json!({ "wait": "60s" })).await
    };
    let pushing = async {
        until(|| node.site.node.queues().waiting() == 2).await;
        push(&node, "t", json!([{ "body": 1 }, { "body": 2 }])).await
    };
    let (first, second, _) = tokio::join!(first, second, pushing);
    assert_eq!((&first[0]["body"], &second[0]["body"]), (&json!(1), &json!(2)));
    assert_eq!(receives(&node), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_is_answered_with_nothing() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }])).await;
    receive(&node, "t", json!({})).await;
    assert_eq!(receive(&node, "t", json!({ "wait": "60s" })).await.len(), 0);
    assert_eq!(node.site.node.queues().waiting(), 0);
}

#[tokio::test]
async fn a_client_that_leaves_before_its_answer_has_received_nothing() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }])).await;
    {
        let path = "/v1/queues/t/receive";
        let body = json!({ "wait": "60s" });
        let mut request = pin!(node.post_json(path, &body));
        // It is named by a command, and hangs up before the answer is drawn.
        while receives(&node) == 0 {
            let polled = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
            tokio::task::yield_now().await;
        }
    }
    until(|| totals(&node, "t") == json!({ "given_back": 1, "ready": 1 })).await;
    let messages = receive(&node, "t", json!({})).await;
    assert_eq!(messages[0]["deliveries"], 1, "the delivery that nobody saw is not counted");
}

#[tokio::test]
async fn a_client_that_leaves_while_it_waits_leaves_its_place() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }])).await;
    receive(&node, "t", json!({})).await;
    {
        let body = json!({ "wait": "60s" });
        let mut request = pin!(node.post_json("/v1/queues/t/receive", &body));
        while node.site.node.queues().waiting() == 0 {
            let polled = request.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(matches!(polled, Poll::Pending));
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(node.site.node.queues().waiting(), 0);
}

#[tokio::test]
async fn a_node_that_stops_sends_those_who_wait_elsewhere() {
    let node = node();
    push(&node, "t", json!([{ "body": 0 }])).await;
    receive(&node, "t", json!({})).await;
    let body = json!({ "wait": "60s" });
    let waiting = node.post_json("/v1/queues/t/receive", &body);
    let stopping = async {
        until(|| node.site.node.queues().waiting() == 1).await;
        node.site.node.queues().stop();
    };
    let (reply, ()) = tokio::join!(waiting, stopping);
    super::problem(&reply, 503, "stopping");
}

#[tokio::test]
async fn what_is_pushed_at_the_same_time_is_one_command() {
    let node = node();
    let bodies: Vec<Value> =
        (0..40).map(|n| json!({ "messages": [{ "body": n }, { "body": "x" }] })).collect();
    let pushes = bodies.iter().map(|body| ok(&node, "/v1/queues/t/push", body.clone()));
    let answers = futures_of(pushes).await;
    let pushes = count(&node, |it| matches!(it, QueueOperation::Push(_)));
    assert!(pushes <= 10, "{pushes} commands for 40 requests");
    let mut ids: Vec<String> = answers
        .iter()
        .flat_map(|answer| answer["results"].as_array().unwrap())
        .map(|result| result["id"].as_str().unwrap().to_owned())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 80, "each has its own");
    let machine = node.machine.load();
    for (at, answer) in answers.iter().enumerate() {
        let id = answer["results"][0]["id"].as_str().unwrap().parse().unwrap();
        let message = machine.queues().message("t", id).unwrap();
        assert_eq!(message.content.body, at.to_string(), "results go back to those who asked");
    }
}

#[tokio::test]
async fn a_batch_that_is_too_large_for_one_command_is_cut() {
    let node = node();
    let large = "m".repeat(200_000);
    let items: Vec<Value> = (0..6).map(|n| json!({ "body": format!("{n}{large}") })).collect();
    let answer = push(&node, "t", json!(items)).await;
    assert_eq!(answer["results"].as_array().unwrap().len(), 6);
    assert_eq!(count(&node, |it| matches!(it, QueueOperation::Push(_))), 3);
    let messages = receive(&node, "t", json!({ "max": 9, "max_bytes": 450_000 })).await;
    let first = |it: &Value| it["body"].as_str().unwrap()[..1].to_owned();
    assert_eq!(messages.iter().map(first).collect::<Vec<_>>(), ["0", "1"]);
}

/// All of them at once.
async fn futures_of<F: Future<Output = Value>>(all: impl Iterator<Item = F>) -> Vec<Value> {
    let mut pending: Vec<_> = all.map(|it| (Box::pin(it), None)).collect();
    std::future::poll_fn(move |context| {
        for (future, done) in pending.iter_mut().filter(|(_, done)| done.is_none()) {
            if let Poll::Ready(value) = future.as_mut().poll(context) {
                *done = Some(value);
            }
        }
        match pending.iter().all(|(_, done)| done.is_some()) {
            true => Poll::Ready(pending.iter_mut().filter_map(|(_, done)| done.take()).collect()),
            false => Poll::Pending,
        }
    })
    .await
}
