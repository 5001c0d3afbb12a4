//! `GET /v1/audit`.

use std::sync::Arc;

use dsync_core::machine::{NodeOperation, Operation};
use dsync_core::types::BootCount;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_node::FakeNode;
use crate::audit::fixture::{Chain, applied};
use crate::audit::line;
use crate::audit::{AuditMetrics, AuditPort, TrailOptions};
use crate::handle::SubmitError;

/// A node whose trail has the records 1 to 40 and 61 to 100 of a chain of 100.
struct Bench {
    node: FakeNode,
    chain: Chain,
    folder: TempDir,
    _port: AuditPort,
}

async fn bench() -> Bench {
    let (folder, (chain, machines)) = (TempDir::new().unwrap(), applied(100));
    let options = TrailOptions::new(1 << 20, None);
    let (mut port, reader) =
        AuditPort::start(folder.path(), options, chain.head_at(0), AuditMetrics::default())
            .unwrap();
    port.append(chain.slice(1, 40), chain.head_at(40));
    port.position(chain.head_at(60));
    port.append(chain.slice(61, 100), chain.head);
    let catalog = reader.reach(100).await;
    assert_eq!(catalog.last(), 100);
    let mut node = FakeNode::new(move |operation, published| {
        // Not a request of the test's clients: how the test says where the state is.
        let Operation::Node(NodeOperation::RegisterBoot { count }) = operation else {
            panic!("{operation:?}")
        };
        published.store(Arc::new(machines[usize::try_from(count.0).unwrap()].clone()));
        Err(SubmitError::Unknown)
    });
    node.site = node.site.with_audit(reader);
    Bench { node, chain, folder, _port: port }
}

impl Bench {
    /// The node has applied as much as made the first so many records.
    async fn at(self, records: u64) -> Self {
        let operation = Operation::Node(NodeOperation::RegisterBoot { count: BootCount(records) });
        let submitted = self.node.site.node.submit(operation, std::time::Instant::now()).await;
        assert!(submitted.is_err());
        assert_eq!(self.node.site.node.machine().audit().count, records);
        self
    }

    async fn get(&self, query: &str) -> Value {
        let reply = self.node.get(&format!("/v1/audit?{query}")).await;
        assert_eq!(reply.status, 200, "{query}: {}", reply.text());
        reply.json()
    }
}

fn numbers(answer: &Value) -> Vec<u64> {
    let records = answer["records"].as_array().unwrap().iter();
    records.map(|record| record["number"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn an_answer_has_records_gaps_the_oldest_head_and_the_head() {
    let bench = bench().await.at(100).await;
    let answer = bench.get("limit=2").await;
    let hash = |number| line::hex(&bench.chain.head_at(number).hash);
    assert_eq!(numbers(&answer), [1, 2]);
    assert_eq!(answer["next"], 2);
    assert_eq!(answer["oldest"], json!({ "count": 0, "hash": "0".repeat(64) }));
    assert_eq!(answer["head"], json!({ "count": 100, "hash": hash(100) }));
    let gap = json!({ "from": 41, "to": 60, "hash": hash(60), "cause": "missing" });
    assert_eq!(answer["gaps"], json!([gap]));
    let record = &answer["records"][1];
    assert_eq!(record["hash"], hash(2));
    assert_eq!(record["what"], "released");
    assert_eq!((&record["index"], &record["stamp_ms"]), (&json!(4), &json!(4)));
    assert_eq!((&record["owner"], &record["elapsed_ms"]), (&json!("owner-1"), &json!(1)));
    assert_eq!((&record["hold"], &record["wait"]), (&json!("3-0"), &Value::Null));
    assert_eq!(record["items"][0]["name"], "lock-1");
    assert!(record["time"].as_str().is_some_and(|time| time.ends_with('Z')));
}

#[tokio::test]
async fn pages_follow_each_other_without_a_loss_or_a_repeat() {
    let bench = bench().await.at(100).await;
    for (filter, keep) in [
        ("", (|_| true) as fn(u64) -> bool),
        ("&lock=lock-1", |pair| pair % 3 == 1),
        ("&owner=owner-0", |pair| pair % 5 == 0),
        ("&lock=lock-1&owner=owner-0", |pair| pair % 15 == 10),
        ("&lock=none", |_| false),
    ] {
        let expected: Vec<u64> =
            (1..=40u64).chain(61..=100).filter(|number| keep(number.div_ceil(2))).collect();
        let (mut all, mut after) = (Vec::new(), 0);
        loop {
            let answer = bench.get(&format!("limit=7&after={after}{filter}")).await;
            all.extend(numbers(&answer));
            let Some(next) = answer["next"].as_u64() else { break };
            after = next;
        }
        assert_eq!(all, expected, "{filter}");
    }
}

#[tokio::test]
async fn times_bound_the_search() {
    let bench = bench().await.at(100).await;
    assert_eq!(numbers(&bench.get("from=2020-01-01T00:00:00Z&limit=1000").await).len(), 80);
    assert_eq!(numbers(&bench.get("to=2020-01-01T00:00:00%2B02:00").await), [0; 0]);
    assert_eq!(numbers(&bench.get("from=9999-01-01T00:00:00Z").await), [0; 0]);
    assert_eq!(numbers(&bench.get("from=0&to=99999999999999&limit=3").await), [1, 2, 3]);
}

#[tokio::test]
async fn nothing_behind_the_head_that_was_read_is_shown() {
    let bench = bench().await.at(30).await;
    let answer = bench.get("limit=1000").await;
    assert_eq!(numbers(&answer), (1..=30).collect::<Vec<_>>());
    assert_eq!((&answer["gaps"], &answer["next"]), (&json!([]), &Value::Null));
}

#[tokio::test]
async fn a_wrong_parameter_is_400_and_named() {
    let bench = bench().await;
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=ten", "limit"),
        ("after=-1", "after"),
        ("after=", "after"),
        ("from=yesterday", "from"),
        ("to=2025-02-30T00:00:00Z", "to"),
        ("from=2025-01-02T00:00:00Z&to=2025-01-01T00:00:00Z", "to"),
        ("lock=", "lock"),
        ("owner=", "owner"),
        ("limit=1&limit=2", "limit"),
        ("consistency=maybe", "consistency"),
        ("locks=a", "locks"),
    ] {
        let reply = bench.node.get(&format!("/v1/audit?{query}")).await;
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.header("content-type"), "application/problem+json");
        assert_eq!(reply.json()["field"], field, "{query}");
    }
}

#[tokio::test]
async fn without_a_barrier_only_a_stale_answer_is_given() {
    let bench = bench().await.at(100).await;
    *bench.node.barrier.lock().unwrap() = Err(SubmitError::NoLeader { sent: false });
    assert_eq!(bench.node.get("/v1/audit").await.status, 503);
    let answer = bench.get("consistency=stale&limit=1").await;
    assert_eq!(numbers(&answer), [1]);
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_named_in_the_answer() {
    let bench = bench().await.at(100).await;
    let file = bench.folder.path().join("00000000000000000061.audit");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let answer = bench.get("limit=1000").await;
    let gaps = answer["gaps"].as_array().unwrap();
    let from = gaps[1]["from"].as_u64().unwrap();
    assert!((62..100).contains(&from) && gaps[1]["to"] == 100, "{answer}");
    assert!(gaps[1]["cause"].as_str().is_some_and(|cause| cause.contains("damaged")));
    assert_eq!(numbers(&answer), (1..=40).chain(61..from).collect::<Vec<_>>());
}
