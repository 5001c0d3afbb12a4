//! `/v1/queues/{topic}/settings`: how a topic treats its messages.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use dsync_core::queue::{
    Backoff, Configure, Expired, Growth, QueueOperation, QueueOutcome, Rules, TopicChange,
    TopicSettings,
};
use http::Uri;
use serde::Serialize;
use utoipa::ToSchema;

use super::asking::{self, Asked, Form, TopicPath, no_topic, topic_of};
use super::problems::{QueueReadProblems, QueueWriteProblems};
use super::schemas;
use crate::http::envelope::RequestContext;
use crate::http::fields::{EXACT_INTEGER_MAX, Fields};
use crate::http::original::ANONYMOUS;
use crate::http::params::Params;
use crate::http::problem::{Fault, typed_answer};
use crate::http::v1::read::Snapshot;
use crate::http::v1::schemas::{ConsistencyParam, Duration};
use crate::http::{Site, locks_view};

const FORM: Form = Form::of(&[
    "visibility",
    "deliveries_max",
    "nack_backoff",
    "timeout_backoff",
    "paused",
    "messages_max",
    "ttl",
    "expired",
    "dedupe_window",
]);
const GROWTHS: [(&str, Growth); 3] =
    [("fixed", Growth::Fixed), ("linear", Growth::Linear), ("exponential", Growth::Exponential)];
const EXPIRED: [(&str, Expired); 2] = [("drop", Expired::Drop), ("dead", Expired::Dead)];

/// What is to be other than it is, or, in a new topic, than the default.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct SettingsRequest {
    /// How long a delivery lives if its receive does not say: 1 ms to 12 h.
    visibility: Option<Duration>,
    /// A message that was delivered so often and was not acknowledged is dead; 0: never.
    #[schema(minimum = 0, maximum = 4_294_967_295_u64)]
    deliveries_max: Option<u64>,
    /// How long a message waits after a nack that does not say.
    nack_backoff: Option<BackoffRequest>,
    /// How long a message waits after a delivery that has ended without a word.
    timeout_backoff: Option<BackoffRequest>,
    /// Nothing is delivered from the main part. All else goes on.
    paused: Option<bool>,
    /// Most messages in the main part; 0: only the cluster's limit.
    #[schema(minimum = 0, maximum = 9_007_199_254_740_991_u64)]
    messages_max: Option<u64>,
    /// How long a message is wanted if its push does not say; 0: for ever.
    ttl: Option<Duration>,
    /// What becomes of a message that is not wanted any more.
    expired: Option<ExpiredWord>,
    /// How long a deduplication key is remembered: 1 ms to 24 h.
    dedupe_window: Option<Duration>,
}

/// A pace of retries.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "only its schema is used; `Fields` reads it")]
pub struct BackoffRequest {
    /// How it grows; `exponential` if absent.
    growth: Option<GrowthWord>,
    /// After the first delivery.
    base: Duration,
    /// At most; `base` if absent.
    max: Option<Duration>,
    /// Up to this share is taken off; 0 if absent.
    #[schema(minimum = 0, maximum = 100)]
    jitter_percent: Option<u8>,
}

/// How a pause grows with the number of deliveries.
#[derive(ToSchema)]
#[schema(as = Growth, rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum GrowthWord {
    /// Not at all.
    Fixed,
    /// By the first pause each time.
    Linear,
    /// To the double each time.
    Exponential,
}

/// What becomes of a message whose time to live is over.
#[derive(ToSchema)]
#[schema(as = Expired, rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum ExpiredWord {
    /// It is gone.
    Drop,
    /// It is dead.
    Dead,
}

/// How a topic treats its messages.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingsView {
    /// How long a delivery lives if its receive does not say.
    visibility_ms: u64,
    /// A message that was delivered so often and was not acknowledged is dead; 0: never.
    deliveries_max: u32,
    /// How long a message waits after a nack that does not say.
    nack_backoff: BackoffView,
    /// How long a message waits after a delivery that has ended without a word.
    timeout_backoff: BackoffView,
    /// Nothing is delivered from the main part.
    paused: bool,
    /// Most messages in the main part; 0: only the cluster's limit.
    messages_max: u64,
    /// How long a message is wanted if its push does not say; 0: for ever.
    ttl_ms: u64,
    /// What becomes of a message that is not wanted any more.
    #[schema(value_type = ExpiredWord)]
    expired: Expired,
    /// How long a deduplication key is remembered.
    dedupe_window_ms: u64,
}

/// A pace of retries.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BackoffView {
    /// How it grows.
    #[schema(value_type = GrowthWord)]
    growth: Growth,
    /// After the first delivery.
    base_ms: u64,
    /// At most.
    max_ms: u64,
    /// Up to this share is taken off.
    jitter_percent: u8,
}

/// The settings of a topic, and the moment of the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingsAnswer {
    /// The topic.
    topic: String,
    /// Its settings.
    settings: SettingsView,
    /// Last log entry that the answer contains.
    index: u64,
    /// Cluster time of the answer.
    time_ms: u64,
}

/// The settings of a topic as they are now.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SettingsChangedAnswer {
    /// The topic.
    topic: String,
    /// The topic was made.
    created: bool,
    /// Its settings.
    settings: SettingsView,
    /// Log entry of the change.
    index: u64,
}

