//! What is shown of a cluster. All of it is a copy: decisions come from the cluster itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Condition: all that the spec asks for is there (also: everything hibernates as asked).
pub const READY: &str = "Ready";
/// Condition: a quorum serves.
pub const AVAILABLE: &str = "Available";
/// Condition: the operator is on its way to what the spec asks for.
pub const PROGRESSING: &str = "Progressing";
/// Condition: something is wrong that needs somebody's attention.
pub const DEGRADED: &str = "Degraded";
/// Condition: every member takes part, so a quorum has all its reserves.
pub const QUORUM_HEALTHY: &str = "QuorumHealthy";
/// Condition: the Redis that the spec asks for is there.
pub const REDIS_READY: &str = "RedisReady";
/// Condition: a disk is about to be deleted as soon as its pod ends.
pub const CLAIM_TERMINATING: &str = "ClaimTerminating";

/// What the operator last saw and what it will do next.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DSyncClusterStatus {
    /// The generation of the resource that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Identity of the cluster, in hex, once a quorum has confirmed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,

    /// Nodes that exist.
    #[serde(default)]
    pub replicas: i32,

    /// Nodes that are members, know a leader and have caught up.
    #[serde(default)]
    pub ready_replicas: i32,

    /// Label selector of the nodes' pods, for the scale subresource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,

    /// Name of the node that leads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,

    /// Version that all nodes run; several, separated by commas, while they are replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,

    /// The members as a quorum knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<Member>,

    /// The next step, and what it waits for. Absent when there is nothing to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,

    /// Ready, Available, Progressing, Degraded, QuorumHealthy, RedisReady, ClaimTerminating.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A member of the cluster.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its stable name: that of its pod.
    pub name: String,

    /// Random identity of its disk, in hex.
    pub node_id: String,

    /// Whether it counts in decisions.
    pub role: MemberRole,

    /// Its pod takes part: it knows a leader and has caught up.
    pub ready: bool,

    /// UID of the claim of its disk; another UID under the same name is another disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_uid: Option<String>,

    /// Machine that its pod runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

/// Whether a member counts.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "documented variants give a schema that is not structural")]
pub enum MemberRole {
    Voter,
    Learner,
}

/// What the operator does next.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The next step, in a few words.
    pub action: String,

    /// What it waits for; absent if it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_on: Option<String>,

    /// Since when this step is the next one, in RFC 3339 form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
