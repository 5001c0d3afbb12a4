//! `POST /v1/queues/{topic}/settle`: what has become of the work on deliveries.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::queue::{DeliveryRef, Receipt, SettleItem, SettleOutcome, Verdict};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::asking::{Asked, Form, TopicPath};
use super::codes;
use super::problems::QueueWriteProblems;
use super::results::Results;
use super::schemas::{self, ItemError};
use crate::http::Site;
use crate::http::envelope::RequestContext;
use crate::http::fields::Fields;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::schemas::{Duration, RequestIdHeaders};

const FORM: Form = Form { known: &["items"], kept: None, repeatable: true };
const FIELDS: [&str; 5] = ["receipt", "action", "delay", "visibility", "reason"];

/// Each action with the fields that go with it.
const ACTIONS: [(&str, &[&str]); 4] = [
    ("ack", &[]),
    ("nack", &["delay", "reason"]),
    ("extend", &["visibility"]),
    ("reject", &["reason"]),
];

/// Deliveries, and what became of them.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct SettleRequest {
    /// 1 to 1000 of them.
    #[schema(min_items = 1, max_items = 1000)]
    items: Vec<SettleItemRequest>,
}

/// A delivery, and what became of it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct SettleItemRequest {
    /// Which.
    receipt: schemas::ReceiptText,
    /// What became of it.
    action: ActionWord,
    /// With `nack`: how long until the next delivery; the topic's back-off if absent.
    delay: Option<Duration>,
    /// With `extend`: how long it goes on from now, 1 ms to 12 h; the topic's if absent.
    visibility: Option<Duration>,
    /// With `nack` and `reject`: why.
    #[schema(max_length = 1024)]
    reason: Option<String>,
}

/// What became of a delivery.
#[derive(ToSchema)]
#[schema(as = Action, rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum ActionWord {
    /// Done: the message is gone.
    Ack,
    /// Not done: once more.
    Nack,
    /// Still being done.
    Extend,
    /// Will never be done: dead.
    Reject,
}

/// What came of each item.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettleAnswer {
    /// In the order of the items.
    #[schema(value_type = Vec<SettleResult>)]
    results: Vec<Value>,
    /// The newest log entry that settled one of them.
    index: u64,
}

/// What came of one item: `outcome`, or `error`.
#[derive(ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct SettleResult {
    /// Whose result it is.
    #[schema(value_type = schemas::ReceiptText)]
    receipt: String,
    /// `acked`, `nacked`, `dead`, `expired` or `extended`.
    outcome: Option<String>,
    /// With `nacked`: how long until the next delivery.
    delay_ms: Option<u64>,
    /// With `extended`: how long the delivery goes on.
    remaining_ms: Option<u64>,
    /// Why nothing changed.
    error: Option<ItemError>,
}

/// Settles deliveries.
///
/// If nothing was settled, the answer is the problem of the first item, with all of them in `results`:
/// 409 `stale_receipt` (the delivery is not, or no longer, the live one of its message), ...
#[utoipa::path(
    post, path = "/v1/queues/{topic}/settle", operation_id = "settle_deliveries", tag = "queues",
    params(schemas::TopicInPath, RequestIdHeaders),
    request_body = SettleRequest,
    responses((status = 200, description = "Settled.", body = SettleAnswer), QueueWriteProblems),
)]
pub async fn settle(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    request: Request,
) -> Response {
    try_settle(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_settle(site: &Site, path: TopicPath, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, path, request, FORM).await?;
    let given = asked.fields.objects("items", asked.batch_max(), &FIELDS)?;
    let items = given.iter().map(|fields| item(&asked, fields));
    let items = items.collect::<Result<Vec<_>, _>>()?;
    let receipts: Vec<String> = items.iter().map(receipt_of).collect();
    let (topic, asker) = (asked.topic.clone(), asked.asker(site));
    let results = site.node.queues().settle(topic, items, asker).await;
    let name = |at: usize| json!({ "receipt": receipts[at] });
    let Results { items: results, index } = Results::draw(results, name, drawn)?;
    Ok(typed_answer(&SettleAnswer { results, index: index.0 }))
}

fn item(asked: &Asked, fields: &Fields) -> Result<SettleItem, Fault> {
    let receipt = fields.text_up_to("receipt", 128)?;
    let receipt = receipt.ok_or_else(|| fields.wrong("receipt", "is missing"))?;
    let receipt = parse_receipt(receipt)
        .ok_or_else(|| fields.wrong("receipt", "must be a receipt, as a receive gave it"))?;
    let action = fields.choice("action", &ACTIONS.map(|(word, _)| (word, word)))?;
    let verdict = verdict(asked, fields, action)?;
    Ok(SettleItem { delivery: DeliveryRef::Receipt(receipt), verdict })
}

fn verdict(asked: &Asked, fields: &Fields, action: &str) -> Result<Verdict, Fault> {
    let rules = &asked.rules;
    let takes = ACTIONS.iter().find(|(word, _)| *word == action).map_or(&[][..], |(_, it)| it);
    let stray = FIELDS[2..].iter().find(|field| fields.has(field) && !takes.contains(field));
    if let Some(stray) = stray {
        return Err(fields.wrong(stray, &format!("does not go with {action}")));
    }
    let reason = || {
        let max = usize::try_from(rules.reason_bytes_max).unwrap_or(usize::MAX);
        Ok::<_, Fault>(fields.text_up_to("reason", max)?.unwrap_or_default().to_owned())
    };
    Ok(match action {
        "nack" => Verdict::Nack {
            delay_ms: fields.duration_up_to("delay", rules.delay_ms_max)?,
            reason: reason()?,
        },
        "extend" => {
            let visibility_ms = fields.duration_up_to("visibility", rules.visibility_ms_max)?;
            if visibility_ms == Some(0) {
                return Err(fields.wrong("visibility", "must be at least 1 ms"));
            }
            Verdict::Extend { visibility_ms }
        }
        "reject" => Verdict::Reject { reason: reason()? },
        _ => Verdict::Ack,
    })
}

/// One delivery has one writing.
fn parse_receipt(text: &str) -> Option<Receipt> {
    text.parse().ok().filter(|receipt: &Receipt| receipt.to_string() == text)
}

fn receipt_of(item: &SettleItem) -> String {
    match &item.delivery {
        DeliveryRef::Receipt(receipt) => receipt.to_string(),
        DeliveryRef::Latest { message, .. } => message.to_string(),
    }
}

fn drawn(outcome: SettleOutcome) -> Result<Value, Fault> {
    Ok(match outcome {
        SettleOutcome::Acked => json!({ "outcome": "acked" }),
        SettleOutcome::Nacked { delay_ms } => json!({ "outcome": "nacked", "delay_ms": delay_ms }),
        SettleOutcome::Dead => json!({ "outcome": "dead" }),
        SettleOutcome::Expired => json!({ "outcome": "expired" }),
        SettleOutcome::Extended { remaining_ms } => {
            json!({ "outcome": "extended", "remaining_ms": remaining_ms })
        }
        SettleOutcome::Stale => {
            let detail = "this delivery is not, or no longer, the live one of its message; \
                          nothing changed";
            return Err(Fault::conflict(codes::STALE_RECEIPT, detail));
        }
        SettleOutcome::Refused(refusal) => return Err(refusal.into()),
    })
}
