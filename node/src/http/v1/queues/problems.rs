//! What the OpenAPI description says about everything on these routes that is not a success.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;

use crate::http::v1::problems::{ReadProblems, WriteProblems, problem};

const NONE: (u16, &str) = (404, "There is no such topic, or no such message.");
const FULL: (u16, &str) =
    (429, "No room: `setting` names the limit; or the cluster does not keep up. Try again.");

/// Of reads.
pub struct QueueReadProblems;

/// Of changing requests.
pub struct QueueWriteProblems;

impl IntoResponses for QueueReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = ReadProblems::responses();
        all.extend([problem(&NONE)]);
        all
    }
}

impl IntoResponses for QueueWriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let conflict = (409, "What is asked for does not fit what is there; `code` says how.");
        let mut all = WriteProblems::responses();
        all.extend([problem(&NONE), problem(&FULL), problem(&conflict)]);
        all
    }
}
