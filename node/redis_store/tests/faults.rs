//! What goes wrong with a Redis, on a real one: each is told by its name, and nothing is lost or done twice.

#![allow(clippy::unwrap_used, reason = "a panic is how a test says no")]

#[path = "../testing/asked.rs"]
mod asked;
#[path = "../testing/server.rs"]
mod server;

use std::time::Duration;

use asked::{ack, delete, push, receive};
use dsync_core::queue::*;
use dsync_core::types::{BootId, ClusterId, Index, RedisId};
use dsync_redis_store::{
    Address, Batch, Done, Durability, Marker, RedisProblem, RedisStore, RedisTopic, StoreError,
    Stream, Terms,
};
use rustix::process::Signal;
use server::Server;
use tokio::time::Instant;

const MARKER: Marker = Marker {
    cluster: ClusterId(1),
    redis: RedisId(2),
    topic: TopicId { index: Index(3), position: 0 },
};

/// One store with one topic.
struct Stage {
    server: Server,
    store: RedisStore,
    topic: RedisTopic,
    rules: Rules,
    batches: u64,
}

impl Stage {
    async fn new(config: &[&str]) -> Self {
        let stage = Self::without_topic(config);
        stage.create(&MARKER, None).await.unwrap();
        stage
    }

    fn without_topic(config: &[&str]) -> Self {
        let server = Server::start(config);
        let store = RedisStore::new(&server.address()).unwrap();
        let (topic, rules) = (RedisTopic::new(&MARKER, "orders"), Rules::default());
        Self { server, store, topic, rules, batches: 0 }
    }

    async fn create(&self, marker: &Marker, before: Option<&Marker>) -> Result<(), RedisProblem> {
        let topic = RedisTopic::new(marker, "orders");
        self.store.create(&topic, &TopicSettings::default(), before, soon()).await
    }

    fn batch(&mut self, stream: Stream) -> Batch {
        self.batches += 1;
        Batch { boot: BootId(5), stream, number: self.batches }
    }

    async fn send(
        &self,
        operation: &QueueOperation,
        batch: Option<Batch>,
    ) -> Result<Done, StoreError> {
        let terms = Terms { rules: &self.rules, batch, deadline: soon() };
        let random = batch.map_or(0, |it| it.number);
        self.store.apply(&self.topic, operation, random, terms).await
    }

    async fn done(&mut self, operation: &QueueOperation) -> Done {
        let batch = self.batch(Stream::Admin);
        self.send(operation, Some(batch)).await.unwrap()
    }

    async fn view(&self) -> TopicView {
        let terms = Terms { rules: &self.rules, batch: None, deadline: soon() };
        self.store.topic(&self.topic, "orders", MARKER.topic, terms).await.unwrap().0
    }

    /// What keeps an operation from being done.
    async fn problem(&self, operation: &QueueOperation) -> RedisProblem {
        match self.send(operation, None).await {
            Err(StoreError::Redis(problem)) => problem,
            other => panic!("{other:?}"),
        }
    }
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(30)
}

#[tokio::test]
async fn a_message_goes_from_push_to_ack_by_redis_own_clock() {
    let mut stage = Stage::new(&[]).await;
    stage.done(&push(2, 10)).await;
    let Done { deliveries, status, .. } = stage.done(&receive(1)).await;
    assert_eq!(deliveries[0].ends_at, status.now.plus(30_000));
    assert_eq!(status.deliverable, 1);
    stage.done(&ack(&deliveries)).await;
    let view = stage.view().await;
    assert_eq!((view.main.sum(), view.totals.acked), (1, 1));
}

#[tokio::test]
async fn a_redis_that_was_emptied_is_not_taken_for_an_empty_queue() {
    let mut stage = Stage::new(&[]).await;
    stage.done(&push(1, 10)).await;
    stage.server.run("FLUSHALL");
    for operation in [push(1, 10), receive(1), delete()] {
        assert_eq!(stage.problem(&operation).await, RedisProblem::Replaced);
    }
    assert_eq!(stage.server.run("DBSIZE"), redis::Value::Int(0), "something was written");
    assert_eq!(stage.store.problems()["redis_replaced"], 3);
    // The cluster adopts it, under another id.
    let adopted = Marker { redis: RedisId(9), ..MARKER };
    stage.create(&adopted, Some(&MARKER)).await.unwrap();
    assert_eq!(stage.problem(&push(1, 10)).await, RedisProblem::Replaced, "by its old id");
    stage.topic = RedisTopic::new(&adopted, "orders");
    stage.done(&push(1, 10)).await;
    assert_eq!(stage.view().await.main.ready, 1);
}

