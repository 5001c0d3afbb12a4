//! Clusters to begin with. A test has each of them checked by the resource's own rules.

use serde_json::{Value, json};

/// By path from the root of the repository.
pub(super) fn all() -> [(&'static str, Value); 3] {
    [
        ("manifests/samples/minimal.yaml", minimal()),
        ("manifests/samples/production.yaml", production()),
        ("manifests/samples/external-redis.yaml", external_redis()),
    ]
}

fn cluster(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": "dsync.io/v1alpha1",
        "kind": "DSyncCluster",
        "metadata": { "name": name },
        "spec": spec,
    })
}

pub(super) fn minimal() -> Value {
    cluster("dsync", &json!({ "storage": { "size": "2Gi" } }))
}

fn production() -> Value {
    cluster(
        "dsync",
        &json!({
            "replicas": 3,
            "storage": { "size": "20Gi" },
            "resources": {
                "requests": { "cpu": "1", "memory": "1Gi" },
                "limits": { "memory": "2Gi" },
            },
            "redis": { "mode": "Managed", "managed": {
                "storage": { "size": "8Gi" },
                "resources": {
                    "requests": { "cpu": "500m", "memory": "4Gi" },
                    "limits": { "memory": "4Gi" },
                },
            } },
            "scheduling": { "whenUnsatisfiable": "DoNotSchedule" },
            "networkPolicies": {
                "scraperNamespaceLabels": { "kubernetes.io/metadata.name": "monitoring" },
            },
        }),
    )
}

fn external_redis() -> Value {
    cluster(
        "dsync",
        &json!({
            "redis": { "mode": "External", "external": {
                "urlSecret": { "name": "shared-redis", "key": "url" },
                "passwordSecret": { "name": "shared-redis", "key": "password" },
            } },
        }),
    )
}
