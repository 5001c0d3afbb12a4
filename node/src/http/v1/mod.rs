//! `/v1`: the product's own API. The routes, one file per resource:
//!
//! | routes | file |
//! |---|---|
//! | `POST /v1/locks/{name}/acquire`, `/v1/locks/acquire` | [`acquire`] |
//! | `.../release`, `/renew`, `/upgrade`, `/downgrade` | [`hold`] |
//! | `POST /v1/locks/renew-all` | [`renew_all`] |
//! | `POST /v1/locks/{name}/force`, `/check` | [`force`], [`check`] |
//! | `GET /v1/locks/{name}`, `/v1/locks`, `/v1/graph/locks` | [`lock`], [`list`], [`graph`] |
//! | `/v1/queues`, `/v1/queues/{topic}/...` | [`queues`] |
//! | `/v1/cache`, `/v1/cache/{key}` | [`cache`] |
//! | `GET /v1/events` | [`events`] |
//! | `GET /v1/cluster` | [`cluster`] |
//! | `GET /v1/audit` | [`super::audit`] |
//! | `GET /openapi.json` | [`openapi`] |
//!
//! What they share: `asking` (changing requests), [`read`] (which state a read is from), `schemas` and
//! `problems` (what the description says of both).
//!
//! A word behind `/v1/locks/` may be a route and the name of a lock: `POST /v1/locks/acquire` asks for
//! several locks, and `GET /v1/locks/acquire` shows the lock called "acquire". No lock's name is
//! reserved.

pub mod acquire;
mod asking;
pub mod cache;
pub mod check;
pub mod cluster;
pub mod events;
mod examples;
pub mod force;
pub mod graph;
pub mod hold;
pub mod list;
pub mod lock;
pub mod openapi;
pub(super) mod problems;
pub mod queues;
pub mod read;
pub mod renew_all;
pub(crate) mod schemas;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use http::Uri;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use self::asking::settings;
use super::envelope::RequestContext;
use super::{Site, audit};

/// Words of routes that may as well be names of locks.
const WORDS: [&str; 4] = ["acquire", "release", "renew", "renew-all"];

/// The routes.
pub fn routes() -> Router<Site> {
    let (mut router, _) = described().split_for_parts();
    for word in WORDS {
        let show = move |State(site): State<Site>,
                         Extension(context): Extension<RequestContext>,
                         uri: Uri| show(site, context, uri, word);
        router = router.route(&format!("/v1/locks/{word}"), get(show));
    }
    router.route("/openapi.json", get(openapi::serve))
}

async fn show(site: Site, context: RequestContext, uri: Uri, word: &'static str) -> Response {
    lock::get_named(site, context, uri, word).await
}

/// The routes with what the description says of them.
fn described() -> OpenApiRouter<Site> {
    OpenApiRouter::new()
        .routes(routes!(acquire::one))
        .routes(routes!(acquire::many))
        .routes(routes!(hold::release))
        .routes(routes!(hold::release_any))
        .routes(routes!(hold::renew))
        .routes(routes!(hold::renew_any))
        .routes(routes!(hold::upgrade))
        .routes(routes!(hold::downgrade))
        .routes(routes!(renew_all::renew_all))
        .routes(routes!(force::force))
        .routes(routes!(check::check))
        .routes(routes!(lock::get))
        .routes(routes!(list::list))
        .routes(routes!(graph::graph))
        .routes(routes!(events::watch))
        .routes(routes!(cluster::cluster))
        .routes(routes!(audit::search))
        .merge(queues::described())
        .merge(cache::described())
}
