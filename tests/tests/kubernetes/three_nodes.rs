//! A cluster of three nodes, a StatefulSet by hand.

use std::collections::BTreeSet;

use dsync_tests::process::until::until;
use serde_json::Value;

use crate::namespace::Namespace;

/// Starts three nodes in a namespace and waits until all serve.
pub fn start(namespace: &Namespace) {
    namespace.apply(include_str!("three_nodes.yaml"));
    await_ready(namespace);
    let machines: BTreeSet<_> = pods().map(|pod| machine_of(namespace, &pod)).collect();
    assert_eq!(machines.len(), 3, "each node stands on a machine of its own: {machines:?}");
}

/// Waits until all three pods are ready and follow one leader.
pub fn await_ready(namespace: &Namespace) {
    namespace.kubectl(&["rollout", "status", "statefulset/dsync", "--timeout=180s"]).well();
    until("the three nodes follow one leader", || {
        (namespace.dsync("dsync-0", &["status"]).code == 0).then_some(())
    });
}

pub fn pods() -> impl Iterator<Item = String> {
    (0..3).map(|number| format!("dsync-{number}"))
}

/// The pod that leads, as all that can be asked see it.
pub fn leader(namespace: &Namespace) -> String {
    until("a node leads", || leader_but(namespace, ""))
}

/// A pod that leads and is not `other`.
pub fn next_leader(namespace: &Namespace, other: &str) -> String {
    until("another node leads", || leader_but(namespace, other))
}

fn leader_but(namespace: &Namespace, other: &str) -> Option<String> {
    let pod = pods().find(|pod| pod != other)?;
    let said = namespace.dsync(&pod, &["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&said.out).ok()?;
    let leader = status["leader"].as_str()?;
    (leader != other).then(|| leader.to_owned())
}

/// The machine that a pod stands on.
pub fn machine_of(namespace: &Namespace, pod: &str) -> String {
    namespace.field(&format!("pod/{pod}"), ".spec.nodeName")
}
