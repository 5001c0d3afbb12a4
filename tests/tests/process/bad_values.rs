//! What a field, a parameter or a header may not be: by its name, for every route that has it.
//!
//! A name without bad values here is a panic, so that whoever adds one thinks of them.

use serde_json::{Value, json};

/// One byte more than a name may have.
pub const NAME_TOO_LONG: usize = 257;

/// Bad values of a field of a body. `null` is the same as no field, and so is bad where one is needed.
pub fn of_field(path: &str, field: &str) -> Vec<Value> {
    match path.starts_with("/v1/queue") {
        true => of_a_queues_field(field),
        false => of_a_locks_field(field),
    }
}

fn of_a_queues_field(field: &str) -> Vec<Value> {
    let long = |count: usize| json!("n".repeat(count));
    let no_object = vec![json!(7), json!("x"), json!([]), json!(true)];
    let mut bad = vec![json!({ "a": 1 }), json!(-1), json!(1.5), json!("\u{7}"), json!("\u{0}")];
    bad.extend(match field {
        // Anything else is a body.
        "body" => return vec![Value::Null],
        // What is in them is named itself.
        "headers" | "nack_backoff" | "timeout_backoff" => return no_object,
        // Whatever a worker has said, of several lines too.
        "reason" => return vec![long(1_025), json!(7), json!([]), json!({ "a": 1 })],
        "base64" => vec![json!("?"), json!("YQ"), json!("YQ==\n"), json!(7)],
        "group" | "dedupe_key" => vec![json!(""), long(NAME_TOO_LONG), json!("a\nb"), json!(7)],
        "priority" => vec![json!(10), json!("1"), json!(true)],
        "delay" => vec![json!("367d"), json!("soon"), json!("1.5ms"), json!(true)],
        "ttl" => vec![json!("soon"), json!("-1s"), json!("99999999999999999999s"), json!([])],
        "messages" | "items" => vec![json!([]), json!("x"), json!(true)],
        "receipt" => vec![json!(""), json!("8.0"), json!("8.0-9.1"), json!(7), json!([])],
        "action" => vec![json!(""), json!("done"), json!("Ack"), json!(7)],
        "max" => vec![json!(0), json!(1_001), json!("1"), json!(true)],
        "max_bytes" => vec![json!(0), json!(8_388_609), json!("1")],
        "wait" => vec![json!("61s"), json!(60_001), json!("1 s"), json!([30])],
        "visibility" => vec![json!(0), json!("13h"), json!("x"), json!(true)],
        "sub_queue" => vec![json!(""), json!("alive"), json!("Dead"), json!(7)],
        "deliveries_max" | "messages_max" => vec![json!(u64::MAX), json!("1"), json!(true)],
        "paused" => vec![json!(1), json!("true"), json!([])],
        "expired" => vec![json!(""), json!("gone"), json!(7)],
        "default_store" => vec![json!(""), json!("disk"), json!("Redis"), json!(7), json!([])],
        "redis_id" => vec![json!(""), json!("5b0c"), json!("5B0C".repeat(8)), long(32), json!(7)],
        "dedupe_window" => vec![json!("25h"), json!("x"), json!(true)],
        other => panic!("nobody has thought of bad values for the field {other} of queues"),
    });
    bad
}

/// What stands before an item of a list, and is good, whatever is wrong with that.
pub fn another_item(list: &str, first: &Value) -> Value {
    match list {
        "locks" => json!({ "name": "other" }),
        _ => first.clone(),
    }
}

