//! The one place that turns what went wrong into HTTP.
//!
//! A [`Fault`] is what every handler fails with. It is drawn in one of two forms:
//!
//! - **Problem** (RFC 9457, `application/problem+json`) on every route of the product's own API and
//!   for everything that is refused before a route is found.
//! - **Original** (`{success: false, message, field, ...}`, `application/json`) on the original
//!   routes. Their clients were written before this server: they parse every body as JSON, often
//!   only if the content type says exactly that, and look at `success`. A problem document would be
//!   correct and unread. The status, `code`, `retryable` and `request_id` are the same in both.
//!
//! One meaning per status: 400 malformed, 403 another's host or page, 404, 405, 406, 408 a body that does not come, 409 the locks
//! are in the way (`code` says how), 410 records that are not kept any more, 412 another value is cached than is wanted, 413, 415, 422 a request id
//! that was used for something else, 414 and 431 a head that is too large, 429 a limit that others may make room under, 500 a bug, 503
//! nothing was applied (try again), 504 the outcome is unknown. `retryable` says whether the same
//! request may be sent again without a second thought: true only where nothing was applied and nothing
//! in it has to change. Every 409 says no: what is in the way has to change first.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use dsync_core::locks::LockRefusal;
use dsync_core::machine::RequestRefusal;
use dsync_core::queue::QueueRefusal;
use dsync_core::raft::COMMAND_BYTES_MAX;
use dsync_redis_store::RedisProblem;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::envelope::RequestContext;
use super::fields::{hold_id, shown};
use super::v1::cache;
use super::v1::queues::codes;
use crate::caches::CacheError;
use crate::handle::SubmitError;
use crate::queues::{NotDone, QueueError};

/// Media type of the Problem form.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// A request that was not served, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The status.
    pub status: StatusCode,
    /// The stable word for programs.
    pub code: &'static str,
    /// One sentence for people, about this very request.
    pub detail: String,
    /// The field of the request that is wrong, if one is.
    pub field: Option<String>,
    /// Nothing was applied, and the same request may work later.
    pub retryable: bool,
    /// Seconds to wait before that.
    pub retry_after_s: Option<u32>,
    /// What else programs may want to know: members of the answer beside the fixed ones.
    pub members: Map<String, Value>,
}

