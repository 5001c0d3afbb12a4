//! Whether an object is as the operator wants it, without asking the API server by writing.
//!
//! A patch that changes nothing is still a write. So every manifest carries a hash of itself, and an
//! object is as wanted when all wanted fields, that hash among them, are there and nothing stands
//! beside them where there may be nothing. A field that is no longer wanted changes the hash.

use serde_json::{Map, Value};

use crate::build::identity;
use crate::quantity::Quantity;

/// Whether every wanted field has its value. The server's own additions do not count.
#[must_use]
pub fn has_all(live: &Value, wanted: &Value) -> bool {
    contains(live, wanted, "")
}

fn contains(live: &Value, wanted: &Value, key: &str) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| live.get(key).is_some_and(|live| contains(live, value, key))),
        (Value::Array(live), Value::Array(wanted)) => match list_identity(key, wanted) {
            Some(id) => wanted
                .iter()
                .all(|item| find(live, id, item).is_some_and(|live| contains(live, item, ""))),
            None => {
                live.len() == wanted.len()
                    && live.iter().zip(wanted).all(|(live, wanted)| contains(live, wanted, ""))
            }
        },
        (live, wanted) => live == wanted || same_amount(live, wanted),
    }
}

/// The server writes amounts in its own way.
fn same_amount(live: &Value, wanted: &Value) -> bool {
    let amount = |value: &Value| value.as_str()?.parse::<Quantity>().ok();
    matches!((amount(live), amount(wanted)), (Some(live), Some(wanted)) if live == wanted)
}

fn find<'a>(list: &'a [Value], identity: &str, item: &Value) -> Option<&'a Value> {
    list.iter().find(|other| other[identity] == item[identity])
}

/// What tells the items of a list apart. The ports of a policy have no names, those of a service do.
fn list_identity(key: &str, wanted: &[Value]) -> Option<&'static str> {
    let identity = match key {
        "ports" => Some("name"),
        "ownerReferences" => Some("uid"),
        key => identity(key),
    };
    identity.filter(|identity| wanted.iter().all(|item| item[*identity].is_string()))
}

/// JSON pointers to what somebody added where only the operator's own may be: keys of settings and
/// selectors, containers, volumes, variables, ports. Deepest and last first, so that they can be
/// removed in this order.
#[must_use]
pub fn surplus(live: &Value, wanted: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(live, wanted, "", "", &mut found);
    found.reverse();
    found
}

fn collect(live: &Value, wanted: &Value, key: &str, path: &str, found: &mut Vec<String>) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            if matches!(key, "data" | "selector" | "matchLabels") {
                found.extend(
                    strange_keys(live, wanted).map(|key| format!("{path}/{}", escape(key))),
                );
            }
            for (key, wanted) in wanted {
                if let Some(live) = live.get(key) {
                    collect(live, wanted, key, &format!("{path}/{}", escape(key)), found);
                }
            }
        }
        (Value::Array(live), Value::Array(wanted)) => {
            let exclusive = list_identity(key, wanted).filter(|_| key != "ownerReferences");
            let Some(identity) = exclusive else { return };
            for (at, item) in live.iter().enumerate() {
                let path = format!("{path}/{at}");
                match find(wanted, identity, item) {
                    Some(wanted) => collect(item, wanted, "", &path, found),
                    None => found.push(path),
                }
            }
        }
        _ => {}
    }
}

fn strange_keys<'a>(
    live: &'a Map<String, Value>,
    wanted: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a String> {
    // A label selector is checked one level down, where its labels are.
    let structured = wanted.contains_key("matchLabels");
    live.keys().filter(move |key| !structured && !wanted.contains_key(*key))
}

fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_server_adds_does_not_count() {
        let wanted =
            json!({ "spec": { "replicas": 3, "template": { "containers": [{ "name": "a" }] } } });
        let mut live = wanted.clone();
        live["spec"]["revisionHistoryLimit"] = json!(10);
        live["spec"]["template"]["containers"][0]["terminationMessagePath"] = json!("/dev/x");
        assert!(has_all(&live, &wanted) && surplus(&live, &wanted).is_empty());
    }

    #[test]
    fn a_changed_or_missing_field_counts() {
        let wanted =
            json!({ "spec": { "args": ["a", "b"], "ports": [{ "name": "x", "port": 1 }] } });
        let policy = json!({ "ports": [{ "port": "client" }] });
        assert!(!has_all(&json!({ "ports": [{ "port": "client" }, { "port": "peer" }] }), &policy));
        for (pointer, value) in [
            ("/spec/args", json!(["a"])),
            ("/spec/args", json!(["b", "a"])),
            ("/spec/ports/0/port", json!(2)),
            ("/spec/ports", json!([])),
            ("/spec", json!({ "args": ["a", "b"] })),
        ] {
            let mut live = wanted.clone();
            *live.pointer_mut(pointer).unwrap() = value;
            assert!(!has_all(&live, &wanted), "{pointer}");
        }
    }

    #[test]
    fn amounts_are_compared_by_what_they_mean() {
        let wanted = json!({ "cpu": "1000m", "memory": "1024Mi" });
        assert!(has_all(&json!({ "cpu": "1", "memory": "1Gi" }), &wanted));
        assert!(!has_all(&json!({ "cpu": "2", "memory": "1Gi" }), &wanted));
    }

    #[test]
    fn what_somebody_added_is_found_last_first() {
        let wanted = json!({
            "data": { "A": "1" },
            "spec": { "selector": { "app": "x" }, "containers": [{ "name": "a", "env": [{ "name": "E" }] }] },
        });
        let live = json!({
            "data": { "A": "1", "b/c": "2" },
            "spec": { "selector": { "app": "x", "more": "y" }, "containers": [
                { "name": "z" },
                { "name": "a", "env": [{ "name": "E" }, { "name": "F" }] },
                { "name": "y" },
            ] },
        });
        let mut expected =
            vec!["/spec/containers/2", "/spec/containers/1/env/1", "/spec/containers/0"];
        expected.extend(["/data/b~1c"]);
        let found = surplus(&live, &wanted);
        assert!(expected.iter().all(|path| found.iter().any(|other| other == path)), "{found:?}");
        assert!(found.contains(&"/spec/selector/more".to_owned()));
        assert!(has_all(&live, &wanted));
    }
}
