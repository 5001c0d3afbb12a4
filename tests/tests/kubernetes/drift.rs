//! Every field that the operator sets is put back when it is changed or removed, what is added is
//! removed, and every child that is deleted is made again.
//!
//! The list of fields is generated: the API server keeps in `managedFields` which ones the operator has
//! set. The cluster hibernates meanwhile, so that no pod is started for any of it.

use std::thread;

use crate::patience::until;
use serde_json::{Value, json};

use crate::api::Api;
use crate::audit;
use crate::cluster::Cluster;
use crate::namespace::Namespace;
use crate::operator;

const MANAGER: &str = "dsync-operator";

/// What is kept, and how many fields of them at least are tried out with success.
const CHILDREN: [&str; 14] = [
    "serviceaccount/dsync",
    "configmap/dsync-nodes",
    "service/dsync-nodes",
    "service/dsync",
    "poddisruptionbudget/dsync",
    "networkpolicy/dsync-nodes",
    "networkpolicy/dsync-redis",
    "configmap/dsync-redis",
    "service/dsync-redis",
    "deployment/dsync-redis",
    "statefulset/dsync",
    "secret/dsync-identity",
    "secret/dsync-identity-twin",
    "secret/dsync-redis-password",
];

/// What came of trying all fields of a child.
#[derive(Debug, Default)]
struct Tried {
    put_back: usize,
    /// The API server lets nobody do it, or makes nothing of it.
    impossible: usize,
}

fn asleep(namespace: &Namespace) -> Cluster<'_> {
    let cluster = Cluster::start(namespace);
    cluster.change(r#"{"hibernate":true}"#);
    cluster.await_condition("Ready", "True", "Hibernating");
    cluster
}

#[test]
fn every_field_that_the_operator_sets_is_put_back() {
    let namespace = Namespace::new("fields");
    let _cluster = asleep(&namespace);
    let api = Api::new();
    let all = CHILDREN.iter().filter(|child| !child.starts_with("secret/"));
    thread::scope(|scope| {
        let tries = all
            .map(|child| (child, scope.spawn(|| try_all(&api, &namespace, child))))
            .collect::<Vec<_>>();
        for (child, tried) in tries {
            let tried = tried.join().expect("every field is put back");
            println!("{child}: {tried:?}");
            assert!(tried.put_back >= 5, "{child}: {tried:?}");
        }
    });
    audit::nothing_was_refused(operator::NAMESPACE);
}

fn try_all(api: &Api, namespace: &Namespace, child: &str) -> Tried {
    let live = api.get(namespace, child).unwrap();
    let mut tried = Tried::default();
    for path in fields(&live) {
        for step in changes(&live, &path) {
            match try_one(api, namespace, child, &path, &step) {
                true => tried.put_back += 1,
                false => tried.impossible += 1,
            }
        }
    }
    tried
}

/// Makes a change and waits until it is gone. False if the API server does not let it happen.
fn try_one(api: &Api, namespace: &Namespace, child: &str, path: &str, step: &Value) -> bool {
    let before = api.get(namespace, child).unwrap();
    let after = api.patch(namespace, child, &json!([step]));
    if after.is_none_or(|after| after.pointer(path) == before.pointer(path)) {
        return false;
    }
    until(&format!("{child} {path} is put back after {step}"), || {
        let now = api.get(namespace, child)?;
        (now.pointer(path) == before.pointer(path)).then_some(())
    });
    true
}

/// JSON pointers to the fields that the operator has set.
fn fields(live: &Value) -> Vec<String> {
    let managers = live["metadata"]["managedFields"].as_array().unwrap().iter();
    let ours = managers.filter(|one| one["manager"] == MANAGER && one["operation"] == "Apply");
    let mut found = Vec::new();
    for one in ours {
        walk(&one["fieldsV1"], live, "", &mut found);
    }
    // Another owner's UID makes it an orphan, which Kubernetes itself deletes.
    found.retain(|path| !path.starts_with("/metadata/ownerReferences"));
    found
}

