//! The nodes: which one is asked, how often, and when not again.
//!
//! Problem: three addresses, any of which may be down, may not answer, or may answer that it cannot
//! serve now. Idea: ask the node that served last, then the others in turn, with a pause that grows
//! after each full round (and is never the same for two clients, or they would all come back at once),
//! until the deadline.
//!
//! The caveat is the request that was sent and not answered: it may have been applied. What is safe to
//! send again is sent again: reads, renewals (which move an end to later only), and everything that
//! carries a number (`request_id.rs`). Anything else fails with [`Error::OutcomeUnknown`].

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dsync_core::contract::LEADER_HEADER;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::ClientSettings;
use crate::clock::BootInstant;
use crate::error::{Error, NodeError};
use crate::random;
use crate::request_id::{KEY_HEADER, REQUEST_HEADER, RequestId, RequestIds};

const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The nodes of one cluster, and the connections to them.
#[derive(Debug)]
pub(crate) struct Nodes {
    http: reqwest::Client,
    urls: Vec<Url>,
    /// Position of the node that served last.
    preferred: AtomicUsize,
    pub(crate) settings: ClientSettings,
    pub(crate) ids: Arc<RequestIds>,
}

impl Nodes {
    pub(crate) fn new(
        addresses: impl IntoIterator<Item = impl AsRef<str>>,
        settings: ClientSettings,
    ) -> Result<Self, Error> {
        let urls: Vec<Url> =
            addresses.into_iter().map(|a| base(a.as_ref())).collect::<Result<_, _>>()?;
        if urls.is_empty() {
            return Err(Error::NoNodes);
        }
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            // Below the time after which a node closes an idle connection, so that a request never
            // meets a connection that is just being closed.
            .pool_idle_timeout(Duration::from_secs(5))
            // Nodes are named by the caller; a proxy between would be asked for the wrong thing.
            .no_proxy()
            .tcp_nodelay(true)
            .build()
            .map_err(Error::Setup)?;
        let ids = RequestIds::new(random::number());
        Ok(Self { http, urls, preferred: AtomicUsize::new(0), settings, ids })
    }

    pub(crate) fn urls(&self) -> &[Url] {
        &self.urls
    }

    /// Position of the node to ask first.
    pub(crate) fn preferred(&self) -> usize {
        self.preferred.load(Ordering::Relaxed)
    }

    /// This one served.
    pub(crate) fn prefer(&self, position: usize) {
        self.preferred.store(position % self.urls.len(), Ordering::Relaxed);
    }

    /// Asks until one node answers or the usual deadline is over.
    pub(crate) async fn call(&self, call: &Call) -> Result<Answer, Error> {
        self.call_within(call, self.settings.deadline).await
    }

    /// Asks until one node answers or `patience` is over.
    pub(crate) async fn call_within(
        &self,
        call: &Call,
        patience: Duration,
    ) -> Result<Answer, Error> {
        let deadline = Instant::now() + patience;
        let mut pause = PauseGrows::new();
        let first = self.preferred();
        let mut unserved = Unserved::default();
        loop {
            let mut wanted = None;
            for step in 0..self.urls.len() {
                let position = (first + step) % self.urls.len();
                match self.ask_until(deadline, position, call).await {
                    Ok(answer) => {
                        self.prefer(position);
                        return Ok(answer.sent_times(unserved.sent + 1));
                    }
                    Err(Failure::Final(error)) => return Err(*error),
                    Err(Failure::Unknown(node)) if call.repeat == Repeat::IfUnsent => {
                        return Err(Error::OutcomeUnknown(node));
                    }
                    Err(failure) => wanted = wanted.max(unserved.note(failure)),
                }
                if Instant::now() >= deadline {
                    return Err(unserved.into_error(self, call, patience));
                }
            }
            let until = Instant::now() + pause.next_at_least(wanted);
            if until >= deadline {
                return Err(unserved.into_error(self, call, patience));
            }
            sleep_until(until).await;
        }
    }

