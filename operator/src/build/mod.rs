//! From a validated spec to the manifests of all children. Pure: the same in, the same out.
//!
//! Manifests are JSON, as they go to the API server; a test reads each one back as the type that it
//! claims to be and finds no field that the type does not have. Claims of the nodes are made by
//! Kubernetes from the StatefulSet's template, generated Secrets by [`crate::secrets`].
//!
//! Reading order: `node_config` (what nodes are told), `stateful_set`, `services`, `guards`
//! (budget, policies, account), `redis`.

mod guards;
mod node_config;
mod overlay;
mod redis;
mod services;
mod stateful_set;

use serde_json::{Map, Value, json};

use crate::kind::Kind;
use crate::marks::Marks;
use crate::validate::Validated;

/// One object that has to be there.
#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    /// What it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All fields that the operator sets.
    pub manifest: Value,
}

impl Child {
    fn new(kind: Kind, manifest: Value) -> Self {
        let name = manifest["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Self { kind, name, manifest }
    }
}

/// All children, in the order in which they are applied: what a pod needs before the pod.
#[must_use]
pub fn build(cluster: &Validated, marks: &Marks) -> Vec<Child> {
    let mut children = vec![
        guards::service_account(cluster),
        node_config::config_map(cluster, marks),
        services::nodes(cluster),
        services::client(cluster),
    ];
    children.extend(guards::disruption_budget(cluster));
    children.extend(guards::network_policies(cluster));
    children.extend(redis::build(cluster));
    children.push(stateful_set::build(cluster, marks));
    children
}

/// The head of a manifest. Whoever deletes the cluster deletes what it owns; a claim has no owner.
fn object(kind: Kind, cluster: &Validated, name: &str, component: &str) -> Map<String, Value> {
    let metadata = json!({
        "name": name,
        "namespace": cluster.names.namespace,
        "labels": cluster.names.labels(component),
    });
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), json!(kind.api_version()));
    object.insert("kind".to_owned(), json!(kind.name()));
    object.insert("metadata".to_owned(), metadata);
    if !matches!(kind, Kind::Claim) {
        object["metadata"]["ownerReferences"] = json!([owner(cluster)]);
    }
    object
}

/// Makes Kubernetes delete a child with its cluster, and says whose it is.
#[must_use]
pub fn owner(cluster: &Validated) -> Value {
    json!({
        "apiVersion": "dsync.io/v1alpha1",
        "kind": "DSyncCluster",
        "name": cluster.names.cluster,
        "uid": cluster.uid,
        "controller": true,
    })
}

fn child(kind: Kind, cluster: &Validated, name: &str, component: &str, rest: Value) -> Child {
    let mut manifest = object(kind, cluster, name, component);
    if let Value::Object(rest) = rest {
        manifest.extend(rest);
    }
    Child::new(kind, Value::Object(manifest))
}

/// What the standard `restricted` asks of a pod.
fn pod_security(user: u32) -> Value {
    json!({
        "runAsNonRoot": true,
        "runAsUser": user,
        "runAsGroup": user,
        "fsGroup": user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": { "type": "RuntimeDefault" },
    })
}

/// What it asks of a container.
fn container_security() -> Value {
    json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": { "drop": ["ALL"] },
    })
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