fn of_a_locks_field(field: &str) -> Vec<Value> {
    let long = |count: usize| json!("n".repeat(count));
    let mut bad = vec![json!({ "a": 1 }), json!(-1), json!(1.5), json!("\u{7}"), json!("\u{0}")];
    bad.extend(match field {
        "owner" | "name" => {
            vec![
                json!(""),
                long(NAME_TOO_LONG),
                json!("a\nb"),
                json!("\u{85}"),
                json!(7),
                json!([]),
            ]
        }
        "reason" => vec![json!(""), long(1_025), json!("a\nb"), json!(7), json!([])],
        "mode" => vec![json!(""), json!("write"), json!("Shared"), json!(true), json!(["shared"])],
        "permits" | "permits_max" => {
            vec![json!(0), json!(1_000_001), json!(u64::MAX), json!("1"), json!(true)]
        }
        "ttl" => vec![
            json!(""),
            json!("30"),
            json!("1w"),
            json!("1.5ms"),
            json!("-1s"),
            json!("99999999999999999999s"),
            json!(2_592_000_001_u64),
            json!("721h"),
            json!(true),
        ],
        "wait" => vec![json!("601s"), json!(600_001), json!("11m"), json!("1 s"), json!([30])],
        "hold" => vec![
            json!(""),
            json!("7"),
            json!("7-"),
            json!("07-0"),
            json!("+7-0"),
            json!("99999999999999999999-0"),
            json!(7),
            json!(["7-0"]),
        ],
        "holds" => vec![json!("7-0"), json!(vec!["7-0"; 10_001]), json!(true)],
        "now" => vec![json!(1), json!("true"), json!([])],
        "token" => vec![json!(1_u64 << 53), json!(u64::MAX), json!("41"), json!(true)],
        "locks" => vec![json!([]), json!("x"), json!(true)],
        other => panic!("nobody has thought of bad values for the field {other}"),
    });
    bad
}

/// Bad values of a parameter in the query of a path, as they are written there.
pub fn of_parameter(path: &str, parameter: &str) -> Vec<String> {
    let long = "n".repeat(if path == "/v1/audit" { 4_097 } else { NAME_TOO_LONG });
    let bad: &[&str] = match parameter {
        "ttl" => &["", "0", "soon", "-1s", "367d", "1.5ms"],
        "consistency" => &["", "eventual", "Stale", "linearizable%20"],
        "limit" => &["", "0", "-1", "%2B1", "1.5", "x", "10001", "99999999999999999999"],
        "after" => &["", "-1", "x", "9007199254740992"],
        "prefix" => &["a%00", "%ff", "a%0A", &long],
        "sub_queue" | "state" => &["", "alive", "Dead", "1"],
        "name" | "lock" | "owner" | "topic" => &["", "a%00", "%ff", "%C2%85", &long],
        "continue" => &["zz", "00", "0", "%C3%BC", "00000000"],
        "from" if path == "/v1/events" => &["0", "-1", "x", "9007199254740992", ""],
        "from" | "to" => &["", "yesterday", "-", "2026-13-01T00:00:00Z"],
        "timeout" => &["", "25h", "soon", "-1s", "86400001"],
        other => panic!("nobody has thought of bad values for the parameter {other} of {path}"),
    };
    bad.iter().map(|value| (*value).to_owned()).collect()
}

/// Bad values of a header.
pub fn of_header(header: &str) -> Vec<String> {
    let long = "k".repeat(NAME_TOO_LONG);
    let bad: &[&str] = match header {
        "idempotency-key" => &["", &long, "\u{fc}", "a\tb"],
        "dsync-request" => {
            &["", "ab", "ab-1", "xy-1-1", "ab-0-0", "ab-1-2", "ab-1-1-1", "ab-9007199254740992-1"]
        }
        "if-match" => &["", "812.7", "\"08.7\"", "\"8\"", "W/\"8.7\"", "\"8.7\", \"8.8\""],
        "if-none-match" => &["", "812.7", "\"08.7\"", "\"8\"", "\"8.7\", \"8.8\""],
        "last-event-id" => &["x", "-1", "9007199254740991", "1.5"],
        other => panic!("nobody has thought of bad values for the header {other}"),
    };
    bad.iter().map(|value| (*value).to_owned()).collect()
}

/// What is no JSON object.
pub const NO_OBJECTS: [&[u8]; 14] = [
    b"",
    b" ",
    b"{",
    b"[]",
    b"null",
    b"1",
    b"\"x\"",
    b"{} {}",
    b"{}x",
    b"{\"owner\":\"a\",}",
    b"{'owner':'a'}",
    b"owner=a",
    b"{\"owner\":\"\\ud800\"}",
    b"{\"owner\":\"\xff\xfe\"}",
];

/// Names as they may not stand in a path.
pub fn in_path() -> [String; 7] {
    let long = "n".repeat(NAME_TOO_LONG);
    let wide = "%C3%BC".repeat(129);
    ["%ff", "%C3", "a%00", "a%0Ab", "%C2%85", &long, &wide].map(str::to_owned)
}
