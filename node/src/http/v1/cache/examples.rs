//! What the OpenAPI description shows as examples of these routes.

use serde_json::{Value, json};

/// The example of an operation: what is sent, if it has a body, and what is answered.
pub(in crate::http::v1) fn of(operation_id: &str) -> Option<(Option<Value>, Value)> {
    let written = json!({ "key": "user/7", "version": "812.7" });
    Some(match operation_id {
        "put_cached" | "delete_cached" => (None, written),
        "get_cached" => (None, json!("hello")),
        "get_cache_stats" => (
            None,
            json!({
                "node": "n1",
                "entries": 3,
                "entries_max": 1_000_000,
                "bytes": 1_024,
                "bytes_max": 67_108_864,
                "hits": 17,
                "misses": 4,
                "evictions": 0,
                "home": true,
                "homes": 3,
                "epoch": 812,
                "sessions": 2,
            }),
        ),
        _ => return None,
    })
}