impl Fault {
    fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        let members = Map::new();
        Self { status, code, detail, field: None, retryable: false, retry_after_s: None, members }
    }

    fn later(code: &'static str, detail: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        Self { retryable: true, retry_after_s: Some(1), ..fault }
    }

    /// The state of things is against it; `code` says which.
    #[must_use]
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    /// What the request wants to be there is not.
    #[must_use]
    pub fn precondition(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, code, detail)
    }

    /// The same with another member in its answer.
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Something that the path names is not there.
    #[must_use]
    pub fn none(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, code, detail)
    }

    /// An operation of queues has no outcome. What the cluster has no room for now is theirs to wait for:
    /// locks go on.
    #[must_use]
    pub fn queues(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Void => Self::void(),
            NotDone::Submit(SubmitError::Overloaded) => {
                let detail = "the cluster does not keep up with queues; nothing was applied";
                let status = StatusCode::TOO_MANY_REQUESTS;
                let fault = Self::new(status, codes::QUEUES_OVERLOADED, detail);
                Self { retryable: true, retry_after_s: Some(1), ..fault }
            }
            NotDone::Submit(error) => error.into(),
            NotDone::NoRedis => {
                let detail = "the topic is in Redis, and this node was started without --redis-url; \
                              nothing was applied; ask another";
                Self::later(codes::REDIS_MISSING, detail)
            }
            NotDone::Redis(problem) => Self::redis(&problem),
        }
    }

    fn redis(problem: &RedisProblem) -> Self {
        let detail = problem.to_string();
        match problem {
            RedisProblem::Unanswered(_) => SubmitError::Unknown.into(),
            RedisProblem::TopicClosed => Self::none(codes::NO_SUCH_TOPIC, detail),
            RedisProblem::TopicMoved | RedisProblem::OldBatch => {
                Self::later(codes::TOPIC_MOVED, detail)
            }
            RedisProblem::OutOfMemory => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                let fault = Self::new(status, codes::REDIS_OUT_OF_MEMORY, detail);
                Self { retryable: true, retry_after_s: Some(1), ..fault }
            }
            RedisProblem::Unreadable(_) | RedisProblem::Other(_) => {
                Self::later("redis_error", detail)
            }
            other => Self::later(other.code(), detail),
        }
    }

    /// A field that is missing or wrong; `body` and `path` stand for the whole of these.
    #[must_use]
    pub fn field(field: &str, detail: impl Into<String>) -> Self {
        let fault = Self::new(StatusCode::BAD_REQUEST, "invalid_field", detail);
        Self { field: Some(field.to_owned()), ..fault }
    }

    /// The body cannot be read as what it claims to be.
    #[must_use]
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self { code: "malformed_body", ..Self::field("body", detail) }
    }

    /// A page of another site, or a body of another type, where only JSON is taken.
    #[must_use]
    pub fn media_type(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
    }

    /// None of the types that the caller accepts is to be had.
    #[must_use]
    pub fn not_acceptable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_ACCEPTABLE, "not_acceptable", detail)
    }

    /// Records that are wanted are not kept any more.
    #[must_use]
    pub fn compacted(oldest: u64) -> Self {
        let detail = format!("records before number {oldest} are not kept any more");
        Self::new(StatusCode::GONE, "compacted", detail).with("oldest", oldest)
    }

    /// The body is longer than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        let detail = format!("the body is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", detail)
    }

    /// The body did not arrive in time.
    #[must_use]
    pub fn too_slow() -> Self {
        let fault = Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "request_timeout",
            "the body did not arrive in time",
        );
        Self { retryable: true, ..fault }
    }

    /// No such route.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such route on this port; /openapi.json of the client port describes /v1",
        )
    }

    /// The route has other methods; the `Allow` header names them.
    #[must_use]
    pub fn method_not_allowed(method: &str) -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{method} is not a method of this route"),
        )
    }

    /// A command that will never be applied; see [`dsync_core::machine::Outcome::Void`].
    #[must_use]
    pub fn void() -> Self {
        Self::later("void", "the command came too late to be applied; nothing was applied")
    }

    /// There is no seat for another connection.
    #[must_use]
    pub fn too_many_connections() -> Self {
        let detail = "this node has no connection left; nothing was applied; ask another";
        Self::later("too_many_connections", detail)
    }

    /// There is no seat for another request that may take long.
    #[must_use]
    pub fn too_many_waiting() -> Self {
        let detail = "this node has no seat left for another request that waits or watches; \
                      nothing was applied; ask another";
        Self::later("too_many_waiting", detail)
    }

    /// What came is no head of a request.
    #[must_use]
    pub fn malformed_head() -> Self {
        let detail = "the request line or a header cannot be read";
        Self::new(StatusCode::BAD_REQUEST, "malformed_head", detail)
    }

    /// The head has too many bytes or headers.
    #[must_use]
    pub fn head_too_large() -> Self {
        let detail = "the request line and headers are longer than 16 KiB, or more than 100";
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", detail)
    }

    /// The path and query are longer than any that could mean something.
    #[must_use]
    pub fn uri_too_long() -> Self {
        let detail = "the path and the query are too long";
        Self::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail)
    }

    /// The request is for another host, or for a name that could be anybody's.
    #[must_use]
    pub fn host_not_allowed(host: &str) -> Self {
        let detail = format!(
            "this listener is on loopback and serves localhost and addresses, not {}; \
             --allowed-hosts adds names",
            shown(host)
        );
        let fault = Self::new(StatusCode::FORBIDDEN, "host_not_allowed", detail);
        Self { field: Some("host".to_owned()), ..fault }
    }

    /// The request is from a web page that did not come from this node.
    #[must_use]
    pub fn origin_not_allowed(origin: &str) -> Self {
        let detail = format!(
            "the page of {} did not come from this node; --allowed-hosts adds its host",
            shown(origin)
        );
        let fault = Self::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail);
        Self { field: Some("origin".to_owned()), ..fault }
    }

    /// A bug of this server.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            "the server failed; its log names this request",
        )
    }

    /// A setting's limit. What is too long or too many in the request itself stays so; how much
    /// others use may change.
    fn limit(setting: &str, limit: u64, detail: String) -> Self {
        let field = match setting {
            "name_bytes_max" => Some("name"),
            "lease_ms_min" | "lease_ms_max" => Some("ttl"),
            "request_names_max" => Some("locks"),
            "permits_max" => Some("permits_max"),
            "reason_bytes_max" => Some("reason"),
            _ => None,
        };
        if let Some(field) = field {
            return Self::field(field, detail);
        }
        let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "limit_reached", detail);
        let fault = Self { retryable: true, retry_after_s: Some(1), ..fault };
        fault.with("setting", setting).with("limit", limit)
    }

    /// Draws the Problem form.
    #[must_use]
    pub fn into_problem(self, context: &RequestContext) -> Response {
        let body = self.problem(context);
        self.draw(&body, PROBLEM_JSON)
    }

    /// The body of the Problem form.
    #[must_use]
    pub fn problem(&self, context: &RequestContext) -> Value {
        self.complete(json!({
            "type": format!("urn:dsync:problem:{}", self.code),
            "title": title(self.code),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            "request_id": context.request_id,
            "leader": context.leader,
        }))
    }

    /// What is said of one item of a batch.
    #[must_use]
    pub fn item(&self) -> Value {
        self.complete(json!({
            "code": self.code,
            "title": title(self.code),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "retryable": self.retryable,
        }))
    }

    /// Draws the Original form.
    #[must_use]
    pub fn into_original(self, context: &RequestContext) -> Response {
        let body = self.complete(json!({
            "success": false,
            "message": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            "request_id": context.request_id,
            "leader": context.leader,
        }));
        self.draw(&body, "application/json")
    }

    /// Adds what this very fault has to say.
    fn complete(&self, mut body: Value) -> Value {
        if let Some(members) = body.as_object_mut() {
            members.extend(self.members.clone());
            let field = self.field.clone();
            members.extend(field.map(|field| ("field".to_owned(), Value::String(field))));
        }
        body
    }

    fn draw(self, body: &Value, media_type: &'static str) -> Response {
        let mut response = (self.status, Body::from(body.to_string())).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.retry_after_s {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if matches!(self.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the body is not read, so the connection cannot carry another request.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<SubmitError> for Fault {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::NoLeader { sent: false } => {
                Self::later("no_leader", "no leader was found in time; nothing was applied")
            }
            SubmitError::Overloaded => {
                Self::later("overloaded", "the leader's queue is full; nothing was applied")
            }
            SubmitError::TooLarge => Self::too_large(COMMAND_BYTES_MAX),
            SubmitError::Stopping => Self::later(
                "stopping",
                "this node is shutting down; nothing was applied; ask another",
            ),
            SubmitError::NotMember => Self::later(
                "not_member",
                "this node is not a member of a cluster yet; nothing was applied; ask another",
            ),
            SubmitError::NoLeader { sent: true } | SubmitError::Unknown => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                "outcome_unknown",
                "the request may or may not have been applied, or may be later; look before repeating it",
            ),
        }
    }
}

