//! `GET /v1/audit`: what happened to locks.
//!
//! Linearizable by default: after a read barrier the node waits until its trail's writer has been
//! through everything that the state contains, so the answer has every event of every request that was
//! answered anywhere before. What this node does not have is named in every answer.

use std::time::Instant;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use dsync_core::audit::AuditHead;
use serde_json::Value;
use tokio::time::timeout_at;

use super::Site;
use super::envelope::RequestContext;
use super::problem::{Fault, json_answer};
use super::v1::problems::ReadProblems;
use super::v1::schemas::ConsistencyParam;
use crate::audit::answer::AuditAnswer;
use crate::audit::query::{self, Question};
use crate::audit::wall;
use crate::handle::SubmitError;

/// Searches that may run at once: each reads files and takes a segment's memory.
pub const SEARCHES_MAX: usize = 4;
/// Records in an answer, unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Most records in an answer.
const LIMIT_MAX: usize = 1_000;

/// What happened to locks: the audit trail as this node has it.
///
/// The records are in the order of their numbers, at most `limit` of them; `next` is the `after` of the
/// next page. `gaps` names what this node does not have, whatever was asked for.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "search_audit", tag = "audit",
    params(
        ("lock" = Option<String>, Query, min_length = 1, description = "Only about this lock."),
        ("owner" = Option<String>, Query, min_length = 1, description = "Only of this owner."),
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
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Response {
    match try_search(&site, query).await {
        Ok(Value::Object(body)) => json_answer(body),
        Ok(_) => Fault::internal().into_problem(&context),
        Err(fault) => fault.into_problem(&context),
    }
}

async fn try_search(
    site: &Site,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Value, Fault> {
    let Query(pairs) = query.map_err(|error| Fault::field("query", error.body_text()))?;
    let Asked { mut question, stale } = Asked::read(pairs)?;
    let deadline = Instant::now() + site.limits.deadline;
    let machine = if stale { site.node.machine() } else { site.node.read(deadline).await? };
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
    serde_json::to_value(answer).map_err(|_| Fault::internal())
}

fn answer(catalog: &crate::audit::Catalog, head: &AuditHead, question: &Question) -> AuditAnswer {
    AuditAnswer::new(catalog, head, query::search(catalog, question))
}

/// The parameters, read.
struct Asked {
    question: Question,
    stale: bool,
}

impl Asked {
    fn read(pairs: Vec<(String, String)>) -> Result<Self, Fault> {
        let mut asked = Self {
            question: Question { limit: LIMIT_DEFAULT, ..Question::default() },
            stale: false,
        };
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in pairs {
            if seen.contains(&name) {
                return Err(Fault::field(&name, format!("{name} is given twice")));
            }
            asked.set(&name, value)?;
            seen.push(name);
        }
        let Question { from_ms, to_ms, .. } = asked.question;
        if from_ms.zip(to_ms).is_some_and(|(from, to)| from >= to) {
            return Err(Fault::field("to", "to must be later than from"));
        }
        Ok(asked)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Fault> {
        let question = &mut self.question;
        match name {
            "lock" => question.lock = Some(filled(name, value)?),
            "owner" => question.owner = Some(filled(name, value)?),
            "from" => question.from_ms = Some(time(name, &value)?),
            "to" => question.to_ms = Some(time(name, &value)?),
            "after" => {
                let not_number =
                    || Fault::field(name, "after must be the number of a record, or 0");
                question.after = value.parse().map_err(|_| not_number())?;
            }
            "limit" => {
                let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                let wrong = || Fault::field(name, format!("limit must be 1 to {LIMIT_MAX}"));
                question.limit = limit.ok_or_else(wrong)?;
            }
            "consistency" => {
                self.stale = match value.as_str() {
                    "linearizable" => false,
                    "stale" => true,
                    _ => {
                        let detail = "consistency must be linearizable or stale";
                        return Err(Fault::field(name, detail));
                    }
                };
            }
            _ => {
                let detail =
                    "the parameters are lock, owner, from, to, after, limit and consistency";
                return Err(Fault::field(name, format!("{name} is not known: {detail}")));
            }
        }
        Ok(())
    }
}

fn filled(name: &str, value: String) -> Result<String, Fault> {
    match value.is_empty() {
        true => Err(Fault::field(name, format!("{name} is empty; leave it out to have all"))),
        false => Ok(value),
    }
}

fn time(name: &str, value: &str) -> Result<u64, Fault> {
    wall::parse(value).ok_or_else(|| {
        let form = "a time like 2025-01-31T09:30:00Z, or milliseconds since 1970";
        Fault::field(name, format!("{name} must be {form} (write a + as %2B)"))
    })
}
