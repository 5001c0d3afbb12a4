//! What the description says about things that occur on several of these routes.

use serde::Serialize;
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The topic of a route.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct TopicInPath {
    /// The topic's name: 1 to 256 bytes of UTF-8 (the setting `name_bytes_max`), without control
    /// characters. A "/" is written `%2F`.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    topic: String,
}

/// The topic and the message of a route.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct MessageInPath {
    /// The topic's name.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    topic: String,
    /// The message's id.
    #[param(pattern = r"^(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,8})$")]
    id: String,
}

/// A part of a topic.
#[derive(ToSchema)]
#[schema(as = SubQueue, rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum SubQueueWord {
    /// What is to be worked on.
    Main,
    /// What nobody could work on.
    Dead,
}

/// What a message is doing.
#[derive(ToSchema)]
#[schema(as = MessageState, rename_all = "snake_case")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum StateWord {
    /// It can be delivered, or waits behind others of its group.
    Ready,
    /// It will be ready.
    Delayed,
    /// Somebody works on it.
    InFlight,
}

/// A message's id. Never used again.
pub struct MessageIdText;

impl PartialSchema for MessageIdText {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some(r"^(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,8})$"))
            .description(Some("A message's id. Never used again."))
            .examples(["812.0"]);
        Schema::Object(text.build()).into()
    }
}

impl ToSchema for MessageIdText {
    fn name() -> std::borrow::Cow<'static, str> {
        "MessageId".into()
    }
}

/// Names one delivery. Never used again.
pub struct ReceiptText;

impl PartialSchema for ReceiptText {
    fn schema() -> RefOr<Schema> {
        let pair = r"(0|[1-9][0-9]{0,18})\.(0|[1-9][0-9]{0,8})";
        let text = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some(format!("^{pair}-{pair}-[0-9a-f]{{16}}$")))
            .description(Some("Names one delivery of a message. Never used again."))
            .examples(["812.0-815.0-1c9e4f7a2b3d5068"]);
        Schema::Object(text.build()).into()
    }
}

impl ToSchema for ReceiptText {
    fn name() -> std::borrow::Cow<'static, str> {
        "Receipt".into()
    }
}

/// What has become of an item that was not taken: as a problem. Some codes have members of their own
/// beside these.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct ItemError {
    /// The stable word for programs.
    #[schema(value_type = crate::http::v1::problems::ProblemCode)]
    code: String,
    /// What all problems of one code have in common, for people.
    title: String,
    /// The status that a problem of this code has.
    status: u16,
    /// One sentence about this very item.
    detail: String,
    /// Nothing was done, and the same item may be taken later.
    retryable: bool,
    /// With `limit_reached`: the setting that says how many there may be.
    setting: Option<String>,
    /// With `limit_reached`: how many that is.
    limit: Option<u64>,
    /// What is wrong with the item.
    #[schema(value_type = Option<Value>)]
    field: Option<Value>,
}
