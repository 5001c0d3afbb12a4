//! The client: which node is asked, how often, and when not again.
//!
//! Problem: three addresses, any of which may be down, may not answer, or may answer that it cannot
//! serve now. Idea: ask the node that served last, then the others in turn, with a pause that grows
//! after each full round, until the deadline.
//!
//! The caveat is the request that was sent and not answered. Reads are simply repeated. An acquire
//! is repeated too: the same owner asking again gets the same hold. A release is not: the repeat of
//! one that worked would answer "not the holder", and the caller would believe that it lost its lock
//! long ago. It fails with [`Error::OutcomeUnknown`] unless nothing can have been applied (the
//! connection was never made, or the node says so).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dsync_core::locks::Mode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::answer::{Acquired, CycleEdge, Hold, Lock, Refusal, Released, Status, Wait};
use crate::error::{Error, NodeError};

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How patient a client is.
#[derive(Clone, Debug)]
pub struct ClientSettings {
    /// For one call, over all nodes and repeats.
    pub deadline: Duration,
    /// For one connection to one node.
    pub connect_timeout: Duration,
    /// For one request to one node. Above the time for which a node looks for a leader, or its
    /// answer would never be heard.
    pub request_timeout: Duration,
}

impl Default for ClientSettings {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(15),
            connect_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(7),
        }
    }
}

/// A client of one cluster. Clones share connections.
///
/// Repeats: reads and acquires are repeated on another node whenever one does not answer or says
/// that it cannot serve now. A release is repeated only where nothing can have been applied.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    nodes: Arc<[Url]>,
    /// Position of the node that served last.
    preferred: Arc<AtomicUsize>,
    settings: ClientSettings,
}

impl Client {
    /// A client of the nodes at these base addresses, with default settings.
    ///
    /// # Errors
    /// If no address is given, or one is not an `http` address.
    pub fn new<A: AsRef<str>>(addresses: impl IntoIterator<Item = A>) -> Result<Self, Error> {
        Self::with_settings(addresses, ClientSettings::default())
    }

