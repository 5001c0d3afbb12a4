//! Where queues keep their messages.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Resources, Storage};

/// A Redis: one that the operator runs, or one that exists.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[x_kube(
    validation = Rule::new("has(self.internal) != has(self.external)")
        .message("exactly one of internal and external"),
    validation = Rule::new("has(self.internal) == has(oldSelf.internal)")
        .message("cannot be switched between internal and external: the messages would stay behind"),
)]
#[serde(rename_all = "camelCase")]
pub struct Redis {
    /// The operator runs a Redis with a disk of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal: Option<InternalRedis>,

    /// A Redis that exists; the operator never changes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalRedis>,
}

impl Default for Redis {
    fn default() -> Self {
        Self { internal: Some(InternalRedis::default()), external: None }
    }
}

/// A Redis that the operator runs.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalRedis {
    /// Container image, Redis 7.0 or later or Valkey. Default: the one that this version of the
    /// operator was tested with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub image: Option<String>,

    /// Its disk.
    #[serde(default)]
    pub storage: Storage,

    /// Its processor and memory.
    #[serde(default)]
    pub resources: Resources,
}

/// A Redis that exists.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalRedis {
    /// Its address, `redis://host:port` or `rediss://host:port` with TLS, without a password.
    #[schemars(length(max = 2048))]
    #[x_kube(
        validation = Rule::new("self.matches('^rediss?://[^@/\\\\s]+(/[0-9]+)?$')")
            .message("must be redis://host:port or rediss://host:port, without user and password"),
    )]
    pub url: String,

    /// Where its password is, if it wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKey>,
}

/// One value of a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1))]
    pub name: String,

    /// Key of the value in it.
    #[serde(default = "default_key")]
    pub key: String,
}

fn default_key() -> String {
    "password".to_owned()
}
