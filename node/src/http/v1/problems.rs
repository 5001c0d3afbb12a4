//! What the OpenAPI description says about everything that is not a success.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Schema};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::{cache, queues};
use crate::http::problem::{CODES, PROBLEM_JSON};

/// A problem (RFC 9457). Some codes have members of their own beside these.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ProblemSchema {
    /// `urn:dsync:problem:` and the code.
    r#type: String,
    /// What all problems of one code have in common, for people.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// One sentence about this very request.
    detail: String,
    /// The stable word for programs.
    #[schema(value_type = ProblemCode)]
    code: String,
    /// Nothing was applied, and the same request may work later.
    retryable: bool,
    /// The `X-Request-Id` of this request.
    request_id: String,
    /// The node that leads, as far as this node knows.
    #[schema(required)]
    leader: Option<String>,
    /// The field, parameter or header that is wrong.
    field: Option<String>,
    /// With `held` and `wait_timeout`: who is in the way, at most 16.
    holders: Option<Vec<ProblemHolder>>,
    /// With `deadlock`: each owner waits for a lock behind the next one, the last behind the first.
    cycle: Option<Vec<CycleEdge>>,
    /// With `hold_ended`: the lock as it is now.
    #[schema(value_type = Option<super::lock::LockNowAnswer>)]
    lock: Option<Value>,
    /// With `hold_ended` and `already_held`: which hold.
    hold: Option<String>,
    /// With `already_held`, `permits_differ` and `not_a_plain_lock`: which lock.
    name: Option<String>,
    /// With `permits_differ`: how many permits it lives with; null: it is a plain lock.
    permits_max: Option<u32>,
    /// With `limit_reached`: the setting that says how many there may be.
    setting: Option<String>,
    /// With `limit_reached`: how many that is.
    limit: Option<u64>,
    /// With `revoked`: why.
    reason: Option<String>,
    /// With `not_empty`: how many messages there are.
    messages: Option<u64>,
    /// Of a batch of which no item was taken: what came of each.
    #[schema(value_type = Option<Vec<Object>>)]
    results: Option<Value>,
    /// With `condition_failed`: the version of what is cached; null: nothing is.
    version: Option<String>,
    /// With `compacted`: the oldest record that is kept.
    oldest: Option<u64>,
}

/// Who is in the way.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ProblemHolder {
    /// Who.
    owner: String,
}

/// One owner of a cycle of waits.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct CycleEdge {
    /// Who waits.
    owner: String,
    /// For which lock.
    waits_for: String,
}

/// The stable word of a problem, for programs.
pub struct ProblemCode;

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        let words = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some("The stable word of a problem, for programs."))
            .enum_values(Some(
                CODES
                    .iter()
                    .chain(&queues::codes::CODES)
                    .chain(&cache::codes::CODES)
                    .map(|(code, _)| *code),
            ));
        Schema::Object(words.build()).into()
    }
}

impl ToSchema for ProblemCode {}

const ALWAYS: [(u16, &str); 6] = [
    (403, "The host is not served here, or the web page did not come from this node."),
    (431, "The head of the request is too long."),
    (400, "A field, parameter or header is missing or wrong: `field` names it. Nothing changed."),
    (500, "A bug of the server."),
    (503, "Nothing was applied: no leader, overloaded, shutting down. Try again."),
    (504, "The outcome is unknown: look before repeating it without a request id."),
];

const READING: [(u16, &str); 1] = [(405, "Another method than the route has.")];

const WRITING: [(u16, &str); 7] = [
    (405, "Another method than the route has."),
    (408, "The body did not arrive in time."),
    (409, "The locks are in the way; `code` says how."),
    (413, "The body is too long."),
    (415, "The body's type is not JSON."),
    (422, "The request id was used for another request."),
    (429, "A limit of the settings is reached: `setting` names it."),
];

/// Of reads.
pub struct ReadProblems;

/// Of changing requests.
pub struct WriteProblems;

impl IntoResponses for ReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        ALWAYS.iter().chain(&READING).map(problem).collect()
    }
}

impl IntoResponses for WriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        ALWAYS.iter().chain(&WRITING).map(problem).collect()
    }
}

/// One response of the Problem form.
pub fn problem((status, description): &(u16, &str)) -> (String, RefOr<Response>) {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(*description).content(PROBLEM_JSON, content);
    (status.to_string(), response.build().into())
}
