//! `DSyncCluster`: what a user asks for ([`DSyncClusterSpec`]) and what is shown of it
//! ([`DSyncClusterStatus`]).
//!
//! Each field's doc is its description in the definition. Rules between fields, and between an old
//! and a new value, are CEL rules, so that the API server refuses a bad resource when it is written.
//! A rule about an *optional* field that must not change stands on its parent and looks with `has()`
//! both ways: on the field itself it would miss unset-to-set and set-to-unset.
//!
//! What the derive cannot say is put in by [`definition()`].

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

mod definition;
mod log;
mod network;
mod pod_template;
mod redis;
mod scheduling;
mod status;
mod storage;

pub use definition::definition;
pub use log::{Log, LogFormat, LogLevel};
pub use network::{NetworkPolicies, Service, ServiceType};
pub use pod_template::PodTemplate;
pub use redis::{ExternalRedis, ManagedRedis, Redis, RedisMode, SecretKey};
pub use scheduling::{Scheduling, WhenUnsatisfiable};
pub use status::{
    AVAILABLE, CLAIM_TERMINATING, DEGRADED, DSyncClusterStatus, Member, MemberRole, PROGRESSING,
    Plan, QUORUM_HEALTHY, READY, REDIS_READY,
};
pub use storage::{AccessMode, RedisStorage, Resources, Storage};

/// A cluster of dsync nodes: locks, queues and caches for the applications around it.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dsync.io",
    version = "v1alpha1",
    kind = "DSyncCluster",
    plural = "dsyncclusters",
    singular = "dsynccluster",
    shortname = "dsc",
    category = "dsync",
    namespaced,
    derive = "PartialEq",
    status = "DSyncClusterStatus",
    doc = "A cluster of dsync nodes: locks, queues and caches for the applications around it.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".spec.replicas"),
    printcolumn(name = "Leader", type_ = "string", json_path = ".status.leader"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(
        name = "Redis",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='RedisReady')].reason"
    ),
    printcolumn(
        name = "Status",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Plan", type_ = "string", json_path = ".status.plan.action", priority = 1),
    printcolumn(
        name = "Blocked-On",
        type_ = "string",
        json_path = ".status.plan.blockedOn",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]{0,38}[a-z0-9])?$')")
        .message("the name becomes part of service and pod names: at most 40 lower-case letters, digits and '-', beginning with a letter, not ending with '-'"),
)]
#[cfg_attr(test, kube(cel))]
#[serde(rename_all = "camelCase")]
pub struct DSyncClusterSpec {
    /// How many nodes: 1, 3, 5 or 7. A cluster of N goes on without (N - 1) / 2 of them. It cannot
    /// change yet: members are neither added nor removed by this version.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 7))]
    #[x_kube(
        validation = Rule::new("self % 2 == 1").message("must be odd: 1, 3, 5 or 7"),
        validation = Rule::new("self == oldSelf")
            .message("cannot change yet: this version neither adds nor removes members"),
    )]
    pub replicas: i32,

    /// Container image of the nodes. Default: the one that this version of the operator ships with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// When the kubelet pulls an image: `Always`, `IfNotPresent` or `Never`. For the nodes and for
    /// Redis.
    #[serde(default)]
    pub image_pull_policy: ImagePullPolicy,

    /// Names of Secrets in the same namespace to pull images with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub image_pull_secrets: Vec<String>,

    /// The disk of each node. It cannot change: the disks exist.
    #[serde(default)]
    pub storage: Storage,

    /// Processor and memory of each node.
    #[serde(default)]
    pub resources: Resources,

    /// Where queues keep their messages.
    #[serde(default)]
    pub redis: Redis,

    /// What the nodes log.
    #[serde(default)]
    pub log: Log,

    /// Where the pods may run.
    #[serde(default)]
    pub scheduling: Scheduling,

    /// What is laid over the pods of the nodes, for what has no field of its own.
    #[serde(default)]
    pub pod_template: PodTemplate,

    /// The service that clients use.
    #[serde(default)]
    pub service: Service,

    /// Who may connect to the pods.
    #[serde(default)]
    pub network_policies: NetworkPolicies,

    /// The operator changes nothing of this cluster while this is true; it only reports.
    #[serde(default)]
    pub pause: bool,

    /// Stop all pods and keep their disks. Set it back to start them where they stopped.
    #[serde(default)]
    pub hibernate: bool,
}

/// When the kubelet pulls an image.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[allow(missing_docs, reason = "documented variants give a schema that is not structural")]
pub enum ImagePullPolicy {
    Always,
    #[default]
    IfNotPresent,
    Never,
}

fn default_replicas() -> i32 {
    3
}

#[cfg(test)]
#[path = "crd_test.rs"]
mod tests;
