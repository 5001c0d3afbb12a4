//! How nodes find each other, and how clients find a node.

use dsync_core::contract::kubernetes::{
    ADMIN_PORT_NAME, CLIENT_PORT_NAME, COMPONENT_NODE, PEER_PORT_NAME,
};
use dsync_core::contract::{ADMIN_PORT, CLIENT_PORT, PEER_PORT};
use serde_json::{Value, json};

use super::{Child, child};
use crate::kind::Kind;
use crate::validate::Validated;

/// Without an address of its own, and with pods that are not ready: nodes have to meet before any of
/// them can be ready. Clients must not use it.
pub(super) fn nodes(cluster: &Validated) -> Child {
    let spec = json!({
        "clusterIP": "None",
        "publishNotReadyAddresses": true,
        "selector": cluster.names.selector(COMPONENT_NODE),
        "ports": [
            port(CLIENT_PORT_NAME, CLIENT_PORT),
            port(PEER_PORT_NAME, PEER_PORT),
            port(ADMIN_PORT_NAME, ADMIN_PORT),
        ],
    });
    child(Kind::Service, cluster, &cluster.names.nodes(), COMPONENT_NODE, json!({ "spec": spec }))
}

/// Ready nodes only.
pub(super) fn client(cluster: &Validated) -> Child {
    let service = &cluster.spec.service;
    let spec = json!({
        "type": service.type_,
        "selector": cluster.names.selector(COMPONENT_NODE),
        "ports": [port(CLIENT_PORT_NAME, CLIENT_PORT)],
    });
    let name = &cluster.names.cluster;
    let mut child = child(Kind::Service, cluster, name, COMPONENT_NODE, json!({ "spec": spec }));
    if !service.annotations.is_empty() {
        child.manifest["metadata"]["annotations"] = json!(service.annotations);
    }
    child
}

/// Always with its protocol: without it a server-side apply of a list of ports is ambiguous.
pub(super) fn port(name: &str, port: u16) -> Value {
    json!({ "name": name, "port": port, "targetPort": name, "protocol": "TCP" })
}