/// The settings of a topic.
#[utoipa::path(
    get, path = "/v1/queues/{topic}/settings", operation_id = "get_topic_settings", tag = "queues",
    params(schemas::TopicInPath, ConsistencyParam),
    responses((status = 200, description = "The settings.", body = SettingsAnswer), QueueReadProblems),
)]
pub async fn get(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    uri: Uri,
) -> Response {
    try_get(&site, path, &uri).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

/// Changes the settings that are named, and makes the topic if it is not there.
#[utoipa::path(
    patch, path = "/v1/queues/{topic}/settings", operation_id = "change_topic_settings",
    tag = "queues", params(schemas::TopicInPath),
    request_body = SettingsRequest,
    responses(
        (status = 200, description = "The settings as they are now.", body = SettingsChangedAnswer),
        QueueWriteProblems,
    ),
)]
pub async fn change(
    State(site): State<Site>,
    Extension(context): Extension<RequestContext>,
    path: TopicPath,
    request: Request,
) -> Response {
    try_change(&site, path, request).await.unwrap_or_else(|fault| fault.into_problem(&context))
}

async fn try_get(site: &Site, path: TopicPath, uri: &Uri) -> Result<Response, Fault> {
    let topic = topic_of(site, path)?;
    let params = Params::read(uri, &["consistency"])?;
    let snapshot = Snapshot::take(site, &params).await?;
    let (index, now) = locks_view::position(&snapshot.state);
    let view = snapshot.state.machine.queues().topic(&topic).ok_or_else(|| no_topic(&topic))?;
    let settings = SettingsView::new(&view.settings);
    let answer = SettingsAnswer { topic, settings, index: index.0, time_ms: now.0 };
    Ok(snapshot.mark(typed_answer(&answer)))
}

async fn try_change(site: &Site, path: TopicPath, request: Request) -> Result<Response, Fault> {
    let asked = Asked::read(site, path, request, FORM).await?;
    let change = change_of(&asked.fields, &asked.rules)?;
    let (principal, topic) = (ANONYMOUS.to_owned(), asked.topic.clone());
    let configure = Configure { principal, topic: topic.clone(), change };
    match asking::submit(site, QueueOperation::Configure(configure)).await? {
        (index, QueueOutcome::Configured { created, settings }) => {
            let (settings, index) = (SettingsView::new(&settings), index.0);
            Ok(typed_answer(&SettingsChangedAnswer { topic, created, settings, index }))
        }
        (_, other) => Err(asking::unexpected(&other)),
    }
}

fn change_of(fields: &Fields, rules: &Rules) -> Result<TopicChange, Fault> {
    let deliveries_max = fields.integer("deliveries_max", 0..=u32::MAX.into())?;
    Ok(TopicChange {
        visibility_ms: positive(fields, "visibility", rules.visibility_ms_max)?,
        deliveries_max: deliveries_max.map(|max| u32::try_from(max).unwrap_or(u32::MAX)),
        nack_backoff: backoff(fields, "nack_backoff", rules)?,
        timeout_backoff: backoff(fields, "timeout_backoff", rules)?,
        paused: fields.truth("paused")?,
        messages_max: fields.integer("messages_max", 0..=EXACT_INTEGER_MAX)?,
        ttl_ms: fields.duration_up_to("ttl", rules.delay_ms_max)?,
        expired: fields.choice_or_none("expired", &EXPIRED)?,
        dedupe_window_ms: positive(fields, "dedupe_window", rules.dedupe_window_ms_max)?,
    })
}

fn positive(fields: &Fields, field: &str, max_ms: u64) -> Result<Option<u64>, Fault> {
    match fields.duration_up_to(field, max_ms)? {
        Some(0) => Err(fields.wrong(field, "must be at least 1 ms")),
        ms => Ok(ms),
    }
}

fn backoff(fields: &Fields, field: &str, rules: &Rules) -> Result<Option<Backoff>, Fault> {
    let known = ["growth", "base", "max", "jitter_percent"];
    let Some(given) = fields.object(field, &known)? else { return Ok(None) };
    let base_ms = given.duration_up_to("base", rules.delay_ms_max)?;
    let base_ms = base_ms.ok_or_else(|| given.wrong("base", "is missing"))?;
    let max_ms = given.duration_up_to("max", rules.delay_ms_max)?.unwrap_or(base_ms);
    if max_ms < base_ms {
        return Err(given.wrong("max", "must not be less than base"));
    }
    let growth = given.choice_or_none("growth", &GROWTHS)?.unwrap_or(Growth::Exponential);
    let jitter = given.integer("jitter_percent", 0..=100)?.unwrap_or(0);
    let jitter_percent = u8::try_from(jitter).unwrap_or(100);
    Ok(Some(Backoff { growth, base_ms, max_ms, jitter_percent }))
}

impl SettingsView {
    /// Draws them.
    pub(super) fn new(settings: &TopicSettings) -> Self {
        let backoff = |it: &Backoff| BackoffView {
            growth: it.growth,
            base_ms: it.base_ms,
            max_ms: it.max_ms,
            jitter_percent: it.jitter_percent,
        };
        Self {
            visibility_ms: settings.visibility_ms,
            deliveries_max: settings.deliveries_max,
            nack_backoff: backoff(&settings.nack_backoff),
            timeout_backoff: backoff(&settings.timeout_backoff),
            paused: settings.paused,
            messages_max: settings.messages_max,
            ttl_ms: settings.ttl_ms,
            expired: settings.expired,
            dedupe_window_ms: settings.dedupe_window_ms,
        }
    }
}
