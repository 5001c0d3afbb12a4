//! A Redis of the cluster's own: one pod, one disk, every write synced before it is answered.
//!
//! Two Redis on one folder would each write their own history into the same file. `Recreate` prevents
//! it in a roll, but a deleted pod is replaced while the old one still ends, and on one machine both
//! can have the disk. So each takes a lock on a file in the folder first and waits for it, under a
//! startup probe that waits with it: nothing crash-loops. The kernel gives the lock back when the
//! process ends, however it ends.

use dsync_core::contract::kubernetes::COMPONENT_REDIS;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::stateful_set::{place, secret_volume};
use super::{Child, child, container_security, pod_security, services};
use crate::crd::{ManagedRedis, SecretKey};
use crate::kind::Kind;
use crate::names::PASSWORD_KEY;
use crate::validate::{ValidRedis, Validated};

/// Redis' own port.
pub const REDIS_PORT: u16 = 6379;
/// Its name on services and pods.
pub const REDIS_PORT_NAME: &str = "redis";

const USER: u32 = 999;
const CONFIG_FILE: &str = "redis.conf";
/// Redis syncs and closes its file on SIGTERM.
const GRACE_SECONDS: u32 = 30;
/// A file of many gigabytes takes minutes to be read; and the pod before may take its grace to end.
const STARTUP_SECONDS: u32 = 900;

/// The password goes in through standard input: as an argument everybody on the machine could read it.
const START: &str = r#"read -r password < /etc/redis/password/password || :
exec flock --no-fork /data/.lock redis-server /etc/redis/config/redis.conf - <<END
requirepass $password
END
"#;
/// Whether it answers, not only whether it listens: it does not while it reads its file.
const PING: &str = r#"read -r REDISCLI_AUTH < /etc/redis/password/password || :
export REDISCLI_AUTH
test "$(redis-cli ping)" = PONG"#;

pub(super) fn build(cluster: &Validated) -> Vec<Child> {
    let ValidRedis::Managed { spec, image, resources, maxmemory_bytes } = &cluster.redis else {
        return Vec::new();
    };
    let config = config(*maxmemory_bytes);
    vec![
        config_map(cluster, &config),
        service(cluster),
        claim(cluster, spec),
        deployment(cluster, image, resources, &config),
    ]
}

/// Without eviction a full Redis refuses new messages instead of forgetting old ones.
fn config(maxmemory_bytes: u128) -> String {
    format!(
        "dir /data\n\
         appendonly yes\n\
         appendfsync always\n\
         save \"\"\n\
         maxmemory {maxmemory_bytes}\n\
         maxmemory-policy noeviction\n\
         protected-mode no\n"
    )
}

fn config_map(cluster: &Validated, config: &str) -> Child {
    let rest = json!({ "data": { CONFIG_FILE: config } });
    child(Kind::ConfigMap, cluster, &cluster.names.redis(), COMPONENT_REDIS, rest)
}

fn service(cluster: &Validated) -> Child {
    let spec = json!({
        "type": "ClusterIP",
        "selector": cluster.names.selector(COMPONENT_REDIS),
        "ports": [services::port(REDIS_PORT_NAME, REDIS_PORT)],
    });
    child(Kind::Service, cluster, &cluster.names.redis(), COMPONENT_REDIS, json!({ "spec": spec }))
}

fn claim(cluster: &Validated, redis: &ManagedRedis) -> Child {
    let storage = &redis.storage;
    let mut spec = json!({
        "accessModes": [storage.access_mode.as_str()],
        "volumeMode": "Filesystem",
        "resources": { "requests": { "storage": storage.size } },
    });
    if let Some(class) = &storage.class_name {
        spec["storageClassName"] = json!(class);
    }
    child(Kind::Claim, cluster, &cluster.names.redis(), COMPONENT_REDIS, json!({ "spec": spec }))
}

fn deployment(cluster: &Validated, image: &str, resources: &Value, config: &str) -> Child {
    let names = &cluster.names;
    let mut labels = names.redis_labels();
    labels.extend(names.selector(COMPONENT_REDIS));
    let hash =
        Sha256::digest(config).iter().take(8).map(|b| format!("{b:02x}")).collect::<String>();
    let spec = json!({
        "replicas": if cluster.spec.hibernate { 0 } else { 1 },
        "strategy": { "type": "Recreate" },
        // Its claim is bound to a machine or a zone: a start that takes long is not a failure.
        "progressDeadlineSeconds": STARTUP_SECONDS,
        "selector": { "matchLabels": names.selector(COMPONENT_REDIS) },
        "template": {
            "metadata": { "labels": labels, "annotations": { "dsync.io/config-hash": hash } },
            "spec": pod(cluster, image, resources),
        },
    });
    child(Kind::Deployment, cluster, &names.redis(), COMPONENT_REDIS, json!({ "spec": spec }))
}

fn pod(cluster: &Validated, image: &str, resources: &Value) -> Value {
    let names = &cluster.names;
    let password = SecretKey { name: names.redis_password(), key: PASSWORD_KEY.to_owned() };
    let mut pod = json!({
        "serviceAccountName": names.cluster,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": pod_security(USER),
        "containers": [container(cluster, image, resources)],
        "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": names.redis() } },
            { "name": "config", "configMap": { "name": names.redis(), "defaultMode": 0o440 } },
            secret_volume("password", &password, PASSWORD_KEY),
        ],
    });
    place(cluster, &mut pod);
    pod
}

fn container(cluster: &Validated, image: &str, resources: &Value) -> Value {
    let tcp = json!({ "port": REDIS_PORT_NAME });
    let ping = json!({ "command": ["sh", "-c", PING] });
    json!({
        "name": "redis",
        "image": image,
        "imagePullPolicy": cluster.spec.image_pull_policy,
        "command": ["sh", "-c", START],
        "ports": [{ "name": REDIS_PORT_NAME, "containerPort": REDIS_PORT, "protocol": "TCP" }],
        "resources": resources,
        "securityContext": container_security(),
        "startupProbe": { "tcpSocket": tcp, "periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": STARTUP_SECONDS },
        "livenessProbe": { "tcpSocket": tcp, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6 },
        "readinessProbe": { "exec": ping, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3 },
        "volumeMounts": [
            { "name": "data", "mountPath": "/data" },
            { "name": "config", "mountPath": "/etc/redis/config", "readOnly": true },
            { "name": "password", "mountPath": "/etc/redis/password", "readOnly": true },
        ],
    })
}
