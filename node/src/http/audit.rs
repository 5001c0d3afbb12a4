//! `GET /v1/audit`: what happened to locks.
//!
//! Linearizable by default: after a read barrier the node waits until its trail's writer has been
//! through everything that the state contains, so the answer has every event of every request that was
//! answered anywhere before. What this node does not have is named in every answer.

use std::time::Instant;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use dsync_core::audit::AuditHead;
use http::Uri;
use tokio::time::timeout_at;

use super::Site;
use super::envelope::RequestContext;
use super::fields::EXACT_INTEGER_MAX;
use super::params::Params;
use super::problem::{Fault, typed_answer};
use super::v1::problems::ReadProblems;
use super::v1::read::Snapshot;
use super::v1::schemas::ConsistencyParam;
use crate::audit::answer::AuditAnswer;
use crate::audit::query::{self, Question};
use crate::audit::wall;
use crate::handle::SubmitError;

/// Searches that may run at once: each reads files and takes a segment's memory.
pub const SEARCHES_MAX: usize = 4;
/// Records in an answer, unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Most bytes of a parameter. Names were shorter once, or will be longer: whatever the settings say
/// now, the trail has them.
const TEXT_BYTES_MAX: usize = 4 << 10;
/// Most records in an answer.
const LIMIT_MAX: usize = 1_000;

/// What happened to locks, and what was done to topics: the audit trail as this node has it.
///
/// The records are in the order of their numbers, at most `limit` of them; `next` is the `after` of the
/// next page. `gaps` names what this node does not have, whatever was asked for.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "search_audit", tag = "audit",
    params(
        ("lock" = Option<String>, Query, min_length = 1, max_length = 4096,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", description = "Only about this lock."),
        ("topic" = Option<String>, Query, min_length = 1, max_length = 4096,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", description = "Only about this topic."),
        ("owner" = Option<String>, Query, min_length = 1, max_length = 4096,
            pattern = r"^[^\x00-\x1f\x7f-\x9f]+$", description = "Only of this owner."),
        ("from" = Option<String>, Query,
            description = "Only since then: RFC 3339, or milliseconds since 1970."),
        ("to" = Option<String>, Query,
            description = "Only before then: RFC 3339, or milliseconds since 1970."),
        ("after" = Option<u64>, Query, maximum = 9_007_199_254_740_991_u64,
            description = "Only behind this record."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000,
            description = "Most records; 100 if absent."),
        ConsistencyParam,
    ),
    responses((status = 200, description = "A page of records.", body = AuditAnswer), ReadProblems),
)]
pub async fn search(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    uri: Uri,
) -> Response {
    try_search(&site, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_search(site: &Site, uri: &Uri) -> Result<Response, Fault> {
    let known = ["lock", "topic", "owner", "from", "to", "after", "limit", "consistency"];
    let params = Params::read(uri, &known)?;
    let mut question = question(&params)?;
    let deadline = Instant::now() + site.limits.deadline;
    let snapshot = Snapshot::take(site, &params).await?;
    let machine = &snapshot.state.machine;
    let head = machine.audit();
    question.until = head.count;
    // In time or not: what is not written by then is named as missing.
    let written = timeout_at(deadline.into(), site.audit.reach(head.count)).await;
    let catalog = written.unwrap_or_else(|_| site.audit.catalog());
    let seat = timeout_at(deadline.into(), site.searches.clone().acquire_owned()).await;
    let Ok(Ok(seat)) = seat else { return Err(SubmitError::Overloaded.into()) };
    let answer = move || answer(&catalog, &head, &question);
    let answer = tokio::task::spawn_blocking(move || (answer(), seat)).await;
    let (answer, _seat) = answer.map_err(|_| Fault::internal())?;
    Ok(snapshot.mark(typed_answer(&answer)))
}

fn answer(catalog: &crate::audit::Catalog, head: &AuditHead, question: &Question) -> AuditAnswer {
    AuditAnswer::new(catalog, head, query::search(catalog, question))
}

/// The parameters, read.
fn question(params: &Params) -> Result<Question, Fault> {
    let owned = |name| params.name(name, TEXT_BYTES_MAX).map(|text| text.map(str::to_owned));
    let moment = |name| params.text(name, TEXT_BYTES_MAX)?.map(|text| time(name, text)).transpose();
    let question = Question {
        lock: owned("lock")?,
        topic: owned("topic")?,
        owner: owned("owner")?,
        from_ms: moment("from")?,
        to_ms: moment("to")?,
        after: params.number("after", 0..=EXACT_INTEGER_MAX)?.unwrap_or(0),
        limit: params.limit(LIMIT_DEFAULT, LIMIT_MAX)?,
        ..Question::default()
    };
    if question.from_ms.zip(question.to_ms).is_some_and(|(from, to)| from >= to) {
        return Err(Fault::field("to", "to must be later than from"));
    }
    Ok(question)
}

fn time(name: &str, value: &str) -> Result<u64, Fault> {
    wall::parse(value).ok_or_else(|| {
        let form = "a time like 2025-01-31T09:30:00Z, or milliseconds since 1970";
        Fault::field(name, format!("{name} must be {form} (write a + as %2B)"))
    })
}
