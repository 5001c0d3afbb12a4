//! What the description says about everything on these routes that is not a success.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::RefOr;
use utoipa::openapi::response::Response;

use crate::http::v1::problems::{ReadProblems, problem};

const FULL: (u16, &str) = (429, "Too many requests wait at this node. Try again, or ask another.");
const HOMELESS: (u16, &str) =
    (503, "No home served the key in time, or the node is shutting down: nothing was done.");

/// Of reads.
pub struct CacheReadProblems;

/// Of writes.
pub struct CacheWriteProblems;

impl IntoResponses for CacheReadProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = ReadProblems::responses();
        let none = (404, "Nothing is cached under the key.");
        all.extend([problem(&none), problem(&FULL), problem(&HOMELESS)]);
        all
    }
}

impl IntoResponses for CacheWriteProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let mut all = ReadProblems::responses();
        for said in [
            (408, "The body did not arrive in time."),
            (412, "What is there is not what the condition wants: `version` says what is."),
            (413, "The value is too long."),
            FULL,
            HOMELESS,
            (
                504,
                "The write may have been done, or not, or its value is lost: read before repeating it.",
            ),
        ] {
            all.extend([problem(&said)]);
        }
        all
    }
}
