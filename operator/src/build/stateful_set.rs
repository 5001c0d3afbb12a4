//! The nodes.
//!
//! Parallel, since nodes need each other to become ready; OnDelete, since Kubernetes does not know who
//! leads: the operator decides whose turn it is. Claims are kept in every case.

use dsync_core::contract::environment::{DATA, NAME, REDIS_PASSWORD_FILE, REDIS_URL, SECRET_FILE};
use dsync_core::contract::kubernetes::{
    ADMIN_PORT_NAME, ANNOTATION_PHASE, CLIENT_PORT_NAME, COMPONENT_NODE, LABEL_CLUSTER_ID,
    PEER_PORT_NAME,
};
use dsync_core::contract::{
    ADMIN_PORT, CLIENT_PORT, LIVEZ_PATH, PEER_PORT, READYZ_PATH, STARTUPZ_PATH,
};
use serde_json::{Value, json};

use super::overlay::lay_over;
use super::{Child, child, container_security, node_config, pod_security};
use crate::crd::SecretKey;
use crate::kind::Kind;
use crate::marks::Marks;
use crate::names::{CLUSTER_SECRET_KEY, DATA_VOLUME, NODE_CONTAINER, PASSWORD_KEY};
use crate::validate::{ValidRedis, Validated};

const DATA_FOLDER: &str = "/data";
const SECRET_FOLDER: &str = "/etc/dsync/secret";
const REDIS_FOLDER: &str = "/etc/dsync/redis";
const USER: u32 = 65_532;
/// Before SIGTERM: until the services have heard that the pod goes, its clients are still served.
const PRE_STOP_SECONDS: u32 = 2;
/// With SIGTERM a node hands over and answers all within 5 s; the rest is for a slow machine.
const GRACE_SECONDS: u32 = 30;
/// A log of many gigabytes takes minutes to be read.
const STARTUP_SECONDS: u32 = 600;
const STARTUP_PERIOD_SECONDS: u32 = 2;

pub(super) fn build(cluster: &Validated, marks: &Marks) -> Child {
    let names = &cluster.names;
    let replicas = if cluster.spec.hibernate { 0 } else { cluster.replicas };
    let spec = json!({
        "replicas": replicas,
        "serviceName": names.nodes(),
        "podManagementPolicy": "Parallel",
        "updateStrategy": { "type": "OnDelete" },
        "persistentVolumeClaimRetentionPolicy": { "whenDeleted": "Retain", "whenScaled": "Retain" },
        "selector": { "matchLabels": names.selector(COMPONENT_NODE) },
        "template": template(cluster),
        "volumeClaimTemplates": [claim_template(cluster)],
    });
    let mut child =
        child(Kind::StatefulSet, cluster, &names.cluster, COMPONENT_NODE, json!({ "spec": spec }));
    let metadata = &mut child.manifest["metadata"];
    metadata["annotations"] = json!({ ANNOTATION_PHASE: marks.phase.as_str() });
    if let Some(id) = &marks.cluster_id {
        metadata["labels"][LABEL_CLUSTER_ID] = json!(id);
    }
    child
}

fn template(cluster: &Validated) -> Value {
    let over = &cluster.spec.pod_template;
    let mut labels = over.labels.clone();
    labels.extend(cluster.names.node_labels());
    let mut annotations = over.annotations.clone();
    annotations.insert("dsync.io/config-hash".to_owned(), node_config::hash(cluster));
    let container = ("kubectl.kubernetes.io/default-container", NODE_CONTAINER);
    annotations.insert(container.0.to_owned(), container.1.to_owned());
    let mut spec = pod(cluster);
    lay_over(&mut spec, &Value::Object(over.spec.clone()));
    json!({ "metadata": { "labels": labels, "annotations": annotations }, "spec": spec })
}

fn pod(cluster: &Validated) -> Value {
    let scheduling = &cluster.spec.scheduling;
    let mut pod = json!({
        "serviceAccountName": cluster.names.cluster,
        "automountServiceAccountToken": false,
        // A service called dsync would set DSYNC_PORT and its kind.
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": pod_security(USER),
        "containers": [container(cluster)],
        "volumes": volumes(cluster),
        "topologySpreadConstraints": [{
            "maxSkew": 1,
            "topologyKey": scheduling.topology_key,
            "whenUnsatisfiable": scheduling.when_unsatisfiable.as_str(),
            "labelSelector": { "matchLabels": cluster.names.selector(COMPONENT_NODE) },
        }],
    });
    if !scheduling.affinity.is_empty() {
        pod["affinity"] = json!(scheduling.affinity);
    }
    place(cluster, &mut pod);
    pod
}

