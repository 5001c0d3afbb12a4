//! Three nodes as pods: they found a cluster, and a lock outlives the pod that led when it was taken.

use crate::client::Holder;
use crate::namespace::Namespace;
use crate::three_nodes;

#[test]
fn a_lock_taken_through_the_service_outlives_the_pod_of_the_leader() {
    let namespace = Namespace::new("nodes");
    three_nodes::start(&namespace);
    let leader = three_nodes::leader(&namespace);
    let other = three_nodes::pods().find(|pod| *pod != leader).unwrap();
    let holder = Holder::start(&namespace, &other);
    holder.check(&namespace, &leader);

    let claim = claim_of(&namespace, &leader);
    let kill = ["delete", "pod", &leader, "--grace-period=0", "--force"];
    assert_eq!(namespace.kubectl(&kill).code, 0);
    three_nodes::next_leader(&namespace, &leader);
    holder.check(&namespace, &other);

    three_nodes::await_ready(&namespace);
    assert_eq!(claim_of(&namespace, &leader), claim, "the pod has its disk back");
    holder.check(&namespace, &leader);
}

fn claim_of(namespace: &Namespace, pod: &str) -> String {
    namespace.field(&format!("pvc/data-{pod}"), ".metadata.uid")
}