impl From<CacheError> for Fault {
    fn from(error: CacheError) -> Self {
        match error {
            CacheError::HomeUnavailable => Self::later(
                cache::codes::HOME_UNAVAILABLE,
                "no home served the key in time; nothing was done",
            ),
            CacheError::Overloaded => {
                let detail = "too many requests of caches wait at this node; nothing was done";
                let status = StatusCode::TOO_MANY_REQUESTS;
                let fault = Self::new(status, cache::codes::CACHES_OVERLOADED, detail);
                Self { retryable: true, retry_after_s: Some(1), ..fault }
            }
            CacheError::Stopping => SubmitError::Stopping.into(),
            CacheError::Unknown => SubmitError::Unknown.into(),
        }
    }
}

impl From<LockRefusal> for Fault {
    fn from(refusal: LockRefusal) -> Self {
        let (code, detail) = (refusal.code(), refusal.to_string());
        match refusal {
            LockRefusal::WaitsInOtherMode => Self::conflict(code, detail),
            LockRefusal::AlreadyHeld { name, hold } => {
                Self::conflict(code, detail).with("name", name).with("hold", hold.map(hold_id))
            }
            LockRefusal::PermitsDiffer { name, permits_max } => {
                let fault = Self::conflict(code, detail).with("name", name);
                fault.with("permits_max", (permits_max > 0).then_some(permits_max))
            }
            LockRefusal::NotAPlainLock(name) => Self::conflict(code, detail).with("name", name),
            LockRefusal::NoName | LockRefusal::NamedTwice(_) => Self::field("locks", detail),
            LockRefusal::BadPermits(_) => Self::field("permits", detail),
            LockRefusal::NoReason => Self::field("reason", detail),
            LockRefusal::TokensUsedUp => Self::conflict(code, detail),
            LockRefusal::BadName(whose) => Self::field(&whose, detail),
            LockRefusal::Limit { setting, limit } => Self::limit(&setting, limit, detail),
        }
    }
}