/// `f:` names a field, `k:` the item of a list by its keys.
fn walk(set: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    let children = set.as_object().unwrap().iter().filter(|(key, _)| *key != ".");
    let mut leaf = true;
    for (key, set) in children {
        let step = match key.split_once(':') {
            Some(("f", name)) => Some(name.to_owned()),
            Some(("k", keys)) => item(live, keys).map(|at| at.to_string()),
            _ => None,
        };
        let Some(step) = step else { continue };
        leaf = false;
        let live = match live {
            Value::Array(list) => &list[step.parse::<usize>().unwrap()],
            live => &live[&step],
        };
        let step = step.replace('~', "~0").replace('/', "~1");
        walk(set, live, &format!("{path}/{step}"), found);
    }
    if leaf && !path.is_empty() {
        found.push(path.to_owned());
    }
}

fn item(list: &Value, keys: &str) -> Option<usize> {
    let keys: Value = serde_json::from_str(keys).unwrap();
    let keys = keys.as_object().unwrap();
    list.as_array()?.iter().position(|item| keys.iter().all(|(key, value)| item[key] == *value))
}

/// Another value, and none at all.
fn changes(live: &Value, path: &str) -> Vec<Value> {
    let other = match live.pointer(path) {
        Some(Value::String(text)) => Some(json!(format!("{text}x"))),
        Some(Value::Number(number)) => Some(json!(number.as_i64().unwrap() + 1)),
        Some(Value::Bool(is)) => Some(json!(!is)),
        _ => None,
    };
    // An object of another cluster is not taken for ours.
    let replace = other
        .filter(|_| !path.ends_with("dsync.io~1cluster-id"))
        .map(|value| json!({ "op": "replace", "path": path, "value": value }));
    replace.into_iter().chain([json!({ "op": "remove", "path": path })]).collect()
}

#[test]
fn what_somebody_adds_is_removed() {
    let namespace = Namespace::new("added");
    let _cluster = asleep(&namespace);
    let security =
        json!({ "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } });
    let container = json!({ "name": "extra", "image": "extra", "securityContext": security });
    for (child, path, value) in [
        ("configmap/dsync-nodes", "/data/EXTRA", json!("1")),
        ("configmap/dsync-redis", "/data/extra", json!("1")),
        ("service/dsync", "/spec/selector/extra", json!("1")),
        (
            "service/dsync",
            "/spec/ports/1",
            json!({ "name": "extra", "port": 1, "protocol": "TCP" }),
        ),
        ("statefulset/dsync", "/spec/template/spec/containers/1", container.clone()),
        ("deployment/dsync-redis", "/spec/template/spec/containers/1", container),
        ("networkpolicy/dsync-nodes", "/spec/ingress/3", json!({})),
    ] {
        let patch = json!([{ "op": "add", "path": path, "value": value }]).to_string();
        namespace.kubectl(&["patch", child, "--type=json", "-p", &patch]).well();
        until(&format!("{child} {path} is removed"), || {
            namespace.get(child)?.pointer(path).is_none().then_some(())
        });
    }
}

#[test]
fn every_child_that_is_deleted_is_made_again_as_it_was() {
    let namespace = Namespace::new("children");
    let _cluster = asleep(&namespace);
    for child in CHILDREN {
        let before = namespace.get(child).unwrap();
        namespace.kubectl(&["delete", child, "--wait=false"]).well();
        let after = until(&format!("{child} is there again"), || {
            let now = namespace.get(child)?;
            let other = now["metadata"]["uid"] != before["metadata"]["uid"];
            (other && now["metadata"]["deletionTimestamp"].is_null()).then_some(now)
        });
        assert_eq!(after["data"], before["data"], "{child}");
        assert_eq!(after["metadata"]["labels"], before["metadata"]["labels"], "{child}");
    }
    audit::nothing_was_refused(operator::NAMESPACE);
}
