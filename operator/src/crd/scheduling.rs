//! Where the pods may run.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where the pods may run.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a machine must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,

    /// Affinity of the nodes' pods, in the form that a pod has.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schemars(schema_with = "anything")]
    pub affinity: Map<String, Value>,

    /// Taints that the pods tolerate, in the form that a pod has. For the nodes and for Redis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "anythings")]
    pub tolerations: Vec<Toleration>,

    /// The nodes are spread over machines with different values of this label.
    #[serde(default = "default_topology_key")]
    #[schemars(length(min = 1, max = 317))]
    pub topology_key: String,

    /// What happens if they cannot be spread: `ScheduleAnyway` (two may share a machine, and are lost
    /// together) or `DoNotSchedule`.
    #[serde(default)]
    pub when_unsatisfiable: WhenUnsatisfiable,

    /// Priority class of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

impl Default for Scheduling {
    fn default() -> Self {
        Self {
            node_selector: BTreeMap::new(),
            affinity: Map::new(),
            tolerations: Vec::new(),
            topology_key: default_topology_key(),
            when_unsatisfiable: WhenUnsatisfiable::default(),
            priority_class_name: None,
        }
    }
}

/// What happens if nodes cannot be spread.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[allow(missing_docs, reason = "documented variants give a schema that is not structural")]
pub enum WhenUnsatisfiable {
    #[default]
    ScheduleAnyway,
    DoNotSchedule,
}

impl WhenUnsatisfiable {
    /// As a pod has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ScheduleAnyway => "ScheduleAnyway",
            Self::DoNotSchedule => "DoNotSchedule",
        }
    }
}

fn default_topology_key() -> String {
    "kubernetes.io/hostname".to_owned()
}

/// Kubernetes' own types would make the definition too large; the API server checks what comes of it.
fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}

fn anythings(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": {
            "description": "One toleration.",
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": true,
        },
    })
}
