//! A DSyncCluster, kept by the operator.

use std::net::SocketAddr;

use crate::patience::until;
use dsync_core::contract::CLIENT_PORT;
use dsync_tests::process::load::{Load, LoadPlan};
use serde_json::Value;
use std::time::Duration;

use crate::namespace::Namespace;
use crate::operator;

/// What users begin with.
const SAMPLE: &str = include_str!("../../../manifests/samples/minimal.yaml");
const RESOURCE: &str = "dsc/dsync";
const NODES: usize = 3;

/// The cluster of `manifests/samples/minimal.yaml` in a namespace.
pub struct Cluster<'a> {
    pub namespace: &'a Namespace,
}

impl<'a> Cluster<'a> {
    /// Applies it and waits until all of it is there.
    pub fn start(namespace: &'a Namespace) -> Self {
        let cluster = Self::apply(namespace);
        cluster.await_ready();
        cluster
    }

    /// Applies it.
    pub fn apply(namespace: &'a Namespace) -> Self {
        operator::install();
        namespace.apply(SAMPLE);
        Self { namespace }
    }

    /// Changes its spec.
    pub fn change(&self, spec: &str) {
        let patch = format!("{{\"spec\":{spec}}}");
        self.namespace.kubectl(&["patch", RESOURCE, "--type=merge", "-p", &patch]).well();
    }

    /// Waits until everything that its newest spec asks for is there.
    pub fn await_ready(&self) {
        self.await_condition("Ready", "True", "");
    }

    /// Waits until a condition about the newest spec stands like that, for that reason if one is given.
    pub fn await_condition(&self, condition: &str, status: &str, reason: &str) {
        until(&format!("{condition}={status} {reason}"), || {
            let cluster = self.namespace.get(RESOURCE)?;
            let conditions = cluster["status"]["conditions"].as_array()?;
            let one = conditions.iter().find(|one| one["type"] == condition)?;
            let newest = one["observedGeneration"] == cluster["metadata"]["generation"];
            let so = one["status"] == status && (reason.is_empty() || one["reason"] == reason);
            (newest && so).then_some(())
        });
    }

    /// One field of it, by JSON path without braces.
    pub fn field(&self, path: &str) -> String {
        self.namespace.field(RESOURCE, path)
    }

    /// Names of its pods.
    pub fn pods() -> impl Iterator<Item = String> {
        (0..NODES).map(|number| format!("dsync-{number}"))
    }

    /// The pod that leads, as one that can be asked sees it.
    pub fn leader(&self) -> String {
        until("a node leads", || Self::pods().find_map(|pod| self.leader_seen_by(&pod)))
    }

    /// A pod other than this one.
    pub fn another(pod: &str) -> String {
        Self::pods().find(|other| other != pod).unwrap()
    }

    fn leader_seen_by(&self, pod: &str) -> Option<String> {
        let status: Value = self.namespace.dsync(pod, &["status", "-o", "json"]).json()?;
        status["leader"].as_str().map(str::to_owned)
    }

    /// UIDs of its pods: a pod that was replaced has another one.
    pub fn uids(&self) -> Vec<String> {
        let words = ["get", "pods", "-l", "app.kubernetes.io/component=node", "-o"];
        let uids = "jsonpath={.items[*].metadata.uid}";
        let said = self.namespace.kubectl(&[&words[..], &[uids]].concat()).well();
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// The service that its clients use.
    pub fn service(&self) -> SocketAddr {
        let address = self.namespace.field("service/dsync", ".spec.clusterIP");
        SocketAddr::new(address.parse().unwrap(), CLIENT_PORT)
    }

    /// Clients that take and give back locks through the service.
    pub fn load(&self) -> Load {
        let plan = LoadPlan {
            nodes: vec![self.service()],
            roaming: 3,
            staying: 0,
            locks: 2,
            shared_percent: 30,
            timeout: Duration::from_secs(3),
            staying_timeout: Duration::from_secs(3),
        };
        Load::start("load", &plan)
    }
}