#[tokio::test]
async fn a_redis_that_was_set_back_is_adopted_with_what_it_holds() {
    let mut stage = Stage::new(&[]).await;
    stage.done(&push(3, 10)).await;
    let adopted = Marker { redis: RedisId(9), ..MARKER };
    stage.create(&adopted, Some(&MARKER)).await.unwrap();
    stage.topic = RedisTopic::new(&adopted, "orders");
    assert_eq!(stage.done(&receive(5)).await.deliveries.len(), 3);
}

#[tokio::test]
async fn a_node_whose_log_lags_changes_nothing_in_the_next_topic_of_the_name() {
    let mut stage = Stage::new(&[]).await;
    stage.done(&push(1, 10)).await;
    let full = stage.done(&delete()).await.outcome;
    assert_eq!(full, QueueOutcome::Refused(QueueRefusal::NotEmpty { messages: 1 }));
    let deliveries = stage.done(&receive(1)).await.deliveries;
    stage.done(&ack(&deliveries)).await;
    assert_eq!(stage.done(&delete()).await.outcome, QueueOutcome::Deleted);
    assert_eq!(stage.problem(&push(1, 10)).await, RedisProblem::TopicClosed, "it is closed");
    assert_eq!(stage.create(&MARKER, None).await, Err(RedisProblem::TopicMoved));
    // Its keys are still there, and the name is used again.
    let next = Marker { topic: TopicId { index: Index(4), position: 0 }, ..MARKER };
    stage.create(&next, None).await.unwrap();
    assert_eq!(stage.problem(&push(1, 10)).await, RedisProblem::TopicMoved, "it is another");
    stage.store.drop_closed(&stage.topic, soon()).await.unwrap();
    stage.topic = RedisTopic::new(&next, "orders");
    let view = stage.view().await;
    assert_eq!((view.totals.pushed, view.main.sum()), (0, 0));
}

#[tokio::test]
async fn a_batch_that_is_sent_twice_is_done_once() {
    let mut stage = Stage::new(&[]).await;
    let batch = stage.batch(Stream::Push);
    let first = stage.send(&push(2, 10), Some(batch)).await.unwrap();
    stage.server.run("SCRIPT FLUSH");
    assert_eq!(stage.send(&push(2, 10), Some(batch)).await.unwrap().outcome, first.outcome);
    assert_eq!(stage.view().await.main.ready, 2);
    let batch = stage.batch(Stream::Receive);
    let first = stage.send(&receive(1), Some(batch)).await.unwrap();
    let again = stage.send(&receive(1), Some(batch)).await.unwrap();
    assert_eq!((again.outcome, again.deliveries), (first.outcome, first.deliveries.clone()));
    stage.done(&ack(&first.deliveries)).await;
    let again = stage.send(&receive(1), Some(batch)).await.unwrap();
    assert_eq!(again.deliveries, [], "what was settled is not delivered again");
    assert_eq!(stage.view().await.main.ready, 1);
}

#[tokio::test]
async fn a_batch_that_comes_after_a_later_one_changes_nothing() {
    let mut stage = Stage::new(&[]).await;
    let (old, new) = (stage.batch(Stream::Push), stage.batch(Stream::Push));
    stage.send(&push(1, 10), Some(new)).await.unwrap();
    let late = stage.send(&push(1, 10), Some(old)).await;
    assert_eq!(late, Err(StoreError::Redis(RedisProblem::OldBatch)));
    assert_eq!(stage.view().await.main.ready, 1);
}

