//! `DSyncCluster`: what a user asks for ([`DSyncClusterSpec`]) and what is shown of it
//! ([`DSyncClusterStatus`]).
//!
//! Each field's doc is its description in the definition. Rules between fields, and between an old
//! and a new value, are CEL rules, so that the API server refuses a bad resource when it is written.
//! A rule about an *optional* field that must not change stands on its parent and looks with `has()`
//! both ways: on the field itself it would miss unset-to-set and set-to-unset.

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod redis;
mod status;
mod storage;

pub use redis::{ExternalRedis, InternalRedis, Redis, SecretKey};
pub use status::{DSyncClusterStatus, Member, MemberRole, Plan};
pub use storage::{Resources, Storage};

/// A cluster of dsync nodes: locks, queues and caches for the applications around it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dsync.io",
    version = "v1alpha1",
    kind = "DSyncCluster",
    plural = "dsyncclusters",
    singular = "dsynccluster",
    shortname = "dsc",
    category = "all",
    namespaced,
    derive = "PartialEq",
    status = "DSyncClusterStatus",
    doc = "A cluster of dsync nodes: locks, queues and caches for the applications around it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(
        name = "Healthy",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.action", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("the name becomes part of service and pod names: at most 40 lower-case letters, digits and '-', beginning with a letter, not ending with '-'"),
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct DSyncClusterSpec {
    /// How many nodes: 1, 3, 5 or 7. A cluster of N goes on without (N - 1) / 2 of them. Nodes are
    /// added and removed two at a time, each pair only when the cluster is healthy.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(validation = Rule::new("self % 2 == 1").message("must be odd: 1, 3, 5 or 7"))]
    pub replicas: i32,

    /// Container image of the nodes. Default: the one that this version of the operator ships with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub image: Option<String>,

    /// Names of Secrets in the same namespace to pull images with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,

    /// The disk of each node.
    #[serde(default)]
    pub storage: Storage,

    /// Processor and memory of each node.
    #[serde(default)]
    pub resources: Resources,

    /// Where queues keep their messages. Cannot be switched between internal and external.
    #[serde(default)]
    pub redis: Redis,

    /// Raise it by one to have the secret that the nodes share replaced, node by node.
    #[serde(default)]
    #[schemars(range(min = 0))]
    #[x_kube(validation = Rule::new("self >= oldSelf").message("can only be raised"))]
    pub secret_generation: i64,

    /// Stop all nodes and keep their disks. Set it back to start them where they stopped.
    #[serde(default)]
    pub hibernate: bool,
}

fn default_replicas() -> i32 {
    3
}

#[cfg(test)]
#[path = "crd_test.rs"]
mod tests;