    /// A client of the nodes at these base addresses.
    ///
    /// # Errors
    /// If no address is given, or one is not an `http` address.
    pub fn with_settings<A: AsRef<str>>(
        addresses: impl IntoIterator<Item = A>,
        settings: ClientSettings,
    ) -> Result<Self, Error> {
        let nodes: Arc<[Url]> =
            addresses.into_iter().map(|a| base(a.as_ref())).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(Error::NoNodes);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.request_timeout)
            // Below the time after which a node closes an idle connection, so that a request never
            // meets a connection that is just being closed.
            .pool_idle_timeout(Duration::from_secs(5))
            // Nodes are named by the caller; a proxy between would be asked for the wrong thing.
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(Error::Setup)?;
        Ok(Self { http, nodes, preferred: Arc::new(AtomicUsize::new(0)), settings })
    }

    /// The view of the first node that answers.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn status(&self) -> Result<Status, Error> {
        self.call(&Call::get(&["status"])).await.and_then(decode)
    }

    /// The view of every node, in the order of the addresses; each is asked once, all at once.
    pub async fn statuses(&self) -> Vec<(Url, Result<Status, Error>)> {
        let asked = self.nodes.iter().cloned().map(|node| {
            let client = self.clone();
            (node.clone(), tokio::spawn(async move { client.status_of(&node).await }))
        });
        let mut views = Vec::new();
        for (node, view) in asked.collect::<Vec<_>>() {
            let failed = |error: tokio::task::JoinError| Error::Answer {
                node: name(&node),
                reason: error.to_string(),
            };
            let view = view.await.map_err(failed).and_then(|view| view);
            views.push((node, view));
        }
        views
    }

    /// Asks for a lock once: it is held, or the caller is queued. `ttl_ms` is the lease in
    /// milliseconds; `None` holds until released.
    ///
    /// # Errors
    /// If the request is refused or nobody serves it in time. Then the caller may be queued, or even
    /// hold the lock: release it.
    pub async fn acquire(
        &self,
        lock: &str,
        owner: &str,
        mode: Mode,
        ttl_ms: Option<u64>,
    ) -> Result<Acquired, Error> {
        let body = json!({
            "resource_id": lock,
            "client_id": owner,
            "lock_type": mode,
            "ttl": ttl_ms.unwrap_or(0),
        });
        let answer = self.call(&Call::post(&["lock", "acquire"], body, Repeat::Always)).await?;
        acquired(answer)
    }

    /// Gives a lock back, or a place in its queue.
    ///
    /// # Errors
    /// If the request is refused, nobody serves it in time, or its outcome is unknown.
    pub async fn release(&self, lock: &str, owner: &str) -> Result<Released, Error> {
        let body = json!({ "resource_id": lock, "client_id": owner });
        let answer = self.call(&Call::post(&["lock", "release"], body, Repeat::IfUnsent)).await?;
        let said: Said = decode(answer)?;
        Ok(if said.success { Released::Ended } else { Released::NotHolder })
    }

    /// Who holds a lock and who waits for it, as of now (linearizable).
    ///
    /// # Errors
    /// If the name is refused or no node can confirm the read in time.
    pub async fn lock(&self, name: &str) -> Result<Lock, Error> {
        self.call(&Call::get(&["v1", "locks", name])).await.and_then(decode)
    }

    async fn status_of(&self, node: &Url) -> Result<Status, Error> {
        match self.ask(node, &Call::get(&["status"])).await {
            Ok(answer) => decode(answer),
            Err(Failure::Final(error)) => Err(*error),
            Err(Failure::Unserved { last, .. } | Failure::Unknown(last)) => {
                Err(Error::Unavailable { deadline: self.settings.request_timeout, last })
            }
        }
    }

    async fn call(&self, call: &Call<'_>) -> Result<Answer, Error> {
        let deadline = Instant::now() + self.settings.deadline;
        let mut pause = PAUSE_FIRST;
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = None;
        loop {
            let mut wanted = None;
            for step in 0..self.nodes.len() {
                let position = (first + step) % self.nodes.len();
                match self.ask_until(deadline, position, call).await {
                    Ok(answer) => {
                        self.preferred.store(position, Ordering::Relaxed);
                        return Ok(answer);
                    }
                    Err(Failure::Final(error)) => return Err(*error),
                    Err(Failure::Unknown(node)) if call.repeat == Repeat::IfUnsent => {
                        return Err(Error::OutcomeUnknown(node));
                    }
                    Err(Failure::Unknown(node)) => last = Some(node),
                    Err(Failure::Unserved { last: node, retry_after }) => {
                        last = Some(node);
                        wanted = wanted.max(retry_after);
                    }
                }
                if Instant::now() >= deadline {
                    return Err(self.unavailable(last));
                }
            }
            // Asked to wait for long, a client with several nodes still looks around every second.
            let until = Instant::now() + pause.max(wanted.unwrap_or_default()).min(PAUSE_MAX);
            if until >= deadline {
                return Err(self.unavailable(last));
            }
            sleep_until(until).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn ask_until(
        &self,
        deadline: Instant,
        position: usize,
        call: &Call<'_>,
    ) -> Result<Answer, Failure> {
        let node = &self.nodes[position];
        timeout_at(deadline, self.ask(node, call)).await.unwrap_or_else(|_| {
            Err(Failure::Unknown(NodeError { node: name(node), reason: "no answer".into() }))
        })
    }

    fn unavailable(&self, last: Option<NodeError>) -> Error {
        let unasked = || NodeError { node: name(&self.nodes[0]), reason: "not asked".into() };
        Error::Unavailable { deadline: self.settings.deadline, last: last.unwrap_or_else(unasked) }
    }

    async fn ask(&self, node: &Url, call: &Call<'_>) -> Result<Answer, Failure> {
        let unheard = |error: reqwest::Error| {
            let failed = NodeError { node: name(node), reason: root_cause(&error) };
            if error.is_connect() || error.is_builder() {
                Failure::Unserved { last: failed, retry_after: None }
            } else {
                Failure::Unknown(failed)
            }
        };
        let response = call.build(&self.http, node).send().await.map_err(unheard)?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let body = response.bytes().await.map_err(unheard)?;
        if status.is_success() {
            return Ok(Answer { node: name(node), body: body.to_vec() });
        }
        Err(failure(name(node), status, retry_after, &body))
    }
}

/// One request, wherever it is sent.
struct Call<'a> {
    method: Method,
    path: Vec<&'a str>,
    body: Option<Value>,
    repeat: Repeat,
}

