//! One topic as nodes serve it, on a real Redis: what is merged, who waits, what is given back.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../testing/asked.rs"]
mod asked;
#[path = "../testing/server.rs"]
mod server;

use std::sync::Arc;
use std::time::Duration;

use dsync_core::queue::*;
use dsync_core::types::{BootId, ClusterId, Index, RedisId};
use dsync_redis_store::{
    Address, Delivered, Marker, RedisStore, RedisTopic, ServedTopic, StoreError, Times,
};
use server::Server;
use tokio::time::Instant;

const MARKER: Marker = Marker {
    cluster: ClusterId(1),
    redis: RedisId(2),
    topic: TopicId { index: Index(3), position: 0 },
};

/// A topic, served by several nodes.
async fn serve(server: &Server, nodes: u64) -> Vec<Arc<ServedTopic>> {
    let topic = RedisTopic::new(&MARKER, "orders");
    let address = Address { ..server.address() };
    let mut served = Vec::new();
    for node in 0..nodes {
        let store = Arc::new(RedisStore::new(&address).unwrap());
        store.create(&topic, &TopicSettings::default(), None, soon()).await.unwrap();
        let boot = BootId(100 + node);
        let one = ServedTopic::new(store, topic.clone(), "orders", boot, Rules::default());
        served.push(Arc::new(one));
    }
    served
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

fn item(body: &str, delay_ms: u64) -> PushItem {
    let QueueOperation::Push(push) = asked::push(1, 1) else { panic!("no push") };
    let body = body.to_owned().into();
    PushItem { body, delay_ms, ..push.items[0].clone() }
}

async fn push(topic: &ServedTopic, body: &str, delay_ms: u64) {
    let results = topic.push(vec![item(body, delay_ms)], soon()).await;
    let [Ok(pushed)] = &results[..] else { panic!("{results:?}") };
    assert!(matches!(pushed.outcome, PushOutcome::Pushed(_)), "{pushed:?}");
    assert_eq!(pushed.durability.word(), "memory");
}

/// A request of its own, for one message.
async fn receive(topic: Arc<ServedTopic>, number: u64) -> Delivered {
    let id = ReceiverId { boot: BootId(1), number };
    let receiver = Receiver { id, consumer: None, max: 1, max_bytes: 1_000, visibility_ms: None };
    let times = Times { wait_until: soon(), deadline: soon() };
    topic.receive(SubQueue::Main, receiver, times).await.unwrap().unwrap()
}

fn body(delivered: &Delivered) -> String {
    String::from_utf8(delivered.views()[0].content.body.to_vec()).unwrap()
}

/// How often Redis was asked to run a script.
fn scripts_run(server: &Server) -> u64 {
    let redis::Value::BulkString(text) = server.run("INFO commandstats") else { panic!("no INFO") };
    let text = String::from_utf8(text).unwrap();
    let calls = text.lines().filter_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    calls.filter_map(|it| it.split(',').next()?.parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn two_hundred_pushes_at_once_are_a_few_scripts() {
    let server = Server::start(&[]);
    let topic = serve(&server, 1).await.remove(0);
    let before = scripts_run(&server);
    let pushes: Vec<_> = (0..200)
        .map(|it| {
            let topic = topic.clone();
            tokio::spawn(async move { push(&topic, &it.to_string(), 0).await })
        })
        .collect();
    for push in pushes {
        push.await.unwrap();
    }
    // The first goes alone, the rest in batches of 128 at most; the script was unknown once.
    let scripts = scripts_run(&server) - before;
    assert!((2..=5).contains(&scripts), "{scripts}");
}

#[tokio::test]
async fn whoever_waits_gets_what_is_pushed_and_in_the_order_of_coming() {
    let server = Server::start(&[]);
    let topic = serve(&server, 1).await.remove(0);
    let mut waiting = Vec::new();
    for number in 0..3_u32 {
        waiting.push(tokio::spawn(receive(topic.clone(), number.into())));
        while topic.waiting() as u64 <= number.into() {
            tokio::task::yield_now().await;
        }
    }
    for word in ["a", "b", "c"] {
        push(&topic, word, 0).await;
    }
    for (waiting, word) in waiting.into_iter().zip(["a", "b", "c"]) {
        let delivered = waiting.await.unwrap();
        assert_eq!(body(&delivered), word);
        delivered.hand_over();
    }
}

#[tokio::test]
async fn whoever_waits_gets_what_becomes_ready_and_what_came_through_another_node() {
    let server = Server::start(&[]);
    let nodes = serve(&server, 2).await;
    let waiting = tokio::spawn(receive(nodes[0].clone(), 1));
    push(&nodes[0], "delayed", 150).await;
    let delivered = waiting.await.unwrap();
    assert_eq!(body(&delivered), "delayed");
    delivered.hand_over();
    let waiting = tokio::spawn(receive(nodes[0].clone(), 2));
    push(&nodes[1], "elsewhere", 0).await;
    let delivered = waiting.await.unwrap();
    assert_eq!(body(&delivered), "elsewhere");
    delivered.hand_over();
}

#[tokio::test]
async fn what_was_delivered_to_a_client_that_has_gone_is_given_back_uncounted() {
    let server = Server::start(&[]);
    let topic = serve(&server, 1).await.remove(0);
    push(&topic, "a", 0).await;
    let delivered = receive(topic.clone(), 1).await;
    assert_eq!(delivered.views()[0].deliveries, 1);
    drop(delivered);
    let again = receive(topic.clone(), 2).await;
    assert_eq!((body(&again).as_str(), again.views()[0].deliveries), ("a", 1));
    let settled = SettleItem {
        delivery: DeliveryRef::Receipt(again.views()[0].receipt),
        verdict: Verdict::Ack,
    };
    again.hand_over();
    let results = topic.settle(vec![settled.clone(), settled], soon()).await;
    assert!(
        matches!(results[..], [Ok(SettleOutcome::Acked), Ok(SettleOutcome::Stale)]),
        "{results:?}"
    );
}

#[tokio::test]
async fn a_wait_that_is_over_has_received_nothing() {
    let server = Server::start(&[]);
    let topic = serve(&server, 1).await.remove(0);
    let id = ReceiverId { boot: BootId(1), number: 1 };
    let receiver = Receiver { id, consumer: None, max: 1, max_bytes: 1_000, visibility_ms: None };
    let times = Times { wait_until: Instant::now(), deadline: soon() };
    let none = topic.receive(SubQueue::Main, receiver.clone(), times).await.unwrap();
    assert!(none.is_none());
    push(&topic, "a", 0).await;
    // Without waiting, what is there is had all the same.
    let had = topic.receive(SubQueue::Main, receiver, times).await.unwrap();
    assert_eq!(body(&had.unwrap()), "a");
}

#[tokio::test]
async fn a_redis_that_is_gone_or_was_emptied_is_no_empty_queue() {
    let server = Server::start(&[]);
    let topic = serve(&server, 1).await.remove(0);
    push(&topic, "a", 0).await;
    let receive = |number| {
        let id = ReceiverId { boot: BootId(1), number };
        let receiver = Receiver { id, consumer: None, max: 1, max_bytes: 1, visibility_ms: None };
        let deadline = Instant::now() + Duration::from_millis(300);
        topic.receive(SubQueue::Main, receiver, Times { wait_until: Instant::now(), deadline })
    };
    let code = |result: Result<Option<Delivered>, StoreError>| match result {
        Err(StoreError::Redis(problem)) => problem.code(),
        other => panic!("{other:?}"),
    };
    server.run("FLUSHALL");
    assert_eq!(code(receive(1).await), "redis_replaced");
    drop(server);
    assert_eq!(code(receive(2).await), "redis_unreachable");
}