#[tokio::test]
async fn a_redis_without_memory_takes_nothing_in_and_gives_out_what_it_has() {
    let mut stage = Stage::new(&["--maxmemory", "16mb"]).await;
    let mut pushed = 0;
    let problem = loop {
        let batch = stage.batch(Stream::Push);
        match stage.send(&push(100, 10_000), Some(batch)).await {
            Ok(_) => pushed += 100,
            Err(StoreError::Redis(problem)) => break problem,
            Err(refused) => panic!("{refused}"),
        }
    };
    assert_eq!(problem, RedisProblem::OutOfMemory);
    assert_eq!(stage.view().await.totals.pushed, pushed, "half a push was written");
    let mut settled = 0;
    loop {
        let deliveries = stage.done(&receive(50)).await.deliveries;
        if deliveries.is_empty() {
            break;
        }
        settled += deliveries.len() as u64;
        stage.done(&ack(&deliveries)).await;
    }
    assert_eq!(settled, pushed);
    stage.done(&push(100, 10_000)).await;
}

#[tokio::test]
async fn a_redis_that_would_throw_messages_away_is_not_taken() {
    let stage = Stage::without_topic(&["--maxmemory-policy", "allkeys-lru"]);
    let problem = stage.create(&MARKER, None).await.unwrap_err();
    assert_eq!(problem, RedisProblem::EvictionPolicy("allkeys-lru".to_owned()));
    assert_eq!(stage.server.run("DBSIZE"), redis::Value::Int(0));
}

#[tokio::test]
async fn a_redis_that_became_a_replica_is_told_and_found_again() {
    let mut stage = Stage::new(&["--replica-serve-stale-data", "yes"]).await;
    stage.done(&push(1, 10)).await;
    stage.server.run("REPLICAOF 127.0.0.1 1");
    let terms = Terms { rules: &stage.rules, batch: None, deadline: Instant::now() };
    let refused = stage.store.apply(&stage.topic, &push(1, 10), 6, terms).await;
    assert_eq!(refused, Err(StoreError::Redis(RedisProblem::ReadOnly)));
    stage.server.run("REPLICAOF NO ONE");
    stage.done(&push(1, 10)).await;
    assert_eq!(stage.view().await.main.ready, 2);
}

