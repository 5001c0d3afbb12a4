//! A node without consensus: a task that takes the driver's end of the handle and answers each
//! operation by a function of the test's choice.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use dsync_core::locks::{AcquireOutcome, LockOutcome};
use dsync_core::machine::{Machine, Operation, Outcome, RequestId};
use dsync_core::raft::{Membership, RaftStatus, RoleKind};
use dsync_core::types::{BootCount, BootId, ClusterId, ClusterTime, Index, NodeId, NodeName, Term};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::mpsc;
use tower::Service;

use crate::caches::fixture;
use crate::handle::{Applied, DriverRequest, NodeHandle, NodeStatus, SubmitError};
use crate::health::Health;
use crate::http::{RequestLimits, Site, admin_router, client_router};
use crate::metrics::Metrics;

/// How a fake node answers operations.
pub type Answer = Result<Applied, SubmitError>;

pub struct FakeNode {
    pub site: Site,
    pub status: Arc<ArcSwap<NodeStatus>>,
    /// What is published.
    pub machine: Arc<ArcSwap<Machine>>,
    /// What read barriers are answered.
    pub barrier: Arc<Mutex<Result<ClusterTime, SubmitError>>>,
    /// Every operation that reached the driver, without its id.
    pub operations: Arc<Mutex<Vec<Operation>>>,
    /// The id of each of them.
    pub ids: Arc<Mutex<Vec<Option<RequestId>>>>,
}

impl FakeNode {
    /// A node that answers operations by a function of the operation and the machine, which the
    /// function may replace.
    pub fn new(
        answer: impl FnMut(&Operation, &ArcSwap<Machine>) -> Answer + Send + 'static,
    ) -> Self {
        let (requests, inbox) = mpsc::channel(16);
        let machine = Arc::new(ArcSwap::from_pointee(Machine::default()));
        let status = Arc::new(ArcSwap::from_pointee(healthy()));
        let barrier = Arc::new(Mutex::new(Ok(ClusterTime(0))));
        let operations = Arc::new(Mutex::new(Vec::new()));
        let ids = Arc::new(Mutex::new(Vec::new()));
        let handle = NodeHandle::new(requests, Arc::clone(&machine), Arc::clone(&status), None);
        let health = Health::new();
        health.set_started();
        let limits =
            RequestLimits { body_timeout: Duration::from_secs(3600), ..RequestLimits::default() };
        let site = Site::new(handle, Metrics::new(), health, limits).with_caches(fixture::alone());
        let driver = Driver {
            machine: Arc::clone(&machine),
            barrier: Arc::clone(&barrier),
            operations: Arc::clone(&operations),
            ids: Arc::clone(&ids),
            answer,
        };
        tokio::spawn(driver.run(inbox));
        Self { site, status, machine, barrier, operations, ids }
    }

    /// A node that says the same to every operation.
    pub fn saying(answer: Result<Outcome, SubmitError>) -> Self {
        Self::new(move |_, _| answer.clone().map(applied))
    }

    /// A node that grants whatever it is asked.
    pub fn granting() -> Self {
        let hold = dsync_core::locks::HoldId { index: Index(7), position: 0 };
        let outcome = AcquireOutcome::Granted { hold, tokens: vec![41], remaining_ms: None };
        Self::saying(Ok(Outcome::Lock(LockOutcome::Acquire(outcome))))
    }

    /// The same node, which gives bodies almost no time.
    pub fn hasty(mut self) -> Self {
        self.site.limits.body_timeout = Duration::from_millis(20);
        self
    }

    pub fn set_status(&self, change: impl FnOnce(&mut NodeStatus)) {
        let mut status = NodeStatus::clone(&self.status.load());
        change(&mut status);
        self.status.store(Arc::new(status));
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        // What plain `curl -d` sends.
        let request = Request::post(path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        call(client_router(self.site.clone()), request).await
    }

    /// As clients of `/v1` send it.
    pub async fn post_json(&self, path: &str, body: &Value) -> Reply {
        self.send(json_request(path, body.to_string())).await
    }

    pub async fn put(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let request = Request::put(path);
        let request = headers.iter().fold(request, |it, (name, value)| it.header(*name, *value));
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    pub async fn delete(&self, path: &str) -> Reply {
        self.send(Request::delete(path).body(Body::empty()).unwrap()).await
    }

    pub async fn patch_json(&self, path: &str, body: &Value) -> Reply {
        let request = Request::patch(path).header(CONTENT_TYPE, "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub async fn admin(&self, path: &str) -> Reply {
        let request = Request::get(path).body(Body::empty()).unwrap();
        call(admin_router(self.site.clone()), request).await
    }
}

pub fn json_request(path: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(path).header(CONTENT_TYPE, "application/json").body(body.into()).unwrap()
}

/// An answer, read to its end.
pub struct Reply {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub async fn call(mut router: Router, mut request: Request<Body>) -> Reply {
    // Every client names the host that it asks.
    let localhost = HeaderValue::from_static("localhost");
    request.headers_mut().entry(HOST).or_insert(localhost);
    let response = router.call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Reply { status: head.status, headers: head.headers, body }
}

pub fn applied(outcome: Outcome) -> Applied {
    Applied { outcome, index: Index(7), stamp: ClusterTime(1_000) }
}

/// Node n2 of three, following n1 in term 5.
pub fn healthy() -> NodeStatus {
    let names = [(1, "n1"), (2, "n2"), (3, "n3")];
    let names = names.map(|(id, name)| (NodeId(id), NodeName(name.to_owned())));
    let voters = names.iter().map(|(id, _)| *id).collect();
    NodeStatus {
        node_id: NodeId(2),
        name: NodeName("n2".to_owned()),
        boot_id: BootId(0xb007),
        boot_count: BootCount(1),
        cluster_id: Some(ClusterId(0xc)),
        raft: RaftStatus {
            role: RoleKind::Follower,
            term: Term(5),
            leader: Some(NodeId(1)),
            log_start: Index(1),
            last: Index(12),
            durable: Index(12),
            commit: Index(11),
            applied: Index(10),
            time: ClusterTime(0),
            founded: true,
        },
        membership: Some(Membership {
            voters,
            names: names.into_iter().collect(),
            ..Membership::default()
        }),
        outside: None,
        registered: true,
    }
}

struct Driver<F> {
    machine: Arc<ArcSwap<Machine>>,
    barrier: Arc<Mutex<Result<ClusterTime, SubmitError>>>,
    operations: Arc<Mutex<Vec<Operation>>>,
    ids: Arc<Mutex<Vec<Option<RequestId>>>>,
    answer: F,
}

impl<F: FnMut(&Operation, &ArcSwap<Machine>) -> Answer> Driver<F> {
    async fn run(mut self, mut inbox: mpsc::Receiver<DriverRequest>) {
        while let Some(request) = inbox.recv().await {
            match request {
                DriverRequest::Submit { operation, reply, .. } => {
                    let answer = (self.answer)(&operation, &self.machine);
                    self.ids.lock().unwrap().push(operation.request().cloned());
                    self.operations.lock().unwrap().push(operation.with_request(None));
                    let _ = reply.send(answer);
                }
                DriverRequest::Barrier { reply, .. } => {
                    let _ = reply.send(*self.barrier.lock().unwrap());
                }
                DriverRequest::HomeLease { .. } => {}
                DriverRequest::Drain { done } => {
                    let _ = done.send(());
                    return;
                }
            }
        }
    }
}