    async fn ask_until(
        &self,
        deadline: Instant,
        position: usize,
        call: &Call,
    ) -> Result<Answer, Failure> {
        timeout_at(deadline, self.ask(position, call))
            .await
            .unwrap_or_else(|_| Err(Failure::Unknown(self.silent(position))))
    }

    /// What is known of a node that says nothing.
    pub(crate) fn silent(&self, position: usize) -> NodeError {
        let node = name(&self.urls[position % self.urls.len()]);
        NodeError { node, reason: "no answer".into(), answered: false }
    }

    /// Asks one node once.
    pub(crate) async fn ask(&self, position: usize, call: &Call) -> Result<Answer, Failure> {
        let node = &self.urls[position % self.urls.len()];
        let sent = BootInstant::now();
        let response = self.send(node, call).await?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        let headers = response.headers().clone();
        let knows_leader = headers.contains_key(LEADER_HEADER);
        let body = response.bytes().await.map_err(|error| unheard(node, &error))?;
        let node = name(node);
        if status.is_success() {
            let body = body.to_vec();
            return Ok(Answer { node, headers, body, sent, sends: 1, knows_leader });
        }
        Err(failure(node, status, retry_after, &body))
    }

    /// Asks one node for an answer that comes in pieces.
    pub(crate) async fn stream(&self, position: usize, call: &Call) -> Result<Response, Failure> {
        let node = &self.urls[position % self.urls.len()];
        let response = self.send(node, call).await?;
        let (status, retry_after) = (response.status(), retry_after(&response));
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(|error| unheard(node, &error))?;
        Err(failure(name(node), status, retry_after, &body))
    }

    async fn send(&self, node: &Url, call: &Call) -> Result<Response, Failure> {
        call.check_path().map_err(|error| Failure::Final(Box::new(error)))?;
        let request = call.build(&self.http, node, self.settings.request_timeout);
        request.send().await.map_err(|error| unheard(node, &error))
    }
}

/// One request, wherever it is sent. Clones are the same request: they share the number.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: Vec<String>,
    query: Vec<(&'static str, String)>,
    pub(crate) body: Option<Value>,
    /// Instead of `body`: what is to arrive as it was written, to the byte.
    written: Option<Arc<str>>,
    /// Instead of both: bytes, and their media type.
    bytes: Option<(Arc<[u8]>, String)>,
    headers: Vec<(&'static str, String)>,
    accept: Option<&'static str>,
    repeat: Repeat,
    id: Option<Arc<RequestId>>,
    /// Instead of `id`: the caller's own name for the request.
    key: Option<String>,
    timeout: Option<Duration>,
}

/// What to do when a request was sent and not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    Always,
    IfUnsent,
}

impl Call {
    pub(crate) fn get(path: &[&str]) -> Self {
        Self::new(Method::GET, path, None, Repeat::Always)
    }

    pub(crate) fn post(path: &[&str], body: Value, repeat: Repeat) -> Self {
        Self::new(Method::POST, path, Some(body), repeat)
    }

    fn new(method: Method, path: &[&str], body: Option<Value>, repeat: Repeat) -> Self {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        Self {
            method,
            path,
            query: Vec::new(),
            body,
            written: None,
            bytes: None,
            headers: Vec::new(),
            accept: None,
            repeat,
            id: None,
            key: None,
            timeout: None,
        }
    }

    /// A body that was written before.
    pub(crate) fn post_written(path: &[&str], body: String) -> Self {
        let written = Some(body.into());
        Self { written, ..Self::new(Method::POST, path, None, Repeat::IfUnsent) }
    }

    /// Bytes. Sent once: a repeat could undo what came between.
    pub(crate) fn put(path: &[&str], body: Vec<u8>, content_type: String) -> Self {
        let bytes = Some((body.into(), content_type));
        Self { bytes, ..Self::new(Method::PUT, path, None, Repeat::IfUnsent) }
    }

    pub(crate) fn patch(path: &[&str], body: Value) -> Self {
        Self::new(Method::PATCH, path, Some(body), Repeat::Always)
    }

    pub(crate) fn delete(path: &[&str]) -> Self {
        Self::new(Method::DELETE, path, None, Repeat::Always)
    }

