//! The definition of DSyncCluster on a real API server: taken, explained, and its rules kept.

use crate::kubectl::kubectl;
use crate::namespace::Namespace;

const DEFINITION: &str = include_str!("../../../manifests/crd.yaml");

fn cluster(replicas: u8) -> String {
    format!(
        "{{apiVersion: dsync.io/v1alpha1, kind: DSyncCluster, metadata: {{name: c}}, spec: {{replicas: {replicas}}}}}"
    )
}

#[test]
fn the_api_server_takes_the_definition_and_refuses_what_its_rules_refuse() {
    kubectl(&["apply", "--server-side", "-f", "-"], DEFINITION).well();
    let definition = "crd/dsyncclusters.dsync.io";
    kubectl(&["wait", "--for=condition=Established", definition, "--timeout=60s"], "").well();
    let namespace = Namespace::new("definition");

    let refused = namespace.try_apply(&cluster(4));
    assert!(refused.code != 0 && refused.err.contains("spec.replicas"), "{refused:?}");
    namespace.apply(&cluster(3));
    assert_eq!(namespace.field("dsc/c", ".spec.replicas"), "3");

    let explained = kubectl(&["explain", "dsc.spec.replicas"], "").well();
    assert!(explained.contains("FIELD: replicas"), "{explained}");
    println!("Kubernetes: {}", kubectl(&["version"], "").well());
    // With a finalizer of an operator's that is not there, nothing could be deleted.
    namespace.kubectl(&["delete", "dsc", "c"]).well();
}
