//! The codes of problems that only caches have, and what all problems of each have in common.

/// Nothing is cached under the key.
pub const NO_SUCH_KEY: &str = "no_such_key";
/// What is cached is not what the request wants to be there.
pub const CONDITION_FAILED: &str = "condition_failed";
/// No home served the key in time.
pub const HOME_UNAVAILABLE: &str = "home_unavailable";
/// Too many requests wait at this node.
pub const CACHES_OVERLOADED: &str = "caches_overloaded";

/// All of them, with their titles.
pub const CODES: [(&str, &str); 4] = [
    (NO_SUCH_KEY, "Nothing is cached under the key"),
    (CONDITION_FAILED, "The condition does not hold"),
    (HOME_UNAVAILABLE, "No home serves the key"),
    (CACHES_OVERLOADED, "The node does not keep up with caches"),
];