    /// Has one effect however often it is sent.
    pub(crate) fn numbered(mut self, id: RequestId) -> Self {
        self.id = Some(Arc::new(id));
        self.repeat = Repeat::Always;
        self
    }

    /// Has one effect however often it is sent, by whoever knows the key.
    pub(crate) fn keyed(mut self, key: String) -> Self {
        self.key = Some(key);
        self.repeat = Repeat::Always;
        self
    }

    /// Not sent again if it may have been applied.
    pub(crate) fn once(mut self) -> Self {
        self.repeat = Repeat::IfUnsent;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// How long one node may take.
    pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// No further copy is sent, so copies that are late may be refused.
    pub(crate) fn close(&self) {
        if let Some(id) = &self.id {
            id.close();
        }
    }

    pub(crate) fn query(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.query.push((key, value.into()));
        self
    }

    pub(crate) fn accept(mut self, media_type: &'static str) -> Self {
        self.accept = Some(media_type);
        self
    }

    /// An address drops control characters and takes `.` and `..` for steps, even if they are escaped: what
    /// is left would name something else.
    fn check_path(&self) -> Result<(), Error> {
        let wrong = |part: &str| match part {
            "" => Some("must not be empty"),
            "." | ".." => Some("cannot stand in an address"),
            _ if part.chars().any(char::is_control) => Some("must not contain control characters"),
            _ => None,
        };
        let found = self.path.iter().find_map(|part| Some((part.clone(), wrong(part)?)));
        found.map_or(Ok(()), |(name, reason)| Err(Error::Name { name, reason }))
    }

    fn build(&self, http: &reqwest::Client, node: &Url, timeout: Duration) -> RequestBuilder {
        let mut url = node.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            // Each part is one segment: a "/" in a name becomes %2F.
            path.pop_if_empty().extend(&self.path);
        }
        if !self.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&self.query);
        }
        let mut request = http.request(self.method.clone(), url);
        request = request.timeout(self.timeout.unwrap_or(timeout));
        if let Some(id) = &self.id {
            request = request.header(REQUEST_HEADER, id.header());
        }
        if let Some(key) = &self.key {
            request = request.header(KEY_HEADER, key);
        }
        if let Some(accept) = self.accept {
            request = request.header(ACCEPT, accept);
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some((bytes, content_type)) = &self.bytes {
            return request.header(CONTENT_TYPE, content_type).body(bytes.to_vec());
        }
        let written = self.written.as_deref().map(str::to_owned);
        match written.or_else(|| self.body.as_ref().map(Value::to_string)) {
            Some(body) => request.header(CONTENT_TYPE, "application/json").body(body),
            None => request,
        }
    }
}

/// A 2xx.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) node: String,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
    /// When the request that it answers was sent.
    pub(crate) sent: BootInstant,
    /// How many copies of the request may be under way or applied, this one included.
    pub(crate) sends: u32,
    /// The node knows a leader.
    pub(crate) knows_leader: bool,
}

impl Answer {
    pub(crate) fn sent_times(mut self, sends: u32) -> Self {
        self.sends = sends;
        self
    }

    pub(crate) fn into_body(self) -> Vec<u8> {
        self.body
    }

    pub(crate) fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::Answer { node: self.node.clone(), reason: error.to_string() })
    }
}

/// Why one node gave no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Every node would say the same.
    Final(Box<Error>),
    /// Nothing was applied.
    Unserved { last: NodeError, retry_after: Option<Duration> },
    /// It may have been applied.
    Unknown(NodeError),
}

/// What the nodes asked so far have said.
#[derive(Debug, Default)]
pub(crate) struct Unserved {
    last: Option<NodeError>,
    /// How many copies may have been applied.
    pub(crate) sent: u32,
}

impl Unserved {
    /// Notes a failure that is not final; gives the pause that the node asks for.
    pub(crate) fn note(&mut self, failure: Failure) -> Option<Duration> {
        match failure {
            Failure::Final(_) => None,
            Failure::Unserved { last, retry_after } => {
                self.last = Some(last);
                retry_after
            }
            Failure::Unknown(last) => {
                self.last = Some(last);
                self.sent += 1;
                None
            }
        }
    }

