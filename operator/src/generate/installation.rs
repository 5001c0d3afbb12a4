//! `manifests/install.yaml`: an operator for all namespaces, in a namespace of its own.

use dsync_core::contract::{ADMIN_PORT, LIVEZ_PATH, OPERATOR_IMAGE, READYZ_PATH};
use serde_json::{Value, json};

use super::rights;

const NAMESPACE: &str = "dsync-system";
const NAME: &str = "dsync-operator";

/// Everything but the definition, in the order in which it is needed.
pub(super) fn objects() -> Vec<Value> {
    let mut objects =
        vec![namespace(), account(), cluster_role(), cluster_binding(), role(), binding()];
    objects.extend(rights::for_people().map(|(name, aggregate, rules)| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": { "name": format!("dsync-{name}"), "labels": { aggregate: "true" } },
            "rules": rules,
        })
    }));
    objects.push(deployment());
    objects
}

fn labels() -> Value {
    json!({ "app.kubernetes.io/name": NAME })
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": { "name": NAMESPACE, "labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/warn": "restricted",
            "pod-security.kubernetes.io/audit": "restricted",
        } },
    })
}

fn account() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
    })
}

fn cluster_role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": NAME, "labels": labels() },
        "rules": rights::in_clusters(),
    })
}

fn cluster_binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": NAME, "labels": labels() },
        "roleRef": role_of("ClusterRole"),
        "subjects": subjects(),
    })
}

fn role() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
        "rules": rights::at_home(),
    })
}

fn binding() -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
        "roleRef": role_of("Role"),
        "subjects": subjects(),
    })
}

fn role_of(kind: &str) -> Value {
    json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": NAME })
}

fn subjects() -> Value {
    json!([{ "kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE }])
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": NAME, "namespace": NAMESPACE, "labels": labels() },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels() },
            "template": { "metadata": { "labels": labels() }, "spec": pod() },
        },
    })
}

fn pod() -> Value {
    let from = |path: &str| json!({ "fieldRef": { "apiVersion": "v1", "fieldPath": path } });
    let probe = |path: &str| {
        json!({
            "httpGet": { "path": path, "port": "admin", "scheme": "HTTP" },
            "periodSeconds": 10,
            "timeoutSeconds": 3,
        })
    };
    json!({
        "serviceAccountName": NAME,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 65_532,
            "runAsGroup": 65_532,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "operator",
            "image": OPERATOR_IMAGE,
            "imagePullPolicy": "IfNotPresent",
            "args": ["run"],
            "env": [
                { "name": "DSYNC_OPERATOR_NAMESPACE", "valueFrom": from("metadata.namespace") },
                { "name": "DSYNC_OPERATOR_IDENTITY", "valueFrom": from("metadata.name") },
            ],
            "ports": [{ "name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP" }],
            "livenessProbe": probe(LIVEZ_PATH),
            "readinessProbe": probe(READYZ_PATH),
            "resources": {
                "requests": { "cpu": "50m", "memory": "64Mi" },
                "limits": { "memory": "256Mi" },
            },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"] },
            },
        }],
    })
}
