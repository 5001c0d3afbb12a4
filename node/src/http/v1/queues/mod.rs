//! `/v1/queues`: topics, their messages, and what is done with them.
//!
//! | routes | file |
//! |---|---|
//! | `POST /v1/queues/{topic}/push` | [`push`] |
//! | `POST .../receive` | [`receive`] |
//! | `POST .../settle` | [`settle`] |
//! | `GET`, `DELETE .../messages/{id}` | [`message`] |
//! | `GET .../messages`, `.../peek` | [`list`] |
//! | `GET`, `PATCH .../settings` | [`settings`] |
//! | `GET`, `DELETE /v1/queues/{topic}`, `GET /v1/queues` | [`topic`], [`topics`] |
//! | `POST .../purge`, `.../redrive` | [`purge`], [`redrive`] |
//! | `GET .../conservation` | [`conservation`] |
//!
//! What they share: `asking` (changing requests), `results` (answers by item), `answers` (messages as they
//! are shown), `codes` and `problems` (what is no success).

mod answers;
mod asking;
pub mod codes;
pub mod conservation;
mod examples;
pub mod list;
pub mod message;
mod problems;
pub mod purge;
pub mod push;
pub mod receive;
pub mod redrive;
mod results;
mod schemas;
pub mod settings;
pub mod settle;
pub mod topic;
pub mod topics;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(super) use self::examples::of as example;
use crate::http::Site;

/// The routes with what the description says of them.
pub(super) fn described() -> OpenApiRouter<Site> {
    OpenApiRouter::new()
        .routes(routes!(push::push))
        .routes(routes!(receive::receive))
        .routes(routes!(settle::settle))
        .routes(routes!(message::get, message::remove))
        .routes(routes!(list::list))
        .routes(routes!(list::peek))
        .routes(routes!(settings::get, settings::change))
        .routes(routes!(topic::get, topic::delete))
        .routes(routes!(topics::topics))
        .routes(routes!(purge::purge))
        .routes(routes!(redrive::redrive))
        .routes(routes!(conservation::conservation))
}
