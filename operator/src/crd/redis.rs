//! Where queues keep their messages.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{RedisStorage, Resources};

/// Where queues keep their messages: a Redis that the operator runs, one that exists, or none.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.external) == (self.mode == 'External')")
        .message("external is needed with mode External, and only there"),
    validation = Rule::new("!has(self.managed) || self.mode == 'Managed'")
        .message("managed may only be set with mode Managed"),
    validation = Rule::new("self.mode == oldSelf.mode || (oldSelf.mode == 'None' && self.mode == 'Managed')")
        .message("mode cannot change, except from None to Managed: the messages would stay behind"),
    validation = Rule::new("(has(self.managed) && has(self.managed.storage) ? self.managed.storage.size : '1Gi') == (has(oldSelf.managed) && has(oldSelf.managed.storage) ? oldSelf.managed.storage.size : '1Gi') || oldSelf.mode == 'None'")
        .message("managed.storage.size cannot change: the disk exists"),
    validation = Rule::new("(has(self.managed) && has(self.managed.storage) && has(self.managed.storage.className) ? self.managed.storage.className : '') == (has(oldSelf.managed) && has(oldSelf.managed.storage) && has(oldSelf.managed.storage.className) ? oldSelf.managed.storage.className : '') || oldSelf.mode == 'None'")
        .message("managed.storage.className cannot change: the disk exists"),
    validation = Rule::new("(has(self.managed) && has(self.managed.storage) ? self.managed.storage.accessMode : 'ReadWriteOnce') == (has(oldSelf.managed) && has(oldSelf.managed.storage) ? oldSelf.managed.storage.accessMode : 'ReadWriteOnce') || oldSelf.mode == 'None'")
        .message("managed.storage.accessMode cannot change: the disk exists"),
)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// `Managed`: the operator runs a Redis. `External`: there is one. `None`: no queues.
    /// Only `None` can become `Managed` later; everything else stays.
    #[serde(default)]
    pub mode: RedisMode,

    /// The Redis that the operator runs. Only with mode `Managed`, where it has defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedRedis>,

    /// The Redis that exists; the operator never changes it. Only with mode `External`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
}

impl Default for Redis {
    fn default() -> Self {
        Self { mode: RedisMode::Managed, managed: None, external: None }
    }
}

/// Who runs the Redis.
#[derive(
    schemars::JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[allow(missing_docs, reason = "documented variants give a schema that is not structural")]
pub enum RedisMode {
    #[default]
    Managed,
    External,
    None,
}

/// A Redis that the operator runs: one pod with a disk of its own, every write synced.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedRedis {
    /// Container image with `redis-server` and a shell, Redis 7.0 or later. Default: the one that
    /// this version of the operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// Its disk.
    #[serde(default)]
    pub storage: RedisStorage,

    /// Its processor and memory. It may use three quarters of the memory limit for messages.
    #[serde(default)]
    pub resources: Resources,
}

/// A Redis that exists.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRedis {
    /// Where its address is: `redis://host:port` or `rediss://host:port` with TLS, without a password.
    pub url_secret: SecretKey,

    /// Where its password is, if it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKey>,
}

/// One value of a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,

    /// Key of the value in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