/// What the nodes and Redis have in common about where they run.
pub(super) fn place(cluster: &Validated, pod: &mut Value) {
    let scheduling = &cluster.spec.scheduling;
    if !scheduling.node_selector.is_empty() {
        pod["nodeSelector"] = json!(scheduling.node_selector);
    }
    if !scheduling.tolerations.is_empty() {
        pod["tolerations"] = json!(scheduling.tolerations);
    }
    if let Some(class) = &scheduling.priority_class_name {
        pod["priorityClassName"] = json!(class);
    }
    let secrets = &cluster.spec.image_pull_secrets;
    if !secrets.is_empty() {
        pod["imagePullSecrets"] = secrets.iter().map(|name| json!({ "name": name })).collect();
    }
}

fn container(cluster: &Validated) -> Value {
    json!({
        "name": NODE_CONTAINER,
        "image": cluster.image,
        "imagePullPolicy": cluster.spec.image_pull_policy,
        "args": ["node"],
        "envFrom": [{ "configMapRef": { "name": cluster.names.nodes() } }],
        "env": environment(cluster),
        "ports": [
            port(CLIENT_PORT_NAME, CLIENT_PORT),
            port(PEER_PORT_NAME, PEER_PORT),
            port(ADMIN_PORT_NAME, ADMIN_PORT),
        ],
        "resources": cluster.resources,
        "securityContext": container_security(),
        "startupProbe": probe(STARTUPZ_PATH, STARTUP_PERIOD_SECONDS, STARTUP_SECONDS / STARTUP_PERIOD_SECONDS),
        "livenessProbe": probe(LIVEZ_PATH, 10, 3),
        "readinessProbe": probe(READYZ_PATH, 2, 2),
        "lifecycle": { "preStop": { "sleep": { "seconds": PRE_STOP_SECONDS } } },
        "volumeMounts": mounts(cluster),
    })
}

fn environment(cluster: &Validated) -> Vec<Value> {
    let mut environment = vec![
        json!({ "name": NAME, "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }),
        json!({ "name": DATA, "value": DATA_FOLDER }),
        json!({ "name": SECRET_FILE, "value": format!("{SECRET_FOLDER}/{CLUSTER_SECRET_KEY}") }),
    ];
    if redis_password(cluster).is_some() {
        let file = format!("{REDIS_FOLDER}/{PASSWORD_KEY}");
        environment.push(json!({ "name": REDIS_PASSWORD_FILE, "value": file }));
    }
    if let ValidRedis::External(external) = &cluster.redis {
        let SecretKey { name, key } = &external.url_secret;
        let source = json!({ "secretKeyRef": { "name": name, "key": key } });
        environment.push(json!({ "name": REDIS_URL, "valueFrom": source }));
    }
    environment
}

fn redis_password(cluster: &Validated) -> Option<SecretKey> {
    match &cluster.redis {
        ValidRedis::Managed { .. } => {
            Some(SecretKey { name: cluster.names.redis_password(), key: PASSWORD_KEY.to_owned() })
        }
        ValidRedis::External(external) => external.password_secret.clone(),
        ValidRedis::None => None,
    }
}

fn volumes(cluster: &Validated) -> Vec<Value> {
    let secret = SecretKey { name: cluster.names.identity(), key: CLUSTER_SECRET_KEY.to_owned() };
    let mut volumes = vec![secret_volume("secret", &secret, CLUSTER_SECRET_KEY)];
    volumes.extend(redis_password(cluster).map(|key| secret_volume("redis", &key, PASSWORD_KEY)));
    volumes
}

/// One value as a file that only the pod's group reads.
pub(super) fn secret_volume(volume: &str, from: &SecretKey, file: &str) -> Value {
    json!({ "name": volume, "secret": {
        "secretName": from.name,
        "defaultMode": 0o440,
        "items": [{ "key": from.key, "path": file }],
    } })
}

fn mounts(cluster: &Validated) -> Vec<Value> {
    let mut mounts = vec![
        json!({ "name": DATA_VOLUME, "mountPath": DATA_FOLDER }),
        json!({ "name": "secret", "mountPath": SECRET_FOLDER, "readOnly": true }),
    ];
    if redis_password(cluster).is_some() {
        mounts.push(json!({ "name": "redis", "mountPath": REDIS_FOLDER, "readOnly": true }));
    }
    mounts
}

fn port(name: &str, port: u16) -> Value {
    json!({ "name": name, "containerPort": port, "protocol": "TCP" })
}

fn probe(path: &str, period_seconds: u32, failures: u32) -> Value {
    json!({
        "httpGet": { "path": path, "port": ADMIN_PORT_NAME, "scheme": "HTTP" },
        "periodSeconds": period_seconds,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    })
}

/// Its labels are a promise: Kubernetes lets nobody change a claim template.
fn claim_template(cluster: &Validated) -> Value {
    let storage = &cluster.spec.storage;
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"],
        "volumeMode": "Filesystem",
        "resources": { "requests": { "storage": storage.size } },
    });
    if let Some(class) = &storage.class_name {
        spec["storageClassName"] = json!(class);
    }
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": { "name": DATA_VOLUME, "labels": cluster.names.node_labels() },
        "spec": spec,
    })
}
