//! Whether an object is as the operator wants it, without asking the API server by writing.
//!
//! A patch that changes nothing is still a write. So every manifest carries a hash of itself, and an
//! object is as wanted when all wanted fields, that hash among them, are there and nothing stands
//! beside them where there may be nothing. A field that is no longer wanted changes the hash.
//!
//! The items of a list are told apart by the same fields as in the API server's own merge. It matters
//! where somebody changed such a field: for the API server that is another item, theirs, beside which
//! an apply puts ours back.

use serde_json::{Map, Value, json};

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
        (Value::Array(live), Value::Array(wanted)) => match keys_of(key, wanted) {
            Some(keys) => wanted
                .iter()
                .all(|item| find(live, keys, item).is_some_and(|live| contains(live, item, ""))),
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

fn find<'a>(list: &'a [Value], keys: &[&str], item: &Value) -> Option<&'a Value> {
    list.iter().find(|other| keys.iter().all(|key| other[*key] == item[*key]))
}

/// What tells the items of a list apart; `None`: their order.
fn keys_of(list: &str, wanted: &[Value]) -> Option<&'static [&'static str]> {
    let candidates: &[&[&str]] = match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => &[&["name"]],
        "volumeMounts" => &[&["mountPath"]],
        "hostAliases" => &[&["ip"]],
        "topologySpreadConstraints" => &[&["topologyKey", "whenUnsatisfiable"]],
        // Of a service and of a container.
        "ports" => &[&["port", "protocol"], &["containerPort", "protocol"]],
        "ownerReferences" => &[&["uid"]],
        _ => &[],
    };
    let all_have =
        |keys: &[&str]| wanted.iter().all(|item| keys.iter().all(|key| !item[*key].is_null()));
    candidates.iter().copied().find(|keys| all_have(keys))
}

/// Steps of a JSON patch against what somebody added where only the operator's own may be: keys of
/// settings and selectors, containers, volumes, variables, ports.
#[must_use]
pub fn surplus(live: &Value, wanted: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    collect(live, wanted, "", "", &mut found);
    // Deepest and last first: the others' places stay what they are.
    found.reverse();
    found
}

fn collect(live: &Value, wanted: &Value, key: &str, path: &str, found: &mut Vec<Value>) {
    match (live, wanted) {
        // One kind of strategy has settings that another must not have, and the server fills them in.
        (Value::Object(_), Value::Object(_))
            if matches!(key, "strategy" | "updateStrategy") && live != wanted =>
        {
            found.push(replacement(path, wanted));
        }
        (Value::Object(live), Value::Object(wanted)) => {
            if matches!(key, "data" | "selector" | "matchLabels") {
                found.extend(
                    strange_keys(live, wanted)
                        .map(|key| removal(&format!("{path}/{}", escape(key)))),
                );
            }
            for (key, wanted) in wanted {
                if let Some(live) = live.get(key) {
                    collect(live, wanted, key, &format!("{path}/{}", escape(key)), found);
                }
            }
        }
        (Value::Array(live), Value::Array(wanted)) => {
            let exclusive = keys_of(key, wanted).filter(|_| key != "ownerReferences");
            let Some(keys) = exclusive else { return };
            if key == "ports" && live.iter().any(|item| find(wanted, keys, item).is_none()) {
                // All at once: a name may stand only once, and a service needs a port at any time.
                found.push(replacement(path, &json!(wanted)));
                return;
            }
            for (at, item) in live.iter().enumerate() {
                let path = format!("{path}/{at}");
                match find(wanted, keys, item) {
                    Some(wanted) => collect(item, wanted, "", &path, found),
                    None => found.push(removal(&path)),
                }
            }
        }
        _ => {}
    }
}

fn replacement(path: &str, value: &Value) -> Value {
    json!({ "op": "replace", "path": path, "value": value })
}

fn removal(path: &str) -> Value {
    json!({ "op": "remove", "path": path })
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
        let paths = surplus(&live, &wanted);
        let paths = paths.iter().map(|step| step["path"].as_str().unwrap()).collect::<Vec<_>>();
        for expected in [
            "/spec/selector/more",
            "/spec/containers/2",
            "/spec/containers/1/env/1",
            "/spec/containers/0",
            "/data/b~1c",
        ] {
            assert!(paths.contains(&expected), "{paths:?}");
        }
        let place = |path| paths.iter().position(|one| *one == path);
        assert!(place("/spec/containers/2") < place("/spec/containers/0"), "{paths:?}");
        assert!(has_all(&live, &wanted));
    }

    #[test]
    fn a_strategy_is_replaced_with_its_settings() {
        let wanted = json!({ "spec": { "strategy": { "type": "Recreate" } } });
        assert!(surplus(&wanted, &wanted).is_empty());
        let live =
            json!({ "spec": { "strategy": { "type": "RollingUpdate", "rollingUpdate": {} } } });
        let steps = surplus(&live, &wanted);
        assert_eq!(steps, [replacement("/spec/strategy", &json!({ "type": "Recreate" }))]);
    }

    /// For the API server the field is part of the item's name: theirs stands beside ours.
    #[test]
    fn an_item_whose_key_was_changed_is_missing_and_strange() {
        for (list, item, key, other) in [
            ("ports", json!({ "name": "a", "port": 1, "protocol": "TCP" }), "port", json!(2)),
            (
                "ports",
                json!({ "name": "a", "containerPort": 1, "protocol": "TCP" }),
                "protocol",
                json!("UDP"),
            ),
            (
                "topologySpreadConstraints",
                json!({ "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule" }),
                "whenUnsatisfiable",
                json!("ScheduleAnyway"),
            ),
            ("env", json!({ "name": "a", "value": "1" }), "name", json!("b")),
            ("volumeMounts", json!({ "name": "a", "mountPath": "/a" }), "mountPath", json!("/b")),
        ] {
            let wanted = json!({ list: [item.clone()] });
            let mut theirs = item.clone();
            theirs[key] = other;
            let changed = json!({ list: [theirs.clone()] });
            assert!(!has_all(&changed, &wanted), "{list} {key}");
            let beside = json!({ list: [item, theirs] });
            assert!(
                has_all(&beside, &wanted) && surplus(&beside, &wanted).len() == 1,
                "{list} {key}"
            );
        }
    }
}
