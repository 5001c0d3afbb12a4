//! What keeps others from doing harm: budget, policies, an account without rights.

use dsync_core::contract::kubernetes::{
    ADMIN_PORT_NAME, CLIENT_PORT_NAME, COMPONENT_NODE, COMPONENT_REDIS, PEER_PORT_NAME,
};
use serde_json::{Value, json};

use super::redis::REDIS_PORT_NAME;
use super::{Child, child};
use crate::kind::Kind;
use crate::validate::{ValidRedis, Validated};

/// Label of the operator's pods, in its own namespace.
pub const OPERATOR_LABEL: (&str, &str) = ("app.kubernetes.io/name", "dsync-operator");

/// A node needs nothing of the API server.
pub(super) fn service_account(cluster: &Validated) -> Child {
    let rest = json!({ "automountServiceAccountToken": false });
    child(Kind::ServiceAccount, cluster, &cluster.names.cluster, COMPONENT_NODE, rest)
}

/// One node at a time, whatever the size: two could be a leader and its only caught-up follower. A pod
/// that is not ready protects nothing, so it never blocks a drain. For one node there is no budget: it
/// could never be drained.
pub(super) fn disruption_budget(cluster: &Validated) -> Option<Child> {
    let spec = json!({
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": { "matchLabels": cluster.names.selector(COMPONENT_NODE) },
    });
    let rest = json!({ "spec": spec });
    (cluster.replicas > 1)
        .then(|| child(Kind::Budget, cluster, &cluster.names.cluster, COMPONENT_NODE, rest))
}

pub(super) fn network_policies(cluster: &Validated) -> Vec<Child> {
    if !cluster.spec.network_policies.enabled {
        return Vec::new();
    }
    let mut policies = vec![nodes(cluster)];
    if let ValidRedis::Managed { .. } = cluster.redis {
        policies.push(redis(cluster));
    }
    policies
}

/// The client port for all, the peer port for the other nodes, the admin port for the operator and
/// those who read metrics. (Probes come from the kubelet, which no policy keeps out.)
fn nodes(cluster: &Validated) -> Child {
    let node = json!({ "podSelector": { "matchLabels": cluster.names.selector(COMPONENT_NODE) } });
    let (label, value) = OPERATOR_LABEL;
    let operator = json!({
        "namespaceSelector": { "matchLabels": {
            "kubernetes.io/metadata.name": cluster.surroundings.operator_namespace,
        } },
        "podSelector": { "matchLabels": { label: value } },
    });
    let mut admins = vec![operator];
    let scrapers = &cluster.spec.network_policies.scraper_namespace_labels;
    if !scrapers.is_empty() {
        admins.push(json!({ "namespaceSelector": { "matchLabels": scrapers } }));
    }
    let ingress = json!([
        { "ports": [port(CLIENT_PORT_NAME)] },
        { "ports": [port(PEER_PORT_NAME)], "from": [node] },
        { "ports": [port(ADMIN_PORT_NAME)], "from": admins },
    ]);
    policy(cluster, &cluster.names.nodes(), COMPONENT_NODE, &ingress)
}

fn redis(cluster: &Validated) -> Child {
    let node = json!({ "podSelector": { "matchLabels": cluster.names.selector(COMPONENT_NODE) } });
    let ingress = json!([{ "ports": [port(REDIS_PORT_NAME)], "from": [node] }]);
    policy(cluster, &cluster.names.redis(), COMPONENT_REDIS, &ingress)
}

fn policy(cluster: &Validated, name: &str, component: &str, ingress: &Value) -> Child {
    let spec = json!({
        "podSelector": { "matchLabels": cluster.names.selector(component) },
        "policyTypes": ["Ingress"],
        "ingress": ingress,
    });
    child(Kind::NetworkPolicy, cluster, name, component, json!({ "spec": spec }))
}

fn port(name: &str) -> Value {
    json!({ "port": name, "protocol": "TCP" })
}
