//! Disk, processor and memory.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A disk that is claimed for each node.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)")
        .message("className cannot change: the disks exist"),
    validation = Rule::new("quantity(self.size).compareTo(quantity(oldSelf.size)) == 0")
        .message("size cannot change yet: this version does not grow disks"),
)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Size of each disk, like `10Gi`. The log, the snapshots and the audit trail of 1 GiB are on it.
    #[serde(default = "default_size")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("must be a size like 10Gi"))]
    pub size: String,

    /// Storage class of the disks. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: default_size(), class_name: None }
    }
}

fn default_size() -> String {
    "10Gi".to_owned()
}

/// The disk of a Redis. It cannot change: the disk exists.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedisStorage {
    /// Size of the disk, like `1Gi`: twice the memory limit, since a rewrite needs both files.
    #[serde(default = "default_redis_size")]
    #[schemars(length(max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))")
        .message("must be a size like 10Gi"))]
    pub size: String,

    /// Storage class of the disk. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,

    /// `ReadWriteOncePod` keeps a second pod from the disk altogether, where the driver offers it;
    /// `ReadWriteOnce` leaves that to a lock file.
    #[serde(default)]
    pub access_mode: AccessMode,
}

impl Default for RedisStorage {
    fn default() -> Self {
        Self { size: default_redis_size(), class_name: None, access_mode: AccessMode::default() }
    }
}

fn default_redis_size() -> String {
    "1Gi".to_owned()
}

/// How many may use a disk.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[allow(missing_docs, reason = "documented variants give a schema that is not structural")]
pub enum AccessMode {
    #[default]
    ReadWriteOnce,
    ReadWriteOncePod,
}

impl AccessMode {
    /// As a claim has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteOncePod => "ReadWriteOncePod",
        }
    }
}

/// Processor and memory of one container, in the form that a pod has.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// What is set aside for the container, like `cpu: 500m` and `memory: 512Mi`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, IntOrString>,

    /// What the container may use at most.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, IntOrString>,
}