impl From<QueueRefusal> for Fault {
    fn from(refusal: QueueRefusal) -> Self {
        let (code, detail) = (refusal.code(), refusal.to_string());
        match refusal {
            QueueRefusal::NoTopic | QueueRefusal::NoMessage => Self::none(code, detail),
            QueueRefusal::NotEmpty { messages } => {
                Self::conflict(code, detail).with("messages", messages)
            }
            QueueRefusal::BadName(field)
            | QueueRefusal::OutOfRange { field, .. }
            | QueueRefusal::TooLong { field, .. }
            | QueueRefusal::BadBatch { field, .. } => Self::field(&field, detail),
            QueueRefusal::Full { setting, limit } => {
                let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, code, detail);
                let fault = Self { retryable: true, retry_after_s: Some(1), ..fault };
                fault.with("setting", setting).with("limit", limit)
            }
            QueueRefusal::OtherContent => Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail),
            QueueRefusal::OtherStore(_) => Self::later(codes::TOPIC_MOVED, detail),
            QueueRefusal::OtherRedis => Self::conflict(code, detail),
            QueueRefusal::Request(refusal) => refusal.into(),
        }
    }
}

impl From<QueueError> for Fault {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::NotDone(not_done) => Self::queues(not_done),
            QueueError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<RequestRefusal> for Fault {
    fn from(refusal: RequestRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            RequestRefusal::OtherBody => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "request_id_reused", detail)
            }
            RequestRefusal::Forgotten => Self::conflict("request_settled", detail),
            RequestRefusal::Full => {
                let fault = Self::new(StatusCode::TOO_MANY_REQUESTS, "request_ids_full", detail);
                Self { retryable: true, retry_after_s: Some(1), ..fault }
            }
        }
    }
}

/// Every code but those of queues alone ([`codes`]) and of caches alone ([`cache::codes`]), and what all problems of it have in common.
pub const CODES: [(&str, &str); 39] = [
    ("invalid_field", "A field is missing or wrong"),
    ("malformed_body", "The body cannot be read"),
    ("unsupported_media_type", "The body's type is not taken here"),
    ("payload_too_large", "The body is too large"),
    ("malformed_head", "The head of the request cannot be read"),
    ("head_too_large", "The head of the request is too large"),
    ("uri_too_long", "The path is too long"),
    ("host_not_allowed", "The host is not served here"),
    ("origin_not_allowed", "The web page may not ask here"),
    ("too_many_connections", "The node has no connection left"),
    ("too_many_waiting", "The node has no seat for another wait"),
    ("request_timeout", "The request came too slowly"),
    ("not_found", "No such route"),
    ("method_not_allowed", "The route has other methods"),
    ("no_leader", "The cluster has no leader"),
    ("overloaded", "The cluster is overloaded"),
    ("stopping", "The node is shutting down"),
    ("not_member", "The node is not a member"),
    ("outcome_unknown", "The outcome is unknown"),
    ("void", "The command came too late"),
    ("limit_reached", "A limit is reached"),
    ("waits_in_other_mode", "The owner waits in the other mode"),
    ("already_held", "The owner is on this lock by another request"),
    ("permits_differ", "The lock is in use with another number of permits"),
    ("not_a_plain_lock", "The lock is a semaphore"),
    ("not_acceptable", "No such form of the answer"),
    ("compacted", "The records are not kept any more"),
    ("request_id_reused", "The request id was used for another request"),
    ("request_settled", "The request was settled before"),
    ("request_ids_full", "Too many request ids are remembered"),
    ("held", "The lock is held"),
    ("wait_timeout", "The wait is over"),
    ("deadlock", "The wait would close a cycle"),
    ("superseded", "The request was asked again elsewhere"),
    ("revoked", "The hold was revoked"),
    ("hold_ended", "The hold has ended"),
    ("tokens_used_up", "The cluster has no fencing tokens left"),
    ("not_held", "Nobody holds the lock"),
    ("internal", "The server failed"),
];

fn title(code: &str) -> &'static str {
    let found = CODES
        .iter()
        .chain(&codes::CODES)
        .chain(&cache::codes::CODES)
        .find(|(known, _)| *known == code);
    debug_assert!(found.is_some(), "the code {code} has no title");
    found.map_or("The server failed", |(_, title)| title)
}

/// A 200 with a JSON object.
#[must_use]
pub fn json_answer(body: Map<String, Value>) -> Response {
    draw_json(Value::Object(body).to_string())
}

/// A 200 with an answer's own type.
#[must_use]
pub fn typed_answer(body: &impl Serialize) -> Response {
    // Plain structs with text keys cannot fail; an empty body would be one way to notice.
    draw_json(serde_json::to_string(body).unwrap_or_default())
}

fn draw_json(body: String) -> Response {
    let mut response = Body::from(body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
