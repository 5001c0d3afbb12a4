//! What is shown of a cluster. All of it is a copy: decisions come from the cluster itself.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// What the operator last saw and what it will do next.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DSyncClusterStatus {
    /// The generation of the resource that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Random identity of the cluster, written before its first node starts.
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

    /// The members as a quorum knows them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub members: Vec<Member>,

    /// The next step, and what it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,

    /// Ready, Available, Progressing, Degraded, QuorumHealthy, StaleVolumes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// A member of the cluster.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its stable name.
    pub name: String,

    /// Random identity of its disk.
    pub node_id: String,

    /// Whether it counts in decisions.
    pub role: MemberRole,

    /// UID of the claim of its disk; another UID under the same name is a lost disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_uid: Option<String>,
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

    /// What it waits for; nothing if it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_on: Option<String>,

    /// Since when, in RFC 3339 form.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
}
