//! The ConfigMap that all nodes of a cluster read their environment from.
//!
//! The phase of the founding is in it and not in the pod: it changes once, for every start of a node
//! from then on, and must not restart anybody. All other values are covered by a hash on the pod, so
//! that a change of them is rolled out.

use std::collections::BTreeMap;

use dsync_core::contract::environment::{
    FOUNDERS, FOUNDING, FOUNDING_ADMIN, FOUNDING_AUTO, LOG, LOG_FORMAT, PEERS, REDIS_URL, SERVERS,
};
use dsync_core::contract::kubernetes::COMPONENT_NODE;
use dsync_core::contract::{CLIENT_PORT, PEER_PORT};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::redis::REDIS_PORT;
use super::{Child, child};
use crate::kind::Kind;
use crate::marks::{Marks, Phase};
use crate::validate::{ValidRedis, Validated};

/// Enough of a hash to tell two settings apart.
const HASH_BYTES: usize = 8;

pub(super) fn config_map(cluster: &Validated, marks: &Marks) -> Child {
    let mut data = settings(cluster);
    let founding = match marks.phase {
        Phase::Founding => FOUNDING_AUTO,
        Phase::Founded => FOUNDING_ADMIN,
    };
    data.insert(FOUNDING, founding.to_owned());
    let name = cluster.names.nodes();
    child(Kind::ConfigMap, cluster, &name, COMPONENT_NODE, json!({ "data": data }))
}

/// Changes when a setting does that nodes have to be restarted for.
pub(super) fn hash(cluster: &Validated) -> String {
    let mut hasher = Sha256::new();
    for (key, value) in settings(cluster) {
        hasher.update(format!("{key}={value}\n"));
    }
    hasher.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn settings(cluster: &Validated) -> BTreeMap<&'static str, String> {
    let names = &cluster.names;
    let domain = domain(cluster, &names.nodes());
    let server = |ordinal| format!("http://{}.{domain}:{CLIENT_PORT}", names.node(ordinal));
    let mut settings = BTreeMap::from([
        // With a dot at its end: no search list is walked, and no other namespace answers.
        (PEERS, format!("dns:{domain}.:{PEER_PORT}")),
        (FOUNDERS, cluster.replicas.to_string()),
        (SERVERS, (0..cluster.replicas).map(server).collect::<Vec<_>>().join(",")),
        (LOG, cluster.spec.log.level.as_str().to_owned()),
        (LOG_FORMAT, cluster.spec.log.format.as_str().to_owned()),
    ]);
    if let ValidRedis::Managed { .. } = cluster.redis {
        let host = self::domain(cluster, &names.redis());
        settings.insert(REDIS_URL, format!("redis://{host}:{REDIS_PORT}"));
    }
    settings
}

fn domain(cluster: &Validated, service: &str) -> String {
    let domain = &cluster.surroundings.cluster_domain;
    format!("{service}.{}.svc.{domain}", cluster.names.namespace)
}