#[tokio::test]
async fn a_redis_that_was_killed_comes_back_with_all_it_has_acknowledged() {
    let mut stage = Stage::new(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let batch = stage.batch(Stream::Push);
    let first = stage.send(&push(3, 10), Some(batch)).await.unwrap();
    assert_eq!(first.status.durability, Durability::Fsync);
    stage.server.kill_and_restart();
    // Whoever did not hear the answer sends it again, over a new connection.
    assert_eq!(stage.send(&push(3, 10), Some(batch)).await.unwrap().outcome, first.outcome);
    let deliveries = stage.done(&receive(10)).await.deliveries;
    assert_eq!(deliveries.len(), 3);
    stage.server.kill_and_restart();
    stage.done(&ack(&deliveries)).await;
    let view = stage.view().await;
    assert_eq!((view.totals.acked, view.main.sum()), (3, 0));
}

const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

#[tokio::test]
async fn a_transaction_that_was_half_written_never_was() {
    let mut stage = Stage::new(&DURABLE).await;
    stage.done(&push(3, 10)).await;
    let deliveries = stage.done(&receive(1)).await.deliveries;
    stage.server.kill_and_restart_after(|log| {
        let half = b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$2";
        let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
        std::io::Write::write_all(&mut log, half).unwrap();
    });
    stage.done(&ack(&deliveries)).await;
    let view = stage.view().await;
    assert_eq!((view.totals.acked, view.main.ready, view.main.sum()), (1, 2, 2));
}

#[tokio::test]
async fn a_disk_that_lost_what_was_synced_makes_no_receipt_work_again() {
    let mut stage = Stage::new(&DURABLE).await;
    stage.done(&push(2, 10)).await;
    let kept = stage.server.log_bytes();
    let lost = stage.done(&receive(1)).await.deliveries;
    stage.done(&push(5, 10)).await;
    stage.server.kill_and_restart_after(|log| {
        std::fs::OpenOptions::new().write(true).open(log).unwrap().set_len(kept + 20).unwrap();
    });
    let stale = QueueOutcome::Settled(vec![SettleOutcome::Stale]);
    assert_eq!(stage.done(&ack(&lost)).await.outcome, stale);
    let again = stage.done(&receive(1)).await.deliveries;
    assert_eq!(again[0].receipt.message, lost[0].receipt.message);
    assert_eq!(stage.done(&ack(&lost)).await.outcome, stale, "though it is delivered again");
    let pushed = stage.done(&push(1, 10)).await.outcome;
    let view = stage.view().await;
    assert_eq!((view.totals.pushed, view.main.sum()), (3, 3), "{pushed:?}");
}

/// A push was sent and its answer did not come in time: nobody knows. Sent again, it is done once.
#[tokio::test]
async fn a_redis_that_stands_still_leaves_a_push_open_until_it_is_sent_again() {
    let mut stage = Stage::new(&[]).await;
    let batch = stage.batch(Stream::Push);
    stage.server.signal(Signal::STOP);
    let terms = Terms { rules: &stage.rules, batch: Some(batch), deadline: Instant::now() };
    let open = stage.store.apply(&stage.topic, &push(1, 10), 1, terms).await;
    let Err(StoreError::Redis(problem)) = open else { panic!("{open:?}") };
    assert_eq!(problem.code(), "outcome_unknown");
    stage.server.signal(Signal::CONT);
    stage.send(&push(1, 10), Some(batch)).await.unwrap();
    assert_eq!(stage.view().await.main.ready, 1);
}

#[tokio::test]
async fn a_redis_with_a_password_lets_in_who_knows_it() {
    let server = Server::start(&["--requirepass", "secret"]);
    let (topic, settings) = (RedisTopic::new(&MARKER, "orders"), TopicSettings::default());
    let stranger = RedisStore::new(&server.address()).unwrap();
    let problem = stranger.create(&topic, &settings, None, soon()).await.unwrap_err();
    assert_eq!(problem.code(), "redis_denied");
    let address = Address { password: Some("secret".to_owned()), ..server.address() };
    let known = RedisStore::new(&address).unwrap();
    known.create(&topic, &settings, None, soon()).await.unwrap();
}

#[tokio::test]
async fn a_redis_behind_tls_is_reached_by_who_trusts_its_signer() {
    let names = vec!["localhost".to_owned()];
    let signed = rcgen::generate_simple_self_signed(names).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, pem: String| {
        std::fs::write(folder.path().join(name), pem).unwrap();
        folder.path().join(name).display().to_string()
    };
    let (cert, key) =
        (file("cert", signed.cert.pem()), file("key", signed.signing_key.serialize_pem()));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tls = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-auth-clients", "no"];
    let port_words = ["--bind", "127.0.0.1", "--tls-port", &port.to_string()].map(str::to_owned);
    let words: Vec<&str> = tls.into_iter().chain(port_words.iter().map(String::as_str)).collect();
    let words = [&words[..], &["--tls-ca-cert-file", &cert]].concat();
    let _server = Server::start(&words);
    let url = format!("rediss://localhost:{port}");
    let (topic, settings) = (RedisTopic::new(&MARKER, "orders"), TopicSettings::default());
    let stranger = RedisStore::new(&Address { url: url.clone(), ..Address::default() }).unwrap();
    let problem = stranger.create(&topic, &settings, None, Instant::now()).await.unwrap_err();
    assert_eq!(problem.code(), "redis_unreachable");
    let ca_pem = Some(signed.cert.pem().into_bytes());
    let trusting = RedisStore::new(&Address { url, ca_pem, ..Address::default() }).unwrap();
    trusting.create(&topic, &settings, None, soon()).await.unwrap();
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_told_when_the_time_is_over() {
    let stage = Stage::without_topic(&[]);
    let Stage { server, store, topic, rules, .. } = stage;
    drop(server);
    let deadline = Instant::now() + Duration::from_millis(200);
    let terms = Terms { rules: &rules, batch: None, deadline };
    let problem = store.clear(&topic, terms).await.unwrap_err();
    assert_eq!(problem.code(), "redis_unreachable");
}
