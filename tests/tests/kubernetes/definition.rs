//! The definition of DSyncCluster on a real API server: taken, explained, and its rules kept.
//!
//! Each rule is tried out offline beside the types; here one of each kind is, since only the API server
//! knows what it makes of a schema.

use serde_json::{Value, json};

use crate::kubectl::{Said, kubectl};
use crate::namespace::Namespace;
use crate::operator;

fn resource(name: &str, spec: &Value) -> String {
    let (version, kind) = ("dsync.io/v1alpha1", "DSyncCluster");
    json!({ "apiVersion": version, "kind": kind, "metadata": { "name": name }, "spec": spec })
        .to_string()
}

/// As the API server would answer, without writing anything.
fn ask(namespace: &Namespace, name: &str, spec: &Value) -> Said {
    let words = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
    namespace.kubectl_with(&words, &resource(name, spec))
}

#[test]
fn the_api_server_refuses_what_the_rules_refuse_and_explains_every_field() {
    operator::install();
    println!("Kubernetes: {}", kubectl(&["version"], "").well());
    let namespace = Namespace::new("definition");
    for (spec, why) in [
        (json!({ "replicas": 4 }), "must be odd"),
        (json!({ "replicas": 9 }), "spec.replicas"),
        (json!({ "storage": { "size": "plenty" } }), "size like 10Gi"),
        (json!({ "redis": { "mode": "External" } }), "external is needed"),
        (json!({ "redis": { "mode": "None", "managed": {} } }), "managed may only be set"),
        (json!({ "imagePullPolicy": "Sometimes" }), "Unsupported value"),
        (json!({ "replica": 3 }), "field not declared in schema"),
    ] {
        ask(&namespace, "c", &spec).refused(why);
    }
    ask(&namespace, "2c", &json!({})).refused("the name becomes part");
    ask(&namespace, "c", &json!({})).well();

    let explained = kubectl(&["explain", "dsc.spec", "--recursive"], "").well();
    assert!(explained.contains("replicas") && explained.contains("podTemplate"), "{explained}");
    let field = kubectl(&["explain", "dsc.spec.storage.size"], "").well();
    assert!(field.contains("Size of each disk"), "{field}");
}

#[test]
fn what_must_not_change_cannot_be_changed_by_any_way_in() {
    operator::install();
    let namespace = Namespace::new("changes");
    // No pods: this is about the resource.
    let paused = json!({ "pause": true });
    namespace.apply(&resource("c", &paused));
    let change = |spec: &Value| {
        let patch = json!({ "spec": spec }).to_string();
        namespace.kubectl(&["patch", "dsc/c", "--type=merge", "--dry-run=server", "-p", &patch])
    };
    for (spec, why) in [
        (json!({ "replicas": 5 }), "cannot change yet"),
        (json!({ "storage": { "size": "1Gi" } }), "size cannot change yet"),
        (json!({ "storage": { "className": "fast" } }), "className cannot change"),
        (json!({ "redis": { "mode": "None" } }), "mode cannot change"),
        (json!({ "redis": { "managed": { "storage": { "size": "9Gi" } } } }), "size cannot change"),
    ] {
        change(&spec).refused(why);
    }
    change(&json!({ "log": { "level": "debug" } })).well();
    namespace.kubectl(&["scale", "dsc/c", "--replicas=5"]).refused("cannot change yet");
    assert_eq!(namespace.field("dsc/c", ".spec.replicas"), "3");
}
