//! Lays a user's part of a pod over the operator's.

use serde_json::{Map, Value};

/// Objects are merged field by field, lists of things with an identity by that identity, everything
/// else is replaced. Null removes.
pub(super) fn lay_over(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => merge(base, over),
        (base, over) => *base = over.clone(),
    }
}

fn merge(base: &mut Map<String, Value>, over: &Map<String, Value>) {
    for (key, value) in over {
        match (base.get_mut(key), value, identity(key)) {
            (_, Value::Null, _) => drop(base.remove(key)),
            (Some(Value::Array(base)), Value::Array(over), Some(identity)) => {
                merge_list(base, over, identity);
            }
            (Some(base), value, _) => lay_over(base, value),
            (None, value, _) => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

fn merge_list(base: &mut Vec<Value>, over: &[Value], identity: &str) {
    for item in over {
        match base.iter_mut().find(|other| other[identity] == item[identity]) {
            Some(other) => lay_over(other, item),
            None => base.push(item.clone()),
        }
    }
}

/// What tells two items of a list apart, as in Kubernetes' own strategic merge.
fn identity(list: &str) -> Option<&'static str> {
    match list {
        "containers" | "initContainers" | "volumes" | "env" | "imagePullSecrets" => Some("name"),
        "volumeMounts" => Some("mountPath"),
        "hostAliases" => Some("ip"),
        "topologySpreadConstraints" => Some("topologyKey"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_is_merged_by_name_and_others_are_added() {
        let mut base = json!({ "containers": [{ "name": "node", "image": "a", "env": [{ "name": "A", "value": "1" }] }] });
        let over = json!({ "containers": [
            { "name": "node", "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }] },
            { "name": "sidecar", "image": "b" },
        ] });
        lay_over(&mut base, &over);
        assert_eq!(
            base,
            json!({ "containers": [
            { "name": "node", "image": "a", "env": [{ "name": "A", "value": "2" }, { "name": "B", "value": "3" }] },
            { "name": "sidecar", "image": "b" },
        ] })
        );
    }

    #[test]
    fn other_lists_are_replaced_and_null_removes() {
        let mut base = json!({ "args": ["a", "b"], "fsGroup": 1, "keep": { "x": 1 } });
        lay_over(&mut base, &json!({ "args": ["c"], "fsGroup": null, "keep": { "y": 2 } }));
        assert_eq!(base, json!({ "args": ["c"], "keep": { "x": 1, "y": 2 } }));
    }
}