/// What to do when a request was sent and not answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Always,
    IfUnsent,
}

impl<'a> Call<'a> {
    fn get(path: &[&'a str]) -> Self {
        Self { method: Method::GET, path: path.to_vec(), body: None, repeat: Repeat::Always }
    }

    fn post(path: &[&'a str], body: Value, repeat: Repeat) -> Self {
        Self { method: Method::POST, path: path.to_vec(), body: Some(body), repeat }
    }

    fn build(&self, http: &reqwest::Client, node: &Url) -> RequestBuilder {
        let mut url = node.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // Each part is one segment: a "/" in a name becomes %2F.
            path.pop_if_empty().extend(&self.path);
        }
        let request = http.request(self.method.clone(), url);
        match &self.body {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body.to_string()),
            None => request,
        }
    }
}

/// A 2xx.
struct Answer {
    node: String,
    body: Vec<u8>,
}

/// Why one node gave none.
enum Failure {
    /// Every node would say the same.
    Final(Box<Error>),
    /// Nothing was applied.
    Unserved { last: NodeError, retry_after: Option<Duration> },
    /// It may have been applied.
    Unknown(NodeError),
}

/// What errors have in common, in both of the server's forms.
#[derive(Default, Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
    #[serde(default, alias = "detail")]
    message: String,
    field: Option<String>,
    #[serde(default)]
    retryable: bool,
    #[serde(rename = "requestId")]
    request_id: Option<String>,
}

fn failure(
    node: String,
    status: StatusCode,
    retry_after: Option<Duration>,
    body: &[u8],
) -> Failure {
    let fault: Fault = serde_json::from_slice(body).unwrap_or_default();
    let reason = format!("{status} {}", fault.message);
    if fault.retryable {
        return Failure::Unserved { last: NodeError { node, reason }, retry_after };
    }
    // A 5xx without a word of ours comes from something between, which cannot know.
    if status.is_server_error() {
        return Failure::Unknown(NodeError { node, reason });
    }
    Failure::Final(Box::new(Error::Refused {
        node,
        status: status.as_u16(),
        code: fault.code,
        message: fault.message,
        field: fault.field,
        request_id: fault.request_id,
    }))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[derive(Deserialize)]
struct Said {
    success: bool,
    #[serde(default)]
    message: String,
    #[serde(default)]
    code: String,
    position: Option<u64>,
    #[serde(default)]
    owners: Vec<String>,
    cycle: Option<Vec<CycleEdge>>,
}

fn acquired(answer: Answer) -> Result<Acquired, Error> {
    let value: Value = decode(Answer { node: answer.node.clone(), body: answer.body })?;
    let unknown = |error: serde_json::Error| Error::Answer {
        node: answer.node.clone(),
        reason: error.to_string(),
    };
    let said: Said = Said::deserialize(&value).map_err(unknown)?;
    if said.success {
        return Hold::deserialize(&value).map(Acquired::Held).map_err(unknown);
    }
    Ok(match (said.cycle, said.position) {
        (Some(cycle), _) => Acquired::Deadlock(cycle),
        (None, Some(position)) => {
            Acquired::Waiting(Wait { position, owners: said.owners, message: said.message })
        }
        (None, None) => Acquired::Refused(Refusal { code: said.code, message: said.message }),
    })
}

fn decode<T: DeserializeOwned>(answer: Answer) -> Result<T, Error> {
    serde_json::from_slice(&answer.body)
        .map_err(|error| Error::Answer { node: answer.node, reason: error.to_string() })
}

fn base(address: &str) -> Result<Url, Error> {
    let url = Url::parse(address).map_err(|_| Error::Address(address.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(Error::Address(address.to_owned()));
    }
    Ok(url)
}

fn name(node: &Url) -> String {
    node.as_str().trim_end_matches('/').to_owned()
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
#[path = "client_test.rs"]
mod tests;
