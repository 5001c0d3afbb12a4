//! How the pods are reached, and by whom.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The service that clients use.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// How the service is reached: `ClusterIP`, `NodePort` or `LoadBalancer`.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,

    /// Annotations of the service, as load balancers want them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// How a service is reached.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[allow(missing_docs, reason = "documented variants give a schema that is not structural")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// Who may connect to the pods. The client port is open; peers reach the peer port, the operator and
/// whoever is named here the admin port.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkPolicies {
    /// Whether there are policies at all.
    #[serde(default = "yes")]
    pub enabled: bool,

    /// Labels of the namespaces whose pods may read metrics from the admin port, as
    /// `kubernetes.io/metadata.name: monitoring`. Nobody but the operator if it is empty.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub scraper_namespace_labels: BTreeMap<String, String>,
}

impl Default for NetworkPolicies {
    fn default() -> Self {
        Self { enabled: true, scraper_namespace_labels: BTreeMap::new() }
    }
}

fn yes() -> bool {
    true
}
