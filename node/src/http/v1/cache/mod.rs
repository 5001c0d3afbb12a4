//! `/v1/cache`: values by key, the same on every node.
//!
//! | routes | file |
//! |---|---|
//! | `GET`, `HEAD /v1/cache/{key}` | [`get`] |
//! | `PUT`, `DELETE /v1/cache/{key}` | [`mod@write`] |
//! | `GET /v1/cache` | [`stats`] |
//!
//! What they share: `asking` (the key, conditions, versions), `codes` and `problems` (what is no success).

mod asking;
pub mod codes;
mod examples;
pub mod get;
mod problems;
pub mod stats;
pub mod write;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(in crate::http) use self::asking::{checked_key, value_bytes_max};
pub(super) use self::examples::of as example;
use crate::http::Site;

/// The routes with what the description says of them.
pub(super) fn described() -> OpenApiRouter<Site> {
    OpenApiRouter::new()
        .routes(routes!(get::get, write::put, write::delete))
        .routes(routes!(stats::stats))
}
