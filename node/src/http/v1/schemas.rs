//! What the OpenAPI description says about things that occur everywhere: modes, lengths of time, hold
//! ids, names, consistency, the headers of a changing request.

use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// How a lock is held.
#[derive(ToSchema)]
#[schema(as = Mode, rename_all = "lowercase")]
#[allow(dead_code, reason = "only its schema is used")]
pub enum ModeWord {
    /// By one owner alone.
    Exclusive,
    /// Beside other shared holders.
    Shared,
    /// Some of the lock's permits, beside others who have theirs.
    Permits,
}

/// What happened to a lock.
#[derive(ToSchema)]
#[schema(as = EventKind, rename_all = "snake_case")]
#[cfg_attr(test, derive(Debug))]
#[allow(dead_code, reason = "only its schema is used")]
pub enum EventKind {
    /// A request was queued.
    Queued,
    /// A request was granted.
    Granted,
    /// A request was granted while nobody listened.
    ClaimOpened,
    /// A claim became a full hold.
    ClaimTaken,
    /// A shared holder was queued for exclusive.
    UpgradeQueued,
    /// A shared lock became exclusive.
    Upgraded,
    /// An exclusive lock became shared.
    Downgraded,
    /// A hold was given back.
    Released,
    /// A hold was undone because its client never heard of it.
    Undone,
    /// A lease ended.
    Expired,
    /// A claim was not taken up in time.
    ClaimLapsed,
    /// A waiter left its queue.
    Left,
    /// A waiter's place ended because nobody had listened for too long.
    PlaceLapsed,
    /// A hold was revoked.
    Revoked,
    /// A hold was ended by force.
    Forced,
    /// A request was refused.
    Refused,
    /// A request was refused because it would have closed a cycle.
    Deadlock,
}

/// A length of time: an integer of milliseconds, or a text like `30s`.
pub struct Duration;

impl PartialSchema for Duration {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::Integer))
            .minimum(Some(0))
            .description(Some("Milliseconds."));
        let text = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some(r"^([0-9]+(\.[0-9]+)?(d|h|m|s|ms))+$"))
            .description(Some("With units, the longest first: `500ms`, `1.5s`, `1h30m`, `1d`."));
        let one = OneOfBuilder::new().item(number).item(text);
        Schema::OneOf(one.description(Some("A length of time.")).build()).into()
    }
}

impl ToSchema for Duration {}

/// A hold's id: `index-position` of its grant. Never used again.
pub struct HoldText;

impl PartialSchema for HoldText {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .pattern(Some("^(0|[1-9][0-9]{0,18})-(0|[1-9][0-9]{0,8})$"))
            .description(Some("A hold's id: `index-position` of its grant. Never used again."))
            .examples(["812-0"]);
        Schema::Object(text.build()).into()
    }
}

impl ToSchema for HoldText {
    fn name() -> std::borrow::Cow<'static, str> {
        "HoldId".into()
    }
}

/// The lock of a route.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct NameInPath {
    /// The lock's name: 1 to 256 bytes of UTF-8 (the setting `name_bytes_max`), without control
    /// characters. A "/" is written `%2F`.
    #[param(min_length = 1, max_length = 256, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    name: String,
}

/// Which state a read is from.
pub struct ConsistencyParam;

impl IntoParams for ConsistencyParam {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let words = ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .enum_values(Some(["linearizable", "stale"]));
        let consistency = ParameterBuilder::new()
            .name("consistency")
            .parameter_in(ParameterIn::Query)
            .required(Required::False)
            .description(Some(
                "`linearizable` (default): everything that was answered anywhere before is in the \
                 answer. `stale`: this node's own state; the headers `Dsync-Applied` and \
                 `Dsync-Staleness-Ms` say how old it may be.",
            ))
            .schema(Some(words));
        vec![consistency.build()]
    }
}

/// The id of a changing request.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "only its schema is used")]
pub struct RequestIdHeaders {
    /// Any word of the client's for this request, so that it may be sent again, to any node, with one
    /// effect. Not beside `Dsync-Request`.
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 256,
        pattern = "^[!-~]([ -~]*[!-~])?$"
    )]
    idempotency_key: Option<String>,
    /// `CLIENT-SEQUENCE-LOWWATER`: a random number of the client in hex, the request's own number from
    /// 1, and the lowest number that the client may still repeat. What is below it is forgotten at once.
    #[param(rename = "Dsync-Request", pattern = "^[0-9a-fA-F]{1,16}-[0-9]+-[0-9]+$")]
    dsync_request: Option<String>,
}