    pub(crate) fn into_error(self, nodes: &Nodes, call: &Call, deadline: Duration) -> Error {
        let unasked = || NodeError {
            node: name(&nodes.urls[0]),
            reason: "not asked".into(),
            answered: false,
        };
        let last = self.last.unwrap_or_else(unasked);
        match call.method == Method::GET || self.sent == 0 {
            true => Error::Unavailable { deadline, last },
            false => Error::OutcomeUnknown(last),
        }
    }
}

/// Pauses between rounds: twice as long each time, and a random part of that.
#[derive(Debug)]
pub(crate) struct PauseGrows(Duration);

impl PauseGrows {
    pub(crate) fn new() -> Self {
        Self(PAUSE_FIRST)
    }

    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(PAUSE_MAX);
        pause / 2 + (pause / 2).mul_f64(random::fraction())
    }

    /// The pause that a node asks for, if it is longer. Asked to wait for long, a client with several
    /// nodes still looks around every second.
    pub(crate) fn next_at_least(&mut self, wanted: Option<Duration>) -> Duration {
        self.next().max(wanted.unwrap_or_default()).min(PAUSE_MAX)
    }
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
    #[serde(rename = "request_id")]
    request_id: Option<Box<str>>,
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
        let last = NodeError { node, reason, answered: true };
        return Failure::Unserved { last, retry_after };
    }
    // A 5xx without a word of ours comes from something between, which cannot know.
    if status.is_server_error() {
        return Failure::Unknown(NodeError { node, reason, answered: true });
    }
    let members: Map<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    Failure::Final(Box::new(Error::Refused {
        node: node.into(),
        status: status.as_u16(),
        code: fault.code,
        message: fault.message,
        field: fault.field,
        request_id: fault.request_id,
        members: Box::new(members),
    }))
}

fn unheard(node: &Url, error: &reqwest::Error) -> Failure {
    let node = name(node);
    if refused_unasked(error) {
        let reason = "it refuses connections: it has none left".to_owned();
        let last = NodeError { node, reason, answered: true };
        return Failure::Unserved { last, retry_after: None };
    }
    let last = NodeError { node, reason: root_cause(error), answered: false };
    if error.is_connect() || error.is_builder() || never_sent(error) {
        Failure::Unserved { last, retry_after: None }
    } else {
        Failure::Unknown(last)
    }
}

/// Not a byte of the request has left: the connection was at its end before it was begun.
fn never_sent(error: &reqwest::Error) -> bool {
    refused_unasked(error) || hyper_errors(error).any(|it| it.is_canceled() || it.is_closed())
}

/// A node that has no connection left says so at once, before it has heard anything. An answer without
/// a question ends the connection here, and this is all that is left of it.
fn refused_unasked(error: &reqwest::Error) -> bool {
    // hyper has no other word for it.
    hyper_errors(error).any(|it| it.to_string().contains("unexpected message"))
}

fn hyper_errors(error: &reqwest::Error) -> impl Iterator<Item = &hyper::Error> {
    causes(error).filter_map(|cause| cause.downcast_ref())
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn base(address: &str) -> Result<Url, Error> {
    let url = Url::parse(address).map_err(|_| Error::Address(address.to_owned()))?;
    if !matches!(url.scheme(), "http" | "https") || url.cannot_be_a_base() {
        return Err(Error::Address(address.to_owned()));
    }
    Ok(url)
}

/// How a node is named to people.
pub(crate) fn name(node: &Url) -> String {
    node.as_str().trim_end_matches('/').to_owned()
}

/// The innermost cause: "connection refused" says more than "error sending request".
fn root_cause(error: &reqwest::Error) -> String {
    causes(error).last().map_or_else(|| error.to_string(), ToString::to_string)
}

/// The error and what caused it, the innermost cause last.
fn causes<'a>(error: &'a reqwest::Error) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let outermost: &'a (dyn StdError + 'static) = error;
    std::iter::successors(Some(outermost), |cause| {
        let cause: &'a (dyn StdError + 'static) = *cause;
        cause.source()
    })
}
